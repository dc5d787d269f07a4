"""plan_backup: from the World of one Backup to what is to be done now.

Pure and level-triggered: the task's id follows from the Backup and the attempt, so that an operator
that starts anew finds the same task. Objects may exist from the first attempt on, and the finalizer
is there before it.
"""

from typing import Any, Final

from pydantic import ValidationError

from coffer_common.errors import UserError
from coffer_common.naming import GROUP
from coffer_common.resources.backup import (
    BackupPhase,
    BackupStatus,
    ObjectsPolicy,
)
from coffer_common.wire import BackupResult, TaskState, TaskStatus
from coffer_operator.plan import reasons
from coffer_operator.plan.backup_adopt import adopt
from coffer_operator.plan.backup_begin import (
    Beginning,
    WaitError,
    begin_deadline,
    judge_beginning,
    view_of,
    why_full,
)
from coffer_operator.plan.backup_delete import plan_deletion
from coffer_operator.plan.backup_status import (
    as_api,
    children_of,
    completed,
    events,
    failed,
    told,
)
from coffer_operator.plan.backup_world import BackupWorld
from coffer_operator.plan.clock import from_text, to_text
from coffer_operator.plan.conditions import by_type
from coffer_operator.plan.errand import Errand
from coffer_operator.plan.model import CancelTask, PutTask
from coffer_operator.plan.tasks import (
    Failed,
    another_runs,
    begun,
    failure_of,
    find,
    may_try_again,
    overdue_at,
    progress_of,
    retry_at,
    standstill,
)
from coffer_operator.plan.worker import spent

FINALIZER: Final = f"{GROUP}/objects"
KIND: Final = "backup"  # of the agent's task
_LOOK_S: Final = 15.0  # what it waits for is told; in case that was lost
_AT_ONCE_S: Final = 0.001


def plan_backup(world: BackupWorld) -> Errand:
    """What to do for the Backup now. Never raises, whatever the BackupWorld is."""
    backup = world.backup
    if backup.metadata.deletion_timestamp is not None:
        return plan_deletion(world, FINALIZER, task_id(world))
    match backup.status.phase:
        case BackupPhase.COMPLETED | BackupPhase.FAILED:
            return _settled(world)
        case BackupPhase.RUNNING:
            return _run(world)
        case _:
            return _adopt(world) if backup.spec.path is not None else _begin(world)


def task_id(world: BackupWorld, attempt: int | None = None) -> str:
    """The agent's name for an attempt; without a number, the present one."""
    number = world.backup.status.attempt if attempt is None else attempt
    return f"{world.backup.metadata.uid}-{number}"


def _tell(world: BackupWorld, status: BackupStatus, **more: Any) -> Errand:
    return Errand(status=as_api(status), events=events(world.backup, status), **more)


def _finalizers(world: BackupWorld) -> tuple[str, ...] | None:
    """With ours, where the objects go with the Backup, else without; None: it is so."""
    present = world.backup.metadata.finalizers
    if world.backup.spec.deletion_policy is ObjectsPolicy.DELETE:
        return None if FINALIZER in present else (*present, FINALIZER)
    return tuple(f for f in present if f != FINALIZER) if FINALIZER in present else None


# --- new -----------------------------------------------------------------------------------------
def _begin(world: BackupWorld) -> Errand:
    try:
        beginning = judge_beginning(world)
    except WaitError as error:
        return _wait(world, error)
    except UserError as error:
        return _tell(world, failed(world, error.reason, error.message))
    if (finalizers := _finalizers(world)) is not None:
        return Errand(finalizers=finalizers)
    return _tell(world, _first(world, beginning), requeue_after_s=_AT_ONCE_S)


def _wait(world: BackupWorld, error: WaitError) -> Errand:
    queued = error.reason == reasons.WAITING  # the one before it has deadlines of its own
    if not queued and world.now >= begin_deadline(world, error.reason):
        text = f"it could not begin in time: {error.message}"
        return _tell(world, failed(world, reasons.NOT_IN_TIME, text))
    status = told(world, BackupPhase.NEW, error.reason, error.message)
    return _tell(world, status, requeue_after_s=_LOOK_S)


