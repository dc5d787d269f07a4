"""The deletion of a Backup: the objects in the bucket first, the Backup last.

Pure. What it cannot know it does not wait for without end: where storage, Secrets or namespace are
going, the objects stay and an Event says so; where the bucket cannot be reached, a condition says
so, it is tried again, and `deletionPolicy: Retain` is the way out.
"""

from typing import Final

from coffer_common import naming
from coffer_common.resources.backup import BackupPhase, ObjectsPolicy
from coffer_common.wire import StorageOperation, TaskState
from coffer_operator.build.worker import WorkerOrder
from coffer_operator.plan import reasons
from coffer_operator.plan.backup_begin import view_of
from coffer_operator.plan.backup_status import as_api, children_of, events, told
from coffer_operator.plan.backup_world import BackupWorld
from coffer_operator.plan.clock import after, from_text, to_text
from coffer_operator.plan.errand import Errand
from coffer_operator.plan.model import CancelTask, EventNote
from coffer_operator.plan.tasks import NO_PROGRESS_S, find
from coffer_operator.plan.wording import some
from coffer_operator.plan.worker import WorkerState, judge_worker, spent

ASK_AGAIN_S: Final = 120.0
LEFTOVERS_S: Final = 600.0  # how long the leftovers of a backup that failed are worth trying
_LOOK_S: Final = 30.0


def plan_deletion(world: BackupWorld, finalizer: str, task_id: str) -> Errand:
    """What to do for a Backup under deletion."""
    if finalizer not in world.backup.metadata.finalizers:
        return Errand()
    kept = tuple(f for f in world.backup.metadata.finalizers if f != finalizer)
    if (wait := _wait_for_task(world, task_id)) is not None:
        return wait
    if (why := _why_keep(world)) is not None:
        note = EventNote(reasons.OBJECTS_RETAINED, why, warning=True)
        return Errand(finalizers=kept, events=(note,) if why else ())
    children = children_of(world)
    if children:
        text = f"it is needed by {some(children)}; delete those first"
        return _blocked(world, text, _LOOK_S)
    return _delete_objects(world, kept)


def _wait_for_task(world: BackupWorld, task_id: str) -> Errand | None:
    """A task that runs on would write what was just deleted."""
    live = view_of(world).live
    if live is None:
        return _wait_for_agent(world)
    task = find(live.tasks, task_id)
    if task is None or task.state is not TaskState.RUNNING:
        return None
    status = told(world, BackupPhase.DELETING, reasons.DELETING, "the backup is being cancelled")
    return Errand(status=as_api(status), calls=(CancelTask(task_id),), requeue_after_s=_LOOK_S)


def _wait_for_agent(world: BackupWorld) -> Errand | None:
    """Whether it runs on cannot be told: waited for, but not for ever."""
    status, instance = world.backup.status, world.instance
    was_running = status.started_at is not None and status.finished_at is None
    if not was_running or instance is None or instance.metadata.uid != status.instance_uid:
        return None
    deadline = after(
        from_text(world.backup.metadata.deletion_timestamp) or world.now, NO_PROGRESS_S
    )
    if world.pod is None or world.now >= deadline:
        return None
    text = "waits for the agent, to be sure that the backup is not being taken any more"
    fresh = told(world, BackupPhase.DELETING, reasons.DELETING, text)
    return Errand(status=as_api(fresh), requeue_after_s=_LOOK_S)


def _why_keep(world: BackupWorld) -> str | None:
    """Why the objects stay, for an Event; "": there are none; None: they go."""
    status = world.backup.status
    if status.path is None or (status.attempt == 0 and status.location is None):
        return ""
    where = status.location or status.path
    if (gone := _what_is_gone(world)) is not None:
        return f"the objects at {where} stay: {gone}"
    if status.location is None and world.now >= after(
        from_text(world.backup.metadata.deletion_timestamp) or world.now, LEFTOVERS_S
    ):
        return f"what the failed backup may have left at {where} could not be deleted"
    return None


def _what_is_gone(world: BackupWorld) -> str | None:
    """Of what deleting them would take."""
    if world.backup.spec.deletion_policy is ObjectsPolicy.RETAIN:
        return "deletionPolicy is Retain"
    if world.namespace_terminating:
        return "the namespace is being deleted"
    if world.storage is None or world.storage.metadata.deletion_timestamp is not None:
        return "the BackupStorage is gone"
    if world.secrets is not None and world.secrets.error is not None:
        return world.secrets.error.message
    return None


def _delete_objects(world: BackupWorld, kept: tuple[str, ...]) -> Errand:
    status, storage = world.backup.status, world.storage
    asked = from_text(status.asked_at)
    if asked is not None and (world.now - asked).total_seconds() < ASK_AGAIN_S:
        wait_s = ASK_AGAIN_S - (world.now - asked).total_seconds()
        return Errand(requeue_after_s=max(wait_s, 1.0), spent_workers=spent(world.workers, None))
    task = naming.short_hash(f"delete/{status.asked_at or ''}", 16)
    verdict = judge_worker(world.workers, task, world.now)
    if verdict.state is WorkerState.DONE:
        text = f"the objects at {status.location or status.path} were deleted"
        return Errand(finalizers=kept, events=(EventNote(reasons.OBJECTS_DELETED, text),))
    if verdict.state is WorkerState.FAILED:
        return _blocked(world, verdict.message, ASK_AGAIN_S, asked_at=to_text(world.now))
    if world.failure is not None or not world.image or storage is None:
        why = world.failure
        text = f"{why.step}: {why.message}" if why is not None else "there is no storage worker"
        blocked = _blocked(world, text, ASK_AGAIN_S)
    else:
        message = verdict.message or "the objects in the bucket are being deleted"
        fresh = told(world, BackupPhase.DELETING, reasons.DELETING, message)
        blocked = Errand(status=as_api(fresh), requeue_after_s=_LOOK_S)
    return _with_worker(world, blocked, task, verdict.state)


def _with_worker(world: BackupWorld, errand: Errand, task: str, state: WorkerState) -> Errand:
    order = None
    if state is WorkerState.NONE and world.storage is not None and world.image:
        order = WorkerOrder(
            owner_kind="Backup",
            owner=world.backup.metadata,
            task=task,
            operation=StorageOperation.DELETE,
            storage=world.storage.spec,
            image=world.image,
            path=world.backup.status.path or "",
        )
    return Errand(
        status=errand.status,
        events=errand.events,
        worker=order,
        spent_workers=spent(world.workers, task),
        requeue_after_s=errand.requeue_after_s,
    )


def _blocked(
    world: BackupWorld, why: str, again_s: float, *, asked_at: str | None = None
) -> Errand:
    text = f"the objects cannot be deleted: {why}; to keep them, set spec.deletionPolicy to Retain"
    changes = {"asked_at": asked_at} if asked_at is not None else {}
    fresh = told(world, BackupPhase.DELETING, reasons.DELETION_BLOCKED, text, **changes)
    return Errand(
        status=as_api(fresh),
        events=events(world.backup, fresh),
        spent_workers=spent(world.workers, None) if asked_at is not None else (),
        requeue_after_s=again_s,
    )
