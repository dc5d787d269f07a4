"""The Errand: what `act` is to do for a BackupStorage or a Backup, as data.

Order: worker, calls, status, events, then the workers whose answer the status holds. Who dies in
between does the rest again; the worker with the answer stays until that was kept. Finalizers come
alone, but for events: what else is to be done, the next plan says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from coffer_operator.build.worker import WorkerOrder
from coffer_operator.plan.model import CancelTask, EventNote, PutTask


@dataclass(frozen=True)
class Errand:
    """What to do now, and when to look again even if nothing happens."""

    status: Mapping[str, Any] | None = None  # the whole wanted status; None: leave it
    finalizers: tuple[str, ...] | None = None  # all of them; None: leave them
    worker: WorkerOrder | None = None  # to be made, unless it is there
    calls: tuple[PutTask | CancelTask, ...] = ()  # to the agent of the World's pod
    events: tuple[EventNote, ...] = ()
    spent_workers: tuple[tuple[str, str], ...] = ()  # pods to be removed: name and uid
    requeue_after_s: float | None = None

    @property
    def writes(self) -> bool:
        """Whether it does more than report."""
        return bool(self.finalizers is not None or self.worker or self.calls or self.spent_workers)