def _first(world: BackupWorld, beginning: Beginning) -> BackupStatus:
    """The status of the first attempt: from now on there may be objects at its path."""
    uid = beginning.instance.metadata.uid
    return told(
        world,
        BackupPhase.RUNNING,
        reasons.BACKING_UP,
        f"the agent of {beginning.instance.metadata.name} is asked to take it",
        attempt=1,
        started_at=to_text(world.now),
        progress=begun(world.now),
        instance_uid=uid,
        path=f"{uid}/base/{world.backup.metadata.uid}",
        type=beginning.type,
        strategy=beginning.strategy,
        parent=beginning.parent,
    )


def _adopt(world: BackupWorld) -> Errand:
    errand = adopt(world)
    if errand.status is not None and errand.status.get("phase") == BackupPhase.COMPLETED:
        finalizers = _finalizers(world)
        return Errand(finalizers=finalizers) if finalizers is not None else errand
    return errand


# --- running -------------------------------------------------------------------------------------
def _run(world: BackupWorld) -> Errand:
    status = world.backup.status
    if world.instance is None or world.instance.metadata.uid != status.instance_uid:
        text = "the instance was deleted while the backup was taken"
        return _tell(world, failed(world, reasons.INSTANCE_GONE, text))
    if world.failure is not None and world.failure.permanent:
        return _tell(world, failed(world, world.failure.reason, world.failure.message))
    due = from_text(status.retry_at)
    if due is not None:
        return _try_again(world, (due - world.now).total_seconds())
    return _follow(world)


def _follow(world: BackupWorld) -> Errand:
    """Where the present attempt is, as the agent says."""
    view = view_of(world)
    if view.live is None:
        return _unseen(world, f"its agent cannot be reached ({view.error or 'no answer yet'})")
    tasks = view.live.tasks
    task = find(tasks, task_id(world))
    if task is None:
        other = another_runs(tasks, task_id(world))
        return _behind(world, other) if other is not None else _ask(world)
    match task.state:
        case TaskState.RUNNING:
            return _under_way(world, task)
        case TaskState.COMPLETED:
            return _complete(world, task)
        case _:
            return _attempt_failed(world, failure_of(task))


def _try_again(world: BackupWorld, wait_s: float) -> Errand:
    status = world.backup.status
    if wait_s > 0:
        return Errand(requeue_after_s=wait_s)
    fresh = told(
        world,
        BackupPhase.RUNNING,
        reasons.BACKING_UP,
        f"attempt {status.attempt + 1}; {status.message or ''}".rstrip("; "),
        attempt=status.attempt + 1,
        retry_at=None,
        progress=begun(world.now),
    )
    return _tell(world, fresh, requeue_after_s=_AT_ONCE_S)


def _unseen(world: BackupWorld, why: str) -> Errand:
    """It goes on as it is; nobody can tell how far."""
    status = world.backup.status
    deadline = overdue_at(status.progress, world.now)
    if world.now >= deadline:
        return _given_up(world, why)
    message = f"the instance takes it, but {why}"
    fresh = told(world, BackupPhase.RUNNING, reasons.BACKING_UP, message)
    return _tell(world, fresh, requeue_after_s=_LOOK_S)


def _behind(world: BackupWorld, other: TaskStatus) -> Errand:
    """The agent has a deadline for what it does now; ours begins after that."""
    message = f"waits until the agent has ended the {other.kind} that it is at"
    fresh = told(world, BackupPhase.RUNNING, reasons.BACKING_UP, message, progress=_moved(world))
    return _tell(world, fresh, requeue_after_s=_LOOK_S)


def _moved(world: BackupWorld) -> Any:
    """The deadline is moved now and then, not with every look: each time is a write."""
    progress = world.backup.status.progress
    left_s = (overdue_at(progress, world.now) - world.now).total_seconds()
    return progress if progress is not None and left_s > 600 else begun(world.now)


