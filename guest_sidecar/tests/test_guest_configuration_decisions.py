"""What follows from a configuration: records, plans and files, without any engine."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffer_common.wire import ConfigurationRequest, RejectionCause, Value
from coffer_guest.configuration import decision, record, shown
from coffer_guest.configuration.decision import PORT, Wanted, decide
from coffer_guest.configuration.record import Process, Record, Start
from coffer_guest.engine_state import Command, View, failed_start, same_process, steer
from coffer_guest.engines.mariadb import MariaDB
from coffer_guest.engines.redis import Redis
from coffer_guest.intent import Intent
from guest_configuration import (
    NAMES,
    RUNNING,
    request,
)

A, B, C = request({"a": 1}), request({"b": 2}), request({"c": 3})
MISTAKE = "the engine's words"


# --- the record ---------------------------------------------------------------------------------
def test_what_is_mounted_counts_where_the_volume_knows_nothing_of_this_instance() -> None:
    new = record.adopt(None, "u", A)
    assert (new.wanted, new.live) == (A, None)
    assert record.adopt(new, "u", B) is new
    assert record.adopt(new, "other", B) == Record(uid="other", wanted=B)


def test_a_refused_request_leaves_the_former_one_in_force() -> None:
    live = record.applied(record.accept(Record(uid="u"), A), A)
    refused = record.refused(record.accept(live, B), B, MISTAKE)
    assert refused.rejected is not None
    assert refused.rejected.hash == B.hash
    assert record.target(refused) == A
    assert record.accept(refused, B) is refused, "the same one is not tried again"
    assert record.target(record.reset(refused)) == B
    newer = record.accept(refused, C)
    assert (record.target(newer), newer.rejected) == (C, None)
    assert record.refused(newer, B, MISTAKE) == newer, "a late word on what nobody wants any more"


def test_what_does_not_start_is_rejected_once_the_good_one_answers() -> None:
    good = record.answered(record.accept(Record(uid="u"), A), A)
    live = record.applied(record.accept(good, B), B)
    suspect = record.blamed(live, B, MISTAKE)
    assert (record.target(suspect), suspect.live, suspect.rejected) == (A, A, None)
    assert record.blamed(suspect, A, "the disk is full") == suspect, "not the request's fault"
    certain = record.answered(suspect, A)
    assert certain.rejected is not None
    assert certain.rejected.cause is RejectionCause.DID_NOT_START
    assert (record.target(certain), certain.live) == (A, A)
    after_all = record.answered(suspect, B)
    assert (after_all.suspect, after_all.rejected, record.target(after_all)) == (None, None, B)
    assert record.target(record.accept(suspect, C)) == C


def test_what_has_started_before_is_never_to_blame() -> None:
    good = record.answered(record.accept(Record(uid="u"), A), A)
    assert record.blamed(good, A, MISTAKE) == good
    assert record.blamed(record.accept(good, B), A, MISTAKE).suspect is None


def test_the_bare_template_is_what_a_new_instance_goes_back_to() -> None:
    suspect = record.blamed(record.adopt(None, "u", A), A, MISTAKE)
    assert record.target(suspect) is None
    certain = record.answered(suspect, None)
    assert certain.rejected is not None
    assert (record.target(certain), certain.live) == (None, None)


def test_a_fallback_that_does_not_start_falls_back_further() -> None:
    good = record.answered(record.accept(Record(uid="u"), A), A)
    live = record.applied(record.accept(good, B), B)
    refused = record.refused(record.accept(live, C), C, MISTAKE)
    assert record.target(refused) == B
    further = record.blamed(refused, B, "no start")
    assert (record.target(further), further.live, further.rejected) == (A, A, refused.rejected)


STEPS: dict[str, Callable[[Record, ConfigurationRequest], Record]] = {
    "accept": record.accept,
    "applied": lambda state, _: record.applied(state, record.target(state)),
    "refused": lambda state, one: record.refused(state, one, MISTAKE),
    "blamed": lambda state, one: record.blamed(state, one, MISTAKE),
    "answered": lambda state, _: record.answered(state, record.target(state)),
    "reset": lambda state, _: record.reset(state),
    "rest": lambda state, _: record.at_rest(state),
}
Steps = st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.sampled_from([A, B, C])))


@given(Steps)
def test_a_rejected_one_is_never_the_target(steps: list[tuple[str, ConfigurationRequest]]) -> None:
    state = Record(uid="u")
    for step, one in steps:
        state = STEPS[step](state, one)
        status = shown.status(state, None, None, None)
        if status.rejected is not None:
            assert status.rejected.hash == status.accepted
        if state.suspect is not None:
            assert record.target(state) == state.good
        elif state.rejected is None:
            assert record.target(state) == state.wanted
    last = record.accept(state, request({"d": 4}))
    assert record.target(last) == last.wanted


def test_a_new_process_has_what_it_was_started_with_until_its_turn_comes() -> None:
    """The former one had been brought to the request, and was killed before the next start had."""
    state = record.applied(record.accept(Record(uid="u"), B), B)
    start = Start(template="", request=A, port=3306)
    process = Process(launcher="boot", generation=2)
    assert shown.status(state, None, start, None).live == B.hash, "nobody has answered yet"
    assert shown.status(state, None, start, None, answers=True).live == A.hash
    assert shown.status(state, process, start, None, answers=True).live == B.hash


def test_records_survive_the_volume_and_what_is_damaged_counts_as_absent(tmp_path: Path) -> None:
    path = tmp_path / "configuration.json"
    assert record.read(path, Record) is None
    values: dict[str, Value] = {"a": True, "b": 1, "c": 1.0, "d": "1", "e": 2**64 - 1}
    stored = record.accept(Record(uid="u"), request(values))
    record.write(path, stored)
    found = record.read(path, Record)
    assert found == stored
    assert found is not None
    assert found.wanted is not None
    assert [type(value) for value in found.wanted.values.values()] == [bool, int, float, str, int]
    path.write_text("{")
    assert record.read(path, Record) is None


def test_a_process_inherits_what_is_uncertain_and_no_more() -> None:
    former = Process(
        launcher="b",
        generation=1,
        held={"a": 1, "b": 2},
        initial={"a": "0", "b": "0"},
        uncertain=("b", "c"),
        baseline={"a": "1"},
        pending=("d",),
    )
    heir = record.follow(former, "b", 2)
    wanted = Process(launcher="b", generation=2, initial={"b": "0"}, uncertain=("b", "c"))
    assert heir == wanted
    assert record.follow(None, "b", 1) == Process(launcher="b", generation=1)


# --- plans --------------------------------------------------------------------------------------
Values = st.dictionaries(
    st.sampled_from(NAMES), st.one_of(st.booleans(), st.integers(0, 5), st.just("2M"))
)
Wanteds = st.builds(
    lambda values, restart: Wanted({**values, PORT: 1}, frozenset(restart)),
    Values,
    st.frozensets(st.sampled_from(NAMES), max_size=1),
)


def taken(process: Process, changes: Mapping[str, Value | None], target: Wanted) -> Process:
    held = {**process.held, **{name: target.values.get(name) for name in changes}}
    left = tuple(name for name in process.uncertain if name not in changes)
    return process.model_copy(update={"held": held, "uncertain": left})


@given(Wanteds, st.lists(Wanteds, min_size=1, max_size=4), st.frozensets(st.sampled_from(NAMES)))
def test_any_row_of_targets_ends_in_the_last_and_nothing_is_left_of_others(
    started: Wanted, targets: list[Wanted], dynamic: frozenset[str]
) -> None:
    process = Process(launcher="b", generation=1)
    for target in targets:
        plan = decide(MariaDB, process, started, target, dynamic, {})
        assert set(plan.changes) <= dynamic
        assert not set(plan.changes) & set(target.restart_required)
        process = taken(process, plan.changes, target)
    last = targets[-1]
    again = decide(MariaDB, process, started, last, dynamic, {})
    assert again.changes == {}
    holds = decision.holds(process, started)
    for name in {*holds, *last.values}:
        same = name in holds and name in last.values
        same = same and MariaDB.canonical(holds[name]) == MariaDB.canonical(last.values[name])
        assert same is (name not in again.pending), name


def test_what_is_uncertain_is_set_whatever_it_is() -> None:
    process = Process(launcher="b", generation=1, uncertain=("alpha", "beta", "gamma"))
    started = Wanted({"alpha": 1, PORT: 1})
    plan = decide(MariaDB, process, started, started, {"alpha", "beta"}, {})
    assert plan.changes == {"alpha": 1, "beta": None}
    assert plan.pending == ()


def test_spellings_are_no_change() -> None:
    started = Wanted({"alpha": "8M", "beta": "ON", "gamma": "0.50", PORT: 1})
    target = Wanted({"alpha": 8 * 2**20, "beta": True, "gamma": 0.5, PORT: 1})
    process = Process(launcher="b", generation=1)
    plan = decide(MariaDB, process, started, target, set(NAMES), {})
    assert (plan.changes, plan.pending) == ({}, ())


def test_what_is_dropped_gets_the_default_or_what_it_was_or_waits() -> None:
    process = Process(
        launcher="b", generation=1, held={"beta": 2, "gamma": 3}, initial={"beta": "1"}
    )
    started, target = Wanted({"alpha": 5, PORT: 1}), Wanted({PORT: 2})
    plan = decide(Redis, process, started, target, set(NAMES), {"alpha": 4})
    assert plan.changes == {"alpha": 4, "beta": "1"}
    assert plan.pending == ("gamma", PORT)
    plan = decide(MariaDB, process, started, target, set(NAMES), {})
    assert plan.changes == {"alpha": None, "beta": "1", "gamma": None}


def test_a_port_of_any_layer_is_the_systems() -> None:
    start = Start(template="", port=1, request=request({"a": 1}, defaults={PORT: "2", "b": 2}))
    assert decision.layers(start).port == 2
    assert PORT not in decision.layers(start).defaults
    top = start.model_copy(update={"request": request({PORT: 3}, defaults={PORT: 2})})
    assert decision.wanted(MariaDB, top).values == {PORT: 3}


# --- the launcher's word ------------------------------------------------------------------------
def view(failed_starts: int, last_exit: str | None, state: str = "running") -> View:
    changes = {"state": state, "last_exit": last_exit, "failed_starts": failed_starts}
    return RUNNING.model_copy(update={"cause": "crash", "configuration": "one", **changes})


@pytest.mark.parametrize(
    ("failed", "before", "last_exit", "blame"),
    [
        (0, 0, None, False),
        (1, 0, "exit 1", True),
        (1, 1, "exit 1", False),  # nobody was there to see
        (2, 1, "exit 1", True),
        (1, 0, "exit 0", False),  # asked by somebody else
        (1, 0, "signal 9", False),
        (2, 0, "signal 9", False),
        (3, 0, "signal 9", True),
        (3, 0, "signal 6", True),
    ],
)
def test_who_is_to_blame(failed: int, before: int, last_exit: str | None, blame: bool) -> None:
    assert failed_start(view(failed, last_exit), before) is blame


def test_a_process_is_the_same_while_it_is_to_run() -> None:
    one = view(0, None)
    assert same_process(one, one)
    assert not same_process(one, None)
    assert not same_process(one, one.model_copy(update={"generation": 3}))
    assert not same_process(one, one.model_copy(update={"boot_id": "c"}))
    assert not same_process(one, one.model_copy(update={"state": "stopping"}))


def test_a_process_to_roll_back_is_stopped_and_started_anew() -> None:
    assert steer(Intent(), view(1, "exit 1"), roll_back=True) is Command.STOP
    assert steer(Intent(), view(1, "exit 1"), roll_back=False) is None
    assert steer(Intent(), view(1, "exit 1", "stopped"), roll_back=True) is Command.START
    assert steer(Intent(), view(2, "exit 1", "back_off"), roll_back=True) is Command.START
    assert steer(Intent(), view(2, "exit 1", "back_off")) is None
    assert steer(Intent(running=False), view(2, "exit 1", "back_off")) is Command.STOP
    restart = Intent(restart="token")
    assert steer(restart, view(1, "exit 1"), roll_back=True) is Command.RESTART
