"""The Errand: what `act` is to do for BackupStorages, Backups, verifications, schedules, as data.

Order: worker, creates, removals, scratch instance, calls, verdict, collection, status, events, then
what the status makes superfluous: the workers whose answer it holds, the object itself. Who dies in
between does the rest again; the worker with the answer stays until that was kept. Finalizers come
alone, but for events: what else is to be done, the next plan says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from coffer_common.resources.backup import Backup
from coffer_operator.build.worker import WorkerOrder
from coffer_operator.plan.model import CancelTask, Delete, EventNote, PutTask


@dataclass(frozen=True)
class Verdict:
    """What a verification says of its Backup: the whole wanted status of that, and an Event."""

    backup: Backup
    status: Mapping[str, Any]
    note: EventNote


@dataclass(frozen=True)
class Removal:
    """Deletion of a Backup that is as it was when that was decided, and the Event about it."""

    name: str
    uid: str
    resource_version: str
    note: EventNote


@dataclass(frozen=True)
class Collection:
    """What the storage worker of that pod has written is to be kept, for the request."""

    worker: str
    request: str


@dataclass(frozen=True)
class Errand:
    """What to do now, and when to look again even if nothing happens."""

    status: Mapping[str, Any] | None = None  # the whole wanted status; None: leave it
    finalizers: tuple[str, ...] | None = None  # all of them; None: leave them
    worker: WorkerOrder | None = None  # to be made, unless it is there
    creates: tuple[Mapping[str, Any], ...] = ()  # Backups, Operations; what is there stays as it is
    removals: tuple[Removal, ...] = ()
    calls: tuple[PutTask | CancelTask, ...] = ()  # to the agent of the World's pod
    events: tuple[EventNote, ...] = ()
    spent_workers: tuple[tuple[str, str], ...] = ()  # pods to be removed: name and uid
    scratch: Mapping[str, Any] | None = None  # a DatabaseInstance to be made, unless it is there
    unwanted: Delete | None = None  # that instance, to be removed
    verdict: Verdict | None = None
    collection: Collection | None = None
    expired: bool = False  # the object itself is to be removed: its time to live is over
    requeue_after_s: float | None = None
    due_after_s: float | None = None  # when what is due must not wait for the back-off of a failure

    @property
    def writes(self) -> bool:
        """Whether it does more than report."""
        return bool(
            self.finalizers is not None
            or self.worker
            or self.creates
            or self.removals
            or self.calls
            or self.spent_workers
            or self.scratch
            or self.unwanted
            or self.verdict
            or self.collection
            or self.expired
        )
