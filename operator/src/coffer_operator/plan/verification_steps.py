"""The steps of a test restore on its scratch instance, and what they tell of the backup. Pure.

How often a check was tried is read off the agent's own records, which are on the scratch volume.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from coffer_common import naming
from coffer_common.resources.backup import BackupProgress
from coffer_common.resources.instance import DatabaseInstance
from coffer_common.resources.instance_status import RestorePhase, RestoreReport
from coffer_common.wire import TaskState, TaskStatus
from coffer_operator.plan import reasons
from coffer_operator.plan.agent import AgentView, view_agent
from coffer_operator.plan.clock import after, from_text
from coffer_operator.plan.conditions import by_type
from coffer_operator.plan.finding import Truth
from coffer_operator.plan.model import PutTask
from coffer_operator.plan.tasks import failure_of, may_try_again, retry_at
from coffer_operator.plan.verification_world import VerificationWorld
from coffer_operator.plan.world import World

KIND: Final = "verify"  # of the agent's task
LOAD: Final = "restoreDump"  # the same, of a dump
STEP_RESTORE: Final = "Restoring"
STEP_CHECK: Final = "Checking"
STUCK_S: Final = 1800.0  # without any sign of the scratch instance getting further
STALLED_S: Final = 120.0  # that it waits for a person: nobody is to look after it
RESTORES: Final = 5  # attempts
DAMAGED: Final = "DataDamaged"  # of the agent's task: it is the data that are at fault
_TOOL_FAILED: Final = "ToolFailed"
_LOOK_S: Final = 15.0
_AT_ONCE_S: Final = 0.001
_KILLED: Final = "signal 9"  # by the kernel, for want of memory: that says nothing of the data
#: Why a restore fails for good where it is not the backup that is to blame.
SURROUNDINGS: Final = frozenset(
    {
        *("VolumeTooSmall", "VolumeNotEmpty", "NotPhysical", "InvalidRequest", "InvalidTask"),
        *("DatastoreMismatch", "VersionMismatch", "StrategyUnknown", "LocationInvalid"),
        *("BucketMissing", "StorageAccessDenied", "StorageCertificate", "StorageRegion"),
        *("StorageFull", "StorageUnknown", "StorageInvalid", "ClockSkewed", "KeyInvalid"),
        *("SecretMissing", "AuthorityInvalid"),
    }
)


@dataclass(frozen=True)
class Step:
    """What is under way; `call` is to be made now, `look_s` is when to look again."""

    name: str
    message: str
    call: PutTask | None = None
    look_s: float = _LOOK_S
    amount: BackupProgress | None = None


@dataclass(frozen=True)
class Tried:
    """What came of it. `sound`: of the backup; None: that cannot be told.

    `begun` and `at` are the ends of what was measured, `served` is when the engine did; without
    `at` the Backup was told before.
    """

    sound: bool | None
    reason: str
    message: str
    begun: datetime | None = None
    at: datetime | None = None
    served: datetime | None = None


# --- Restoring -----------------------------------------------------------------------------------
def restore(world: VerificationWorld, scratch: DatabaseInstance) -> Step | Tried:
    """Until the data are there and the engine serves them."""
    report = scratch.status.restore
    if report is not None and report.phase is RestorePhase.FAILED and report.retry_at is None:
        return _restore_failed(report, world.now)
    if report is None or report.phase is not RestorePhase.COMPLETED:
        if report is not None and report.retry_at is not None and report.attempt >= RESTORES:
            return _tried_too_often(report, world.now)
        return stuck(world, scratch) or Step(STEP_RESTORE, _restoring(scratch, report))
    if view_of(world, scratch).engine_answers:
        return Step(STEP_CHECK, "the engine serves; its data are to be checked", look_s=_AT_ONCE_S)
    how = died(scratch)
    if how is not None:
        text = f"the engine cannot start with the restored data: {how}"
        return _guilty(text, from_text(report.started_at), world.now)
    text = "the data are restored; the engine is being started"
    return stuck(world, scratch) or Step(STEP_RESTORE, text)


def _restoring(scratch: DatabaseInstance, report: RestoreReport | None) -> str:
    """How far it is, in steps of ten percent: each is a write."""
    progress = report.progress if report is not None else None
    if report is not None and report.message and report.retry_at is not None:
        return report.message
    if progress is None or progress.percent is None:
        return f"the Backup is being restored into the instance {scratch.metadata.name}"
    return f"the Backup is being restored: {progress.percent // 10 * 10} %"


def _restore_failed(report: RestoreReport, now: datetime) -> Tried:
    """For good. Its message begins with the agent's reason."""
    message = report.message or "the agent gave no reason"
    if message.partition(":")[0] in SURROUNDINGS:
        return Tried(None, reasons.RESTORE_FAILED, f"it could not be restored: {message}")
    at = from_text(report.finished_at) or now
    return _guilty(f"it cannot be restored: {message}", from_text(report.started_at), at)


def _tried_too_often(report: RestoreReport, now: datetime) -> Tried:
    text = f"it could not be restored in {report.attempt} attempts: {report.message}"
    if f" {_TOOL_FAILED}: " in f" {report.message}":
        return _guilty(text, from_text(report.started_at), now)
    return Tried(None, reasons.RESTORE_FAILED, text)


def _guilty(message: str, begun: datetime | None, at: datetime) -> Tried:
    return Tried(False, reasons.VERIFICATION_FAILED, message, begun, at)


