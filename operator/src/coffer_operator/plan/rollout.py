"""Waves: who of those that get the same values may get them now.

Pure, and one function for instances and groups: each finds its own turn from what all agents say,
so that no one hands out turns and none is lost. What may be late is only the news.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Final

from coffer_common.resources.configuration import RolloutSpec
from coffer_common.resources.instance_status import Role
from coffer_common.wire import ConfigurationRequest, ConfigurationStatus
from coffer_operator.plan.clock import after
from coffer_operator.plan.values import is_bare
from coffer_operator.plan.world import Member

DEFAULT_MAX_CONCURRENT: Final = RolloutSpec().max_concurrent
RESTART_WAVE_S: Final = 60.0  # between two waves of restarts in a maintenance window

Name = tuple[str, str]  # namespace and name


class Stage(Enum):
    """How far a member is with the values that are wanted."""

    UNREACHABLE = auto()  # cannot tell, or has tried for so long that nobody waits for it
    WAITING = auto()  # it does not have them yet
    RUNNING = auto()  # it has them and is at work
    DONE = auto()  # they are in force, apart from those that a restart brings
    FAILED = auto()  # its engine did not take them


@dataclass(frozen=True)
class Rollout:
    """Where a rollout is.

    `turn`: those that wait and may get the values now. `failed` stops it: nobody else gets them.
    """

    stages: dict[Name, Stage]
    turn: frozenset[Name]
    failed: tuple[Member, ...]

    @property
    def held_back(self) -> frozenset[Name]:
        """Those that wait because others failed, and name these."""
        if not self.failed:
            return frozenset()
        return frozenset(name for name, stage in self.stages.items() if stage is Stage.WAITING)


def name_of(member: Member) -> Name:
    return member.namespace, member.name


def in_order(members: Iterable[Member]) -> list[Member]:
    """Replicas first: the others serve writes."""
    return sorted(members, key=lambda m: (m.role is not Role.REPLICA, name_of(m)))


def stage_of(member: Member, request: ConfigurationRequest, *, by_failing: bool = False) -> Stage:
    """How far the member is; `by_failing` as in `roll_out`."""
    said = member.configuration
    if said is not None and said.rejected is not None and said.rejected.hash == request.hash:
        return Stage.FAILED
    if said is None or not member.reachable:
        return Stage.UNREACHABLE
    if not has(said.accepted, request):
        away = member.held or (member.failing and not by_failing)
        return Stage.UNREACHABLE if away else Stage.WAITING
    if is_live(said, request):
        return Stage.DONE
    return Stage.UNREACHABLE if said.hindered is not None else Stage.RUNNING


def has(accepted: str | None, request: ConfigurationRequest) -> bool:
    """Whether that hash is the request's; none at all is that of a request that says nothing."""
    return accepted == request.hash or (accepted is None and is_bare(request))


def is_live(said: ConfigurationStatus, request: ConfigurationRequest) -> bool:
    """Whether the request is in force, apart from what a restart brings."""
    return has(said.live, request)


def roll_out(
    members: Iterable[Member],
    request: ConfigurationRequest,
    max_concurrent: int,
    *,
    by_failing: bool = False,
) -> Rollout:
    """Where the rollout of the request is among the members, which are all of one version.

    Those that cannot be reached hold no place: they follow when they are back. Nor do those whose
    plans fail, and one of them that asks for itself (`by_failing`) comes after all others, in
    order: after an API server was away all may be failing, and are not to go at once.
    """
    ordered = in_order(members)
    stages = {name_of(one): stage_of(one, request, by_failing=by_failing) for one in ordered}
    failed = tuple(member for member in ordered if stages[name_of(member)] is Stage.FAILED)
    running = sum(stage is Stage.RUNNING for stage in stages.values())
    last = sorted(ordered, key=lambda member: member.failing)
    waiting = [name_of(m) for m in last if stages[name_of(m)] is Stage.WAITING]
    places = 0 if failed else max(0, max_concurrent - running)
    return Rollout(stages, frozenset(waiting[:places]), failed)


def restart_moment(
    members: Iterable[Member], me: Name, begins: datetime, max_concurrent: int
) -> datetime:
    """From when on `me` may be restarted by itself, in a window or a wait that begins then.

    Those that wait for a restart go in waves a minute apart, so that values with which an engine
    does not start stop at the first wave. Who is restarted moves the others up.
    """
    due = [
        name_of(member)
        for member in in_order(members)
        if member.reachable and member.configuration and member.configuration.pending_restart
    ]
    rank = due.index(me) if me in due else 0
    return after(begins, rank // max(1, max_concurrent) * RESTART_WAVE_S)
