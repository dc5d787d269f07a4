"""The step Restoring of a dump: it is loaded into a scratch instance that was made empty. Pure.

The agent loads it by the task that RestoreDatabases uses, once it has read all of it and compared
its checksum. A task's id follows from Operation and attempt: who asks again asks once, and what an
attempt that died has loaded is replaced by the next.
"""

import re
from typing import Final

from coffer_common import naming
from coffer_common.resources.backup import Backup
from coffer_common.resources.instance import DatabaseInstance
from coffer_common.wire import TaskState, TaskStatus
from coffer_operator.plan import reasons
from coffer_operator.plan.agent import AgentView
from coffer_operator.plan.clock import after, from_text
from coffer_operator.plan.model import PutTask
from coffer_operator.plan.storage_spec import for_reading
from coffer_operator.plan.tasks import (
    another_runs,
    failure_of,
    may_try_again,
    progress_of,
    retry_at,
)
from coffer_operator.plan.verification_steps import (
    LOAD,
    STEP_CHECK,
    STEP_RESTORE,
    STUCK_S,
    SURROUNDINGS,
    Step,
    Tried,
    died,
    first_of,
    stuck,
    view_of,
)
from coffer_operator.plan.verification_world import VerificationWorld

_AT_ONCE_S: Final = 0.001
#: What the engine says of a statement; these numbers speak of the engine, or of its volume.
_REFUSED: Final = re.compile(r"ERROR (\d+) \(")
_NOT_OF_THE_DUMP: Final = frozenset(
    {"3", "1021", "1030", "1037", "1038", "1041", "1053", "1114", "1927", "2002", "2006", "2013"}
)


def is_dump(backup: Backup) -> bool:
    """Whether it is loaded into an instance that runs, and not restored."""
    return backup.status.strategy in naming.LOGICAL_STRATEGIES


def is_loaded(world: VerificationWorld, scratch: DatabaseInstance) -> bool | None:
    """Whether this very instance holds the dump; None: cannot tell."""
    view = view_of(world, scratch)
    if view.live is None:
        return None
    return any(task.state is TaskState.COMPLETED for task in _ours(world, view))


def load(world: VerificationWorld, scratch: DatabaseInstance) -> Step | Tried:
    """Until the dump is in the engine."""
    view = view_of(world, scratch)
    ours = _ours(world, view)
    if view.live is None or not view.engine_answers:
        how = died(scratch)
        if ours and how is not None:
            text = f"the engine dies while the dump is loaded: {how}"
            return _guilty(text, ours, world)
        text = "the dump is loaded as soon as the engine serves"
        return stuck(world, scratch) or Step(STEP_RESTORE, text)
    for task in ours:
        if task.state is TaskState.RUNNING:
            return _under_way(world, task)
        if task.state is TaskState.COMPLETED:
            text = "the dump was loaded; its data are to be checked"
            return Step(STEP_CHECK, text, look_s=_AT_ONCE_S)
    again = _again(world, ours) if ours else None
    return again if again is not None else _ask(world, view, len(ours) + 1)


def _ours(world: VerificationWorld, view: AgentView) -> list[TaskStatus]:
    tasks = view.live.tasks if view.live is not None else ()
    return [task for task in tasks if task.id.startswith(_prefix(world))]


def _prefix(world: VerificationWorld) -> str:
    return f"dump-{naming.short_hash(world.operation.metadata.uid)}-"


def _under_way(world: VerificationWorld, task: TaskStatus) -> Step | Tried:
    progress, more_s = progress_of(task, world.operation.status.progress, world.now)
    moved = from_text(progress.updated_at) or world.now
    if world.now >= after(moved, STUCK_S):
        text = f"loading the dump has not moved since {progress.updated_at}"
        return Tried(None, reasons.NO_PROGRESS, text)
    step = Step(STEP_RESTORE, "the dump is being loaded", amount=progress)
    return step if more_s is None else Step(step.name, step.message, None, more_s, progress)


def _again(world: VerificationWorld, ended: list[TaskStatus]) -> Step | Tried | None:
    """After attempts that failed; None: another one is due."""
    last = max(ended, key=lambda task: (task.finished_at or "", task.id))
    failed = failure_of(last)
    words = f"{failed.reason}: {failed.message}"
    if may_try_again(failed, len(ended)):
        due_s = (
            retry_at(len(ended), from_text(last.finished_at) or world.now) - world.now
        ).total_seconds()
        text = f"attempt {len(ended)} failed: {words}"
        return Step(STEP_RESTORE, text, look_s=due_s) if due_s > 0 else None
    refused = _REFUSED.search(failed.message)
    of_the_dump = refused is not None and refused[1] not in _NOT_OF_THE_DUMP
    if of_the_dump or (failed.permanent and failed.reason not in SURROUNDINGS):
        return _guilty(f"it cannot be loaded: {words}", ended, world)
    return Tried(None, reasons.RESTORE_FAILED, f"it could not be loaded: {words}")


def _guilty(message: str, tasks: list[TaskStatus], world: VerificationWorld) -> Tried:
    ends = [moment for task in tasks if (moment := from_text(task.finished_at)) is not None]
    at = max(ends, default=world.now)
    return Tried(False, reasons.VERIFICATION_FAILED, message, first_of(tasks), at)


def _ask(world: VerificationWorld, view: AgentView, number: int) -> Step | Tried:
    backup, storage = world.backup, world.storage
    if backup is None or storage is None:
        return Tried(None, reasons.STORAGE_NOT_FOUND, "its BackupStorage is not there")
    other = another_runs(view.live.tasks if view.live is not None else (), "")
    if other is not None:
        text = f"waits until the agent has ended the {other.kind} that it is at"
        return Step(STEP_RESTORE, text)
    payload = {
        "path": backup.status.path,
        "digest": backup.status.manifest_digest,
        "whole": True,
    }
    call = PutTask(f"{_prefix(world)}{number}", LOAD, for_reading(storage.spec), payload)
    return Step(STEP_RESTORE, "the dump is being loaded", call=call)
