"""Conditions that keep their time of transition while their status stays. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from coffer_common.resources.base import Condition
from coffer_operator.plan.clock import from_text, to_text

MAX_MESSAGE = 4096  # of a condition, by its schema
MAX_REASON = 128


def by_type(conditions: Iterable[Condition]) -> dict[str, Condition]:
    """The conditions by their type."""
    return {condition.type: condition for condition in conditions}


class Conditions:
    """Collects the wanted conditions of one object."""

    def __init__(self, former: Mapping[str, Condition], generation: int, now: datetime) -> None:
        """`former`: the present ones; `generation`: of the spec they speak of."""
        self._former = former
        self._generation = generation
        self._now = now
        self._wanted: list[Condition] = []

    def add(self, kind: str, status: str, reason: str, message: str) -> None:
        """The condition of type `kind`; its time moves only if its status does."""
        former = self._former.get(kind)
        since = former.last_transition_time if former and former.status == status else ""
        self._wanted.append(
            Condition(
                type=kind,
                status=str(status),
                reason=reason[:MAX_REASON],
                message=message[:MAX_MESSAGE],
                observed_generation=self._generation,
                last_transition_time=since or to_text(self._now),
            )
        )

    def result(self) -> tuple[Condition, ...]:
        """The conditions in the order in which they were added."""
        return tuple(self._wanted)


def since(condition: Condition | None, fallback: datetime) -> datetime:
    """When the condition took its present status."""
    moment = from_text(condition.last_transition_time) if condition is not None else None
    return moment or fallback
