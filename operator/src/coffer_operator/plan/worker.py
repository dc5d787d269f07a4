"""What a storage worker's pod says: still at work, an answer, or why there is none. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from pydantic import ValidationError

from coffer_common.wire import StorageAnswer
from coffer_operator.build.worker import DEADLINE_S
from coffer_operator.plan.backup_world import WorkerFact
from coffer_operator.plan.clock import after
from coffer_operator.plan.wording import one_line

OVERDUE_S: Final = 2.0 * DEADLINE_S  # one that no kubelet has taken has no deadline of its own
START_S: Final = 60.0  # an image is pulled, and volumes are mounted, in less
_MAX_MESSAGE: Final = 1024


class WorkerState(StrEnum):
    """Where a worker is."""

    NONE = "None"  # there is none for this task
    AT_WORK = "AtWork"
    DONE = "Done"
    FAILED = "Failed"


@dataclass(frozen=True)
class WorkerVerdict:
    """What a worker says. `message`: what it waits for, or why it failed."""

    state: WorkerState
    message: str = ""
    reason: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_ended(self) -> bool:
        return self.state in (WorkerState.DONE, WorkerState.FAILED)


def judge_worker(workers: Iterable[WorkerFact], task: str, now: datetime) -> WorkerVerdict:
    """What the worker for the task says."""
    fact = next((worker for worker in workers if worker.task == task), None)
    if fact is None:
        return WorkerVerdict(WorkerState.NONE)
    if fact.said:
        return _answered(fact, fact.said)
    if fact.phase in ("Failed", "Succeeded") or fact.how is not None:
        how = fact.how or "without a word"
        return _failed(f"the storage worker ended: {how}; see kubectl describe pod {fact.name}")
    waits = f"the storage worker {fact.name} is at work"
    if fact.waiting:
        waits = f"the storage worker {fact.name} does not run yet: {fact.waiting}"
    elif fact.phase == "Pending" and _since(fact, now) >= START_S:
        waits = (
            f"the storage worker {fact.name} has not started for {START_S:.0f} s; kubectl describe "
            "pod says why"
        )
    if fact.created_at is not None and now >= after(fact.created_at, OVERDUE_S):
        return _failed(f"{waits}, for more than {OVERDUE_S / 60:.0f} minutes")
    return WorkerVerdict(WorkerState.AT_WORK, one_line(waits))


def _since(fact: WorkerFact, now: datetime) -> float:
    return (now - fact.created_at).total_seconds() if fact.created_at is not None else 0.0


def spent(workers: Iterable[WorkerFact], task: str | None) -> tuple[tuple[str, str], ...]:
    """The workers that nobody waits for: all but the one for the task."""
    return tuple((w.name, w.uid) for w in workers if w.task != task and not w.deleting)


def _answered(fact: WorkerFact, said: str) -> WorkerVerdict:
    try:
        answer = StorageAnswer.model_validate_json(said)
    except ValidationError:
        return _failed(f"the storage worker ended ({fact.how}) and said: {said[:200]}")
    if answer.result is None:
        text = one_line(answer.message)[:_MAX_MESSAGE] or "the storage worker gave no reason"
        return WorkerVerdict(WorkerState.FAILED, text, answer.reason)
    return WorkerVerdict(WorkerState.DONE, result=answer.result)


def _failed(message: str) -> WorkerVerdict:
    return WorkerVerdict(WorkerState.FAILED, one_line(message)[:_MAX_MESSAGE], "WorkerFailed")
