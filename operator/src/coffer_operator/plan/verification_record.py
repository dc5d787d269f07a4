"""The step Recording of a verification: its verdict is kept beside the backup, in the bucket.

Pure. The agent of the scratch instance does it, as a task that is tried again for a while. Whatever
keeps it from being done does not change the verdict, which the Backup has by then.
"""

from dataclasses import dataclass
from typing import Final

from coffer_common import naming
from coffer_common.proof import Proof
from coffer_common.resources.backup import Backup, Verification
from coffer_common.wire import TaskState, TaskStatus
from coffer_operator.plan.clock import from_text
from coffer_operator.plan.model import PutTask
from coffer_operator.plan.scratch import is_of
from coffer_operator.plan.tasks import another_runs, failure_of, may_try_again, retry_at
from coffer_operator.plan.verification_steps import view_of
from coffer_operator.plan.verification_world import VerificationWorld

KIND: Final = "noteVerified"  # of the agent's task
STEP_RECORD: Final = "Recording"
RECORD_S: Final = 300.0
_LOOK_S: Final = 15.0
_TEXT: Final = "the result is being kept beside the backup"


@dataclass(frozen=True)
class Recording:
    """It is under way; `calls` are to be made now, `look_s` is when to look again."""

    message: str
    calls: tuple[PutTask, ...] = ()
    look_s: float = _LOOK_S


def record(world: VerificationWorld) -> Recording | str:
    """The next step, or, once it is over, why the verdict could not be kept; empty: it was."""
    backup, scratch, operation = world.backup, world.scratch, world.operation
    verified = backup.status.verified if backup is not None else None
    if backup is None or verified is None or verified.operation != operation.metadata.name:
        return ""  # another one's, and there was nothing to tell of ours
    if scratch is None or not is_of(scratch, operation):
        return "the scratch instance is gone"
    if world.storage is None:
        return f"there is no BackupStorage {backup.spec.storage_ref.name}"
    failure = world.failure
    if failure is not None and failure.permanent and failure.step == f"task {KIND}":
        return failure.message
    step = _ask(world, backup, verified)
    deadline = from_text(operation.status.deadline)
    late = operation.status.step == STEP_RECORD and deadline is not None and world.now >= deadline
    if late and isinstance(step, Recording):
        return f"given up after {RECORD_S:.0f} s: {operation.status.message}"
    return step


def _ask(world: VerificationWorld, backup: Backup, verified: Verification) -> Recording | str:
    tasks = _tasks(world)
    if tasks is None:
        return Recording("the result is kept beside the backup as soon as the agent answers")
    prefix = f"note-{naming.short_hash(world.operation.metadata.uid)}-"
    ours = [task for task in tasks if task.id.startswith(prefix)]
    if any(task.state is TaskState.COMPLETED for task in ours):
        return ""
    if (busy := another_runs(tasks, "")) is not None:
        return Recording(f"{_TEXT}: the agent is at the {busy.kind}")
    if ours and (again := _again(world, ours)) is not None:
        return again
    return Recording(_TEXT, (_call(world, f"{prefix}{len(ours) + 1}", backup, verified),))


def _again(world: VerificationWorld, ended: list[TaskStatus]) -> Recording | str | None:
    """After attempts that failed; None: another one is due."""
    last = max(ended, key=lambda task: (task.finished_at or "", task.id))
    failed = failure_of(last)
    if not may_try_again(failed, len(ended)):
        return f"{failed.reason}: {failed.message}"
    due = retry_at(len(ended), from_text(last.finished_at) or world.now)
    if due <= world.now:
        return None
    return Recording(_TEXT, look_s=(due - world.now).total_seconds())


def _tasks(world: VerificationWorld) -> tuple[TaskStatus, ...] | None:
    """What the scratch instance's agent has done; None: it does not answer."""
    live = view_of(world, world.scratch).live if world.scratch is not None else None
    return live.tasks if live is not None else None


def _call(
    world: VerificationWorld, task_id: str, backup: Backup, verified: Verification
) -> PutTask:
    """Without the message: it may tell of what is in the data."""
    proof = Proof(
        time=verified.time,
        result=verified.result,
        duration_s=verified.duration_seconds,
        recovery_s=verified.recovery_seconds,
        engine_version=verified.engine_version,
    )
    payload = {
        "path": backup.status.path,
        "digest": backup.status.manifest_digest,
        "proof": proof.model_dump(mode="json"),
    }
    storage = world.storage.spec if world.storage is not None else None
    return PutTask(task_id, KIND, storage, payload)