def died(scratch: DatabaseInstance) -> str | None:
    """How the engine dies again and again, where that tells of the data."""
    ready, engine = by_type(scratch.status.conditions).get("Ready"), scratch.status.engine
    loops = ready is not None and ready.reason == reasons.ENGINE_CRASH_LOOP
    if not loops or ready is None or (engine is not None and engine.last_exit == _KILLED):
        return None
    return ready.message


def stuck(world: VerificationWorld, scratch: DatabaseInstance) -> Tried | None:
    """Given up where the scratch instance gets no further, or waits for a person."""
    ready = by_type(scratch.status.conditions).get("Ready")
    if ready is not None and ready.status == Truth.TRUE:
        return None
    report = scratch.status.restore
    moved = [
        from_text(scratch.metadata.creation_timestamp),
        from_text(ready.last_transition_time) if ready is not None else None,
    ]
    if report is not None:
        updated = report.progress.updated_at if report.progress is not None else None
        moved += [from_text(report.finished_at), from_text(report.retry_at), from_text(updated)]
    since = max((moment for moment in moved if moment is not None), default=world.now)
    stalled = by_type(scratch.status.conditions).get("Stalled")
    within_s = STALLED_S if stalled is not None else STUCK_S
    if world.now < after(since, within_s):
        return None
    said = stalled or ready
    why = f"{said.reason}: {said.message}" if said is not None else "nothing is known of it"
    return Tried(
        None,
        reasons.UNTESTED,
        f"the instance {scratch.metadata.name} gets no further: {why}",
    )


# --- Checking ------------------------------------------------------------------------------------
def check(world: VerificationWorld, scratch: DatabaseInstance) -> Step | Tried:
    """The agent's task `verify`, tried again where that may help."""
    view = view_of(world, scratch)
    if view.live is None or not view.engine_answers:
        text = "the data are checked as soon as the agent answers and the engine serves"
        return _crashed(world, scratch) or stuck(world, scratch) or Step(STEP_CHECK, text)
    prefix = f"{KIND}-{naming.short_hash(world.operation.metadata.uid)}-"
    tasks = [task for task in view.live.tasks if task.id.startswith(prefix)]
    for task in tasks:
        if task.state is TaskState.RUNNING:
            return Step(STEP_CHECK, _checking(task))
        if task.state is TaskState.COMPLETED:
            begun = _begun(scratch, view.live.tasks)
            return _passed(task, begun, first_of(tasks), from_text(task.finished_at) or world.now)
    number = len(tasks) + 1
    if tasks:
        last = max(tasks, key=lambda task: (task.finished_at or "", task.id))
        failed = failure_of(last)
        ended = from_text(last.finished_at) or world.now
        if failed.permanent or not may_try_again(failed, len(tasks)):
            return _check_failed(scratch, view, last, ended)
        due_s = (retry_at(len(tasks), ended) - world.now).total_seconds()
        if due_s > 0:
            text = f"attempt {len(tasks)} failed: {failed.reason}: {failed.message}"
            return Step(STEP_CHECK, text, look_s=due_s)
    call = PutTask(f"{prefix}{number}", KIND, None, {})
    return Step(STEP_CHECK, "the data are being checked", call=call)


def view_of(world: VerificationWorld, scratch: DatabaseInstance) -> AgentView:
    return view_agent(
        World(
            now=world.now,
            instance=scratch,
            catalogue=world.catalogue,
            pod=world.pod,
            agent=world.agent,
        )
    )


def _checking(task: TaskStatus) -> str:
    if not task.bytes_total:
        return "the data are being checked"
    return f"the data are being checked: {task.bytes_done * 10 // task.bytes_total * 10} %"


def _passed(
    task: TaskStatus, begun: datetime | None, served: datetime | None, at: datetime
) -> Tried:
    text = f"it was restored, and its data checked: {task.message}"
    return Tried(True, reasons.VERIFIED, text, begun, at, served)


def _check_failed(
    scratch: DatabaseInstance, view: AgentView, task: TaskStatus, at: datetime
) -> Tried:
    """The data are damaged, or the engine dies of them; else there is nothing to be told."""
    failed, engine = failure_of(task), view.live.engine if view.live is not None else None
    begun = _begun(scratch, view.live.tasks if view.live is not None else ())
    text = f"it was restored, but its data could not be checked: {failed.reason}: {failed.message}"
    if failed.reason == DAMAGED:
        text = f"it was restored, but not whole: {failed.message}"
        return _guilty(text, begun, at)
    dead = engine is not None and engine.restarts and engine.last_exit not in (None, _KILLED)
    if dead and engine is not None:
        text = f"{text} (the engine died: {engine.last_exit})"
        return _guilty(text, begun, at)
    return Tried(None, reasons.UNTESTED, text)


def _crashed(world: VerificationWorld, scratch: DatabaseInstance) -> Tried | None:
    how = died(scratch)
    if how is None:
        return None
    text = f"the engine dies while its data are checked: {how}"
    return _guilty(text, _begun(scratch, ()), world.now)


def _begun(scratch: DatabaseInstance, tasks: Iterable[TaskStatus]) -> datetime | None:
    """When the restore began, or the load of the dump; None: cannot tell."""
    report = scratch.status.restore
    if report is not None:
        return from_text(report.started_at)
    return first_of(task for task in tasks if task.kind == LOAD)


def first_of(tasks: Iterable[TaskStatus]) -> datetime | None:
    """When the first of them began."""
    return min(filter(None, (from_text(task.started_at) for task in tasks)), default=None)
