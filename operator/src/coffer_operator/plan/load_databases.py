"""The step of an Operation RestoreDatabases: a dump is loaded into an instance that serves.

Pure. The agent does it as a task whose id follows from Operation and attempt, so that an operator
that starts anew finds the same one. It reads and authenticates all of the dump before the engine
gets the first statement; loading the same dump again replaces what an attempt that died has loaded.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from coffer_common.errors import UserError
from coffer_common.resources.backup import Backup, BackupPhase, BackupProgress
from coffer_common.resources.backup_storage import (
    BackupStorage,
)
from coffer_common.resources.operation import Operation
from coffer_common.wire import TaskState, TaskStatus
from coffer_operator.plan import reasons
from coffer_operator.plan.agent import AgentView
from coffer_operator.plan.model import CancelTask, PutTask
from coffer_operator.plan.storage import is_ready
from coffer_operator.plan.storage_spec import for_reading
from coffer_operator.plan.tasks import (
    ATTEMPTS,
    Failed,
    all_of,
    another_runs,
    failure_of,
    find,
    progress_of,
)
from coffer_operator.plan.world import RestoreSource, World

KIND: Final = "restoreDump"  # of the agent's task
_PREFIX: Final = "load-"


@dataclass(frozen=True)
class Loading:
    """How far it is. `look_s`: when there is more to tell of the progress."""

    message: str
    done: bool = False
    failed: str | None = None  # the reason, in one word
    call: PutTask | None = None
    progress: BackupProgress | None = None
    look_s: float | None = None


def load_databases(world: World, operation: Operation, view: AgentView) -> Loading:
    """The next step."""
    if view.live is None:
        return Loading("waits for the agent")
    attempt, task = _latest(operation, view.live.tasks)
    match task:
        case TaskStatus(state=TaskState.COMPLETED):
            message = task.message or "the databases were loaded"
            return Loading(message, done=True, progress=all_of(task, world.now))
        case TaskStatus(state=TaskState.RUNNING):
            progress, more_s = progress_of(task, operation.status.progress, world.now)
            text = "the databases are being loaded"
            return Loading(text, progress=progress, look_s=more_s)
        case TaskStatus():
            failure = failure_of(task)
            if failure.permanent or attempt >= ATTEMPTS:
                return _failed(failure)
            return _ask(world, operation, view, attempt + 1)
    return _ask(world, operation, view, attempt)


def abandoned(
    operations: Iterable[Operation], tasks: Iterable[TaskStatus]
) -> tuple[CancelTask, ...]:
    """What is still being loaded for an Operation that was deleted or has ended."""
    wanted = tuple(
        f"{_PREFIX}{o.metadata.uid}-" for o in operations if o.status.finished_at is None
    )
    return tuple(
        CancelTask(task.id)
        for task in tasks
        if task.state is TaskState.RUNNING
        and task.id.startswith(_PREFIX)
        and not task.id.startswith(wanted)
    )


def _ask(world: World, operation: Operation, view: AgentView, attempt: int) -> Loading:
    """Asking again for the same attempt is asking once."""
    other = another_runs(view.live.tasks if view.live is not None else (), "")
    if other is not None:
        return Loading(f"waits until the agent has ended the {other.kind} that it is at")
    if not view.engine_answers:
        return Loading("waits until the engine answers")
    return _begin(world, operation, attempt)


def _task_id(operation: Operation, attempt: int) -> str:
    return f"{_PREFIX}{operation.metadata.uid}-{attempt}"


def _latest(operation: Operation, tasks: tuple[TaskStatus, ...]) -> tuple[int, TaskStatus | None]:
    """The attempt that the agent knows, or the first one."""
    for attempt in range(ATTEMPTS, 0, -1):
        task = find(tasks, _task_id(operation, attempt))
        if task is not None:
            return attempt, task
    return 1, None


def _failed(failure: Failed) -> Loading:
    return Loading(failure.message, failed=failure.reason)


def _begin(world: World, operation: Operation, attempt: int) -> Loading:
    failure = world.failure
    if failure is not None and failure.permanent and failure.step == f"task {KIND}":
        return Loading(failure.message, failed=failure.reason)
    reference = operation.spec.backup_ref
    name = reference.name if reference is not None else ""
    try:
        backup, storage = _checked(world, name)
    except UserError as error:
        return Loading(error.message, failed=error.reason)
    payload = {
        "path": backup.status.path,
        "digest": backup.status.manifest_digest,
        "databases": list(operation.spec.databases),
    }
    call = PutTask(_task_id(operation, attempt), KIND, for_reading(storage.spec), payload)
    return Loading(f"the agent is asked to load the Backup {name}", call=call)


def _checked(world: World, name: str) -> tuple[Backup, BackupStorage]:
    """What is to be loaded, and from where. Raises UserError: it does not wait for it."""
    source = world.backup_sources.get(name, RestoreSource())
    backup, storage = source.backup, source.storage
    if backup is None or backup.metadata.deletion_timestamp is not None:
        raise UserError(reasons.BACKUP_NOT_FOUND, f"spec.backupRef: there is no Backup {name}")
    if backup.status.phase is not BackupPhase.COMPLETED or backup.status.path is None:
        phase = backup.status.phase or BackupPhase.NEW
        raise UserError(
            reasons.BACKUP_NOT_COMPLETED,
            f"spec.backupRef: the Backup {name} is {phase}, not Completed",
        )
    held, wanted = backup.status.datastore, world.instance.spec.datastore.type
    if held is not None and held != wanted:
        raise UserError(
            reasons.BACKUP_MISMATCH,
            f"spec.backupRef: the Backup {name} is of {held}, and the instance is {wanted}",
        )
    where = backup.spec.storage_ref.name
    if storage is None:
        raise UserError(reasons.STORAGE_NOT_FOUND, f"there is no BackupStorage {where}")
    if not is_ready(storage):
        raise UserError(reasons.STORAGE_NOT_READY, f"the BackupStorage {where} is not Ready")
    return backup, storage
