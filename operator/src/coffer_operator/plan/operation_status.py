"""The status of an Operation from how far it is. Pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from coffer_common.resources.backup import BackupProgress
from coffer_common.resources.operation import (
    Operation,
    OperationOutcome,
    OperationPhase,
    OperationStatus,
)
from coffer_operator.plan.conditions import Conditions, by_type
from coffer_operator.plan.finding import Truth


@dataclass(frozen=True)
class Progress:
    """How far an Operation is; times are RFC 3339.

    `reason`: of its conditions, where that is not the phase. `amount`: in bytes, where they count.
    """

    phase: OperationPhase
    message: str
    step: str | None = None
    started_at: str | None = None
    deadline: str | None = None
    finished_at: str | None = None
    instance_uid: str | None = None
    reason: str | None = None
    outcome: OperationOutcome | None = None
    amount: BackupProgress | None = None


def wanted_status(operation: Operation, progress: Progress, now: datetime) -> dict[str, Any]:
    """The whole status as the API has it; what an ended or waiting one had before is kept."""
    former = operation.status
    generation = operation.metadata.generation
    conditions = Conditions(by_type(former.conditions), generation, now)
    reason, message = progress.reason or progress.phase.value, progress.message
    done = progress.phase is OperationPhase.COMPLETED
    conditions.add("Ready", Truth.TRUE if done else Truth.FALSE, reason, message)
    if progress.phase in (OperationPhase.NEW, OperationPhase.RUNNING):
        conditions.add("Reconciling", Truth.TRUE, reason, message)
    elif not done:
        conditions.add("Stalled", Truth.TRUE, reason, message)
    status = OperationStatus(
        phase=progress.phase,
        observed_generation=generation,
        instance_uid=progress.instance_uid or former.instance_uid,
        step=progress.step or former.step,
        message=message,
        progress=progress.amount or former.progress,
        outcome=progress.outcome,
        started_at=progress.started_at or former.started_at,
        deadline=progress.deadline or former.deadline,
        finished_at=progress.finished_at,
        conditions=conditions.result(),
    )
    return as_api(status)


def present_status(operation: Operation) -> dict[str, Any]:
    """The status that the Operation has, in the same form."""
    return as_api(operation.status)


def as_api(status: OperationStatus) -> dict[str, Any]:
    """A status as the API has it: no nulls, no empty lists."""
    content = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {key: value for key, value in content.items() if value != []}
