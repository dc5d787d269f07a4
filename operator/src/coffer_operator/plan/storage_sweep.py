"""Once a day, what backups that died have left in a bucket is removed.

Pure. That is: multipart uploads that nobody ended, which cost money and are seen by no listing of
objects, and places of backups without a manifest. All that is younger than a day is left alone, and
what belongs to a backup that runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from coffer_common import naming
from coffer_common.wire import StorageOperation
from coffer_operator.build.worker import WorkerOrder
from coffer_operator.plan import reasons
from coffer_operator.plan.backup_world import StorageWorld
from coffer_operator.plan.clock import after, from_text, to_text
from coffer_operator.plan.model import EventNote
from coffer_operator.plan.worker import WorkerState, judge_worker

SWEEP_EVERY_S: Final = 86400.0


@dataclass(frozen=True)
class Sweep:
    """What there is to do: `task` is the worker to be kept, `order` to be made."""

    task: str | None = None
    order: WorkerOrder | None = None
    swept_at: str | None = None
    event: EventNote | None = None


def judge_sweep(world: StorageWorld) -> Sweep:
    """For a storage that is Ready. One that fails is tried again the next day, and told."""
    status = world.storage.status
    last = status.swept_at or status.probed_at
    if not world.image or world.now < _due(last, world.now):
        return Sweep()
    task = naming.short_hash(f"sweep/{last or ''}", 16)
    verdict = judge_worker(world.workers, task, world.now)
    now = to_text(world.now)
    match verdict.state:
        case WorkerState.DONE:
            return Sweep(swept_at=now, event=_removed(verdict.result))
        case WorkerState.FAILED:
            text = f"what backups that died have left could not be removed: {verdict.message}"
            return Sweep(swept_at=now, event=EventNote(reasons.SWEEP_FAILED, text, warning=True))
        case WorkerState.AT_WORK:
            return Sweep(task)
        case _:
            return Sweep(task, None if world.failure is not None else _order(world, task))


def _due(last: str | None, now: datetime) -> datetime:
    return after(from_text(last) or now, SWEEP_EVERY_S)


def _order(world: StorageWorld, task: str) -> WorkerOrder:
    return WorkerOrder(
        owner_kind="BackupStorage",
        owner=world.storage.metadata,
        task=task,
        operation=StorageOperation.SWEEP,
        storage=world.storage.spec,
        image=world.image,
        running=world.running,
    )


def _removed(result: Mapping[str, Any]) -> EventNote | None:
    """Nothing is told of nothing."""
    if result.get("truncated"):
        return EventNote(reasons.SWEPT, "what backups that died had left was removed; it was much")
    uploads, folders = len(result.get("uploads", ())), len(result.get("folders", ()))
    if not uploads and not folders:
        return None
    text = f"what backups that died had left was removed: {uploads} uploads, {folders} places"
    return EventNote(reasons.SWEPT, text)