def _ask(world: BackupWorld) -> Errand:
    """Ask the agent; asking again for the same attempt is asking once."""
    backup, status = world.backup, world.backup.status
    if world.storage is None:
        text = f"there is no BackupStorage {backup.spec.storage_ref.name} any more"
        return _tell(world, failed(world, reasons.STORAGE_NOT_FOUND, text))
    if world.now >= overdue_at(status.progress, world.now):
        return _given_up(world, "the agent did not begin it")
    instance = world.instance
    payload = {
        "backup_id": backup.metadata.uid,
        "instance": {
            "uid": status.instance_uid,
            "name": instance.metadata.name if instance is not None else "",
            "namespace": backup.metadata.namespace or "",
        },
        "strategy": status.strategy,
        "parent": status.parent,
        "databases": list(backup.spec.databases),
    }
    call = PutTask(task_id(world), KIND, world.storage.spec, payload)
    wanted = None
    if world.failure is not None:
        text = f"{world.failure.step}: {world.failure.message}"
        wanted = told(world, BackupPhase.RUNNING, world.failure.reason, text)
    return Errand(
        status=as_api(wanted) if wanted is not None else None,
        calls=(call,),
        requeue_after_s=_LOOK_S,
    )


def _under_way(world: BackupWorld, task: TaskStatus) -> Errand:
    former = world.backup.status
    progress, more_s = progress_of(task, former.progress, world.now)
    if world.now >= overdue_at(progress, world.now):
        return _given_up(world, "it did not move", running=True)
    message = "the backup is being taken"
    still, look_s = standstill(progress, world.now)
    if detail := task.message or still:
        message = f"{message}: {detail}"
    fresh = told(world, BackupPhase.RUNNING, reasons.BACKING_UP, message, progress=progress)
    return _tell(world, fresh, requeue_after_s=more_s or look_s or 60.0)


def _given_up(world: BackupWorld, why: str, *, running: bool = False) -> Errand:
    text = f"given up after 15 minutes without progress: {why}"
    calls = (CancelTask(task_id(world)),) if running else ()
    return _tell(world, failed(world, reasons.NO_PROGRESS, text), calls=calls)


def _complete(world: BackupWorld, task: TaskStatus) -> Errand:
    try:
        result = BackupResult.model_validate(task.result)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        text = f"the agent's result is not readable ({where}); operator and agent do not fit"
        return _tell(world, failed(world, reasons.RESULT_UNREADABLE, text))
    return _tell(world, completed(world, result, task.message, task.started_at, why_full(world)))


def _attempt_failed(world: BackupWorld, failure: Failed) -> Errand:
    status = world.backup.status
    if not may_try_again(failure, status.attempt):
        often = f" (attempt {status.attempt})" if status.attempt > 1 else ""
        return _tell(world, failed(world, failure.reason, f"{failure.message}{often}"))
    at = retry_at(status.attempt, world.now)
    text = f"attempt {status.attempt} failed: {failure.reason}: {failure.message}"
    fresh = told(world, BackupPhase.RUNNING, reasons.TRYING_AGAIN, text, retry_at=to_text(at))
    return _tell(world, fresh, requeue_after_s=max(1.0, (at - world.now).total_seconds()))


# --- finished ------------------------------------------------------------------------------------
def _settled(world: BackupWorld) -> Errand:
    """What others should know of it; what is left over of it goes."""
    status = world.backup.status
    if status.path is not None and (finalizers := _finalizers(world)) is not None:
        return Errand(finalizers=finalizers)
    phase = status.phase or BackupPhase.FAILED
    ready = by_type(status.conditions).get("Ready")
    fresh = told(
        world,
        phase,
        ready.reason if ready is not None else reasons.COMPLETED,
        status.message or "",
        children=children_of(world),
    )
    live = view_of(world).live
    task = find(live.tasks, task_id(world)) if live is not None else None
    runs_on = task is not None and task.state is TaskState.RUNNING
    return Errand(
        status=as_api(fresh),
        calls=(CancelTask(task_id(world)),) if runs_on else (),
        spent_workers=spent(world.workers, None),
    )
