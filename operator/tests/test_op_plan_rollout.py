"""Waves: never more than allowed at once, never on after a failure, replicas first."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from coffer_common.resources.instance_status import Role
from coffer_common.wire import ConfigurationStatus
from coffer_operator.plan.rollout import (
    RESTART_WAVE_S,
    Stage,
    in_order,
    name_of,
    restart_moment,
    roll_out,
)
from coffer_operator.plan.values import build_request
from coffer_operator.plan.world import Member
from op_plan_groups import LIVE, MEMBERS, member, refused, request_of, taken
from op_plan_worlds import NOW

REQUEST = request_of(LIVE)
NEW = REQUEST.hash


def turns(*members: Member, at_once: int = 2) -> list[str]:
    return sorted(name for _, name in roll_out(members, REQUEST, at_once).turn)


@given(MEMBERS, st.integers(1, 4))
def test_a_wave_keeps_its_limits(members: tuple[Member, ...], at_once: int) -> None:
    found = roll_out(members, REQUEST, at_once)
    stages = found.stages
    running = [name for name, stage in stages.items() if stage is Stage.RUNNING]
    assert not found.turn or len(found.turn) + len(running) <= at_once
    rejected = [
        m
        for m in members
        if m.configuration and m.configuration.rejected and m.configuration.rejected.hash == NEW
    ]
    assert bool(found.failed) == bool(rejected)
    assert not (found.failed and found.turn)
    by_name = {name_of(m): m for m in members}
    for name in found.turn:
        one = by_name[name]
        assert one.reachable
        assert one.configuration is not None
        assert one.configuration.accepted != NEW
    left = [n for n, stage in stages.items() if stage is Stage.WAITING and n not in found.turn]
    if not found.failed and len(running) < at_once and left:
        assert len(found.turn) + len(running) == at_once, "a place is never left empty"
    for name in left:
        if found.turn and by_name[name].role is Role.REPLICA:
            assert all(by_name[other].role is Role.REPLICA for other in found.turn)


def test_those_that_are_away_hold_no_place() -> None:
    away = member("a", None, reachable=False)
    silent = member("b", configuration=None)
    stuck = member("c", held=True)
    gone_at_work = member("d", taken(NEW), reachable=False)
    assert turns(away, silent, stuck, gone_at_work, member("e"), member("f")) == ["e", "f"]


def test_those_whose_plans_fail_come_last_and_not_all_at_once() -> None:
    a, b, c = member("a", failing=True), member("b", failing=True), member("c")
    assert turns(a, b, c) == ["c"], "they hold no place"
    found = roll_out([a, b, c], REQUEST, 2, by_failing=True)
    assert sorted(name for _, name in found.turn) == ["a", "c"]
    all_of_them = [member(name, failing=True) for name in "abc"]
    found = roll_out(all_of_them, REQUEST, 2, by_failing=True)
    assert sorted(name for _, name in found.turn) == ["a", "b"]


def test_who_is_at_work_holds_a_place_and_who_is_done_does_not() -> None:
    at_work, done = member("a", taken(NEW, "old")), member("b", taken(NEW, NEW, "port"))
    assert turns(at_work, done, member("c"), member("d")) == ["c"]


def test_who_is_at_work_for_too_long_holds_no_place() -> None:
    hindered = taken(NEW, "old").model_copy(update={"hindered": "lock wait timeout"})
    assert turns(member("a", hindered), member("b"), member("c"), member("d")) == ["b", "c"]
    done = taken(NEW, NEW).model_copy(update={"hindered": "of before"})
    assert roll_out([member("a", done)], REQUEST, 2).stages["prod", "a"] is Stage.DONE


def test_replicas_go_first_and_then_by_name() -> None:
    members = [member("b"), member("a", role=Role.SOURCE), member("z", role=Role.REPLICA)]
    assert [m.name for m in in_order(members)] == ["z", "a", "b"]
    assert turns(*members, at_once=1) == ["z"]


def test_one_that_did_not_take_them_stops_the_others() -> None:
    assert turns(member("a", refused(NEW)), member("b")) == []
    assert turns(member("a", refused(NEW), reachable=False), member("b")) == []
    assert turns(member("a", refused("of before")), member("b")) == ["a", "b"]


def test_no_request_at_all_is_one_that_says_nothing() -> None:
    bare = build_request(None, {}, {}, None)
    members = [member("a"), member("b", taken("old", "old")), member("c", taken(bare.hash, "old"))]
    found = roll_out(members, bare, 5)
    assert [found.stages["prod", name] for name in "abc"] == [
        Stage.DONE,
        Stage.WAITING,
        Stage.RUNNING,
    ]


@given(
    st.lists(st.sampled_from([*Role]), min_size=1, max_size=7),
    st.integers(1, 3),
    st.lists(st.integers(0, 6), max_size=40),
    st.sets(st.integers(0, 6)),
)
def test_a_rollout_ends_whatever_the_order_of_news(
    roles: list[Role], at_once: int, news: list[int], away: set[int]
) -> None:
    """Each looks at what all are known to have; the agents answer in any order."""
    names = [f"m{n}" for n in range(len(roles))]
    said: dict[str, ConfigurationStatus] = {name: taken("old", "old") for name in names}

    def members(known: Mapping[str, ConfigurationStatus]) -> list[Member]:
        return [
            member(name, known[name], role=role, reachable=n not in away)
            for n, (name, role) in enumerate(zip(names, roles, strict=True))
        ]

    def step(name: str) -> None:
        if said[name].accepted == NEW:
            said[name] = taken(NEW, NEW)
        elif ("prod", name) in roll_out(members(said), REQUEST, at_once).turn:
            said[name] = taken(NEW, "old")
        at_work = sum(s.accepted == NEW and s.live != NEW for s in said.values())
        assert at_work <= at_once

    for one in (*(names[n % len(names)] for n in news), *names * 2 * len(names)):
        if names.index(one) not in away:
            step(one)
    for n, name in enumerate(names):
        assert said[name].live == ("old" if n in away else NEW)


def test_restarts_of_a_window_go_in_waves() -> None:
    due = [member(name, taken(NEW, NEW, "port")) for name in "abcd"]
    moments = [restart_moment(due, ("prod", name), NOW, 2) for name in "abcd"]
    assert [(m - NOW).total_seconds() for m in moments] == [0, 0, RESTART_WAVE_S, RESTART_WAVE_S]
    done = [member("a", taken(NEW, NEW)), member("b", reachable=False), *due[2:]]
    assert restart_moment(done, ("prod", "d"), NOW, 2) == NOW
