"""The launcher's decisions, without a process."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffer_common import naming
from coffer_guest import launcher
from coffer_guest.launch_machine import (
    BACK_OFF,
    CRASH_LOOP,
    EXIT,
    RUNNING,
    SIGKILL,
    SIGNAL,
    SPAWN,
    STOPPED,
    STOPPING,
    WAITING,
    Action,
    CrashCounter,
    Machine,
    Spec,
)

TERM = 15
SPAWNS = [Action(SPAWN)]
TERMS = [Action(SIGNAL, TERM)]


def spec(*argv: str, again_s: float | None = None) -> Spec:
    return Spec(list(argv) or ["/engine"], {}, TERM, 10.0, again_s)


def running(again_s: float | None = None) -> Machine:
    machine = Machine()
    assert machine.start(spec(again_s=again_s)) == SPAWNS
    machine.spawned(7, "now")
    return machine


def test_the_launchers_defaults_are_those_of_naming() -> None:
    assert launcher.DEFAULT_VOLUME == naming.VOLUME_PATH
    assert launcher.DEFAULT_RUN == naming.RUN_PATH


def test_start_is_done_once() -> None:
    machine = running()
    assert machine.start(spec("/other")) == []
    assert machine.generation == 1
    assert machine.describe()["pid"] == 7


def test_stop_waits_and_then_kills() -> None:
    machine = running()
    assert machine.stop(100.0) == TERMS
    assert machine.stop(101.0) == []
    assert machine.tick(109.9) == []
    assert machine.tick(110.0) == [Action(SIGNAL, SIGKILL)]
    assert machine.tick(111.0) == []
    assert machine.next_tick() is None
    assert machine.died(-SIGKILL, 112.0) == []
    assert machine.state == STOPPED
    assert machine.last_exit == "signal 9"
    assert machine.restarts == 0


def test_an_engine_that_may_refuse_is_told_again_until_it_is_killed() -> None:
    machine = running(again_s=4.0)
    assert machine.next_tick() is None
    assert machine.stop(100.0) == TERMS
    assert machine.next_tick() == 104.0
    assert machine.tick(103.9) == []
    assert machine.tick(104.5) == TERMS
    assert machine.next_tick() == 108.5
    assert machine.tick(109.0) == TERMS
    assert machine.next_tick() == 110.0, "killed before it is told the next time"
    assert machine.tick(110.0) == [Action(SIGNAL, SIGKILL)]
    assert machine.next_tick() is None
    assert machine.tick(120.0) == []


def test_an_engine_that_has_ended_is_told_nothing() -> None:
    machine = running(again_s=4.0)
    assert machine.restart(spec(), "token", 100.0) == TERMS
    assert machine.died(0, 101.0) == SPAWNS
    machine.spawned(8, "then")
    assert machine.next_tick() is None
    assert machine.tick(104.0) == []


def test_start_during_a_stop_starts_afterwards() -> None:
    machine = running()
    machine.stop(0.0)
    assert machine.start(spec()) == []
    assert machine.died(0, 1.0) == SPAWNS


def test_stop_during_a_restart_wins_and_forgets_the_token() -> None:
    machine = running()
    machine.restart(spec(), "a", 0.0)
    assert machine.stop(0.5) == []
    assert machine.died(0, 1.0) == []
    assert machine.state == STOPPED
    assert machine.restarted_for is None
    assert machine.restart(spec(), "a", 2.0) == SPAWNS


def test_restart_is_done_once_per_token() -> None:
    machine = running()
    assert machine.restart(spec("/new"), "a", 0.0) == TERMS
    assert machine.restart(spec("/new"), "a", 0.1) == []
    assert machine.describe()["restarting_for"] == "a"
    assert machine.died(0, 1.0) == SPAWNS
    assert machine.restarted_for == "a"
    assert machine.describe()["restarting_for"] is None
    assert machine.spec is not None
    assert machine.spec.argv == ["/new"]
    assert machine.restart(spec(), "a", 2.0) == []
    assert machine.restart(spec(), "b", 3.0) == TERMS
    assert machine.restarts == 0


def test_restart_of_an_engine_that_does_not_run_is_a_start() -> None:
    machine = Machine()
    assert machine.restart(spec(), "a", 0.0) == SPAWNS
    assert machine.restarted_for == "a"


def test_an_unasked_death_is_answered_by_a_start_at_once() -> None:
    machine = running()
    machine.note_answered(1)
    assert machine.describe()["answered"] is True
    assert machine.died(-11, 5.0) == SPAWNS
    assert machine.restarts == 1
    assert machine.last_exit == "signal 11"
    machine.note_answered(1)  # of the former process
    assert machine.describe()["answered"] is False


@pytest.mark.parametrize(("code", "exit_code"), [(-9, 137), (3, 3), (0, 1)])
def test_the_fifth_death_within_a_minute_ends_the_launcher(code: int, exit_code: int) -> None:
    machine = running()
    for death in range(4):
        started = machine.died(code, death * 14.0) or machine.tick(death * 14.0 + 1.0)
        assert started == SPAWNS
    assert machine.died(code, 59.0) == [Action(EXIT, exit_code)]
    assert machine.state == CRASH_LOOP
    assert machine.start(spec()) == []


def test_deaths_that_are_far_apart_are_forgiven_and_reset_forgets() -> None:
    counter = CrashCounter(limit=2, window_s=60.0)
    assert not counter.add(0.0)
    assert not counter.add(60.0)
    assert counter.add(119.0)
    counter.forget()
    assert not counter.add(120.0)


def test_terminate() -> None:
    assert Machine().terminate(0.0) == [Action(EXIT, 0)]
    machine = running()
    assert machine.terminate(0.0) == TERMS
    assert machine.terminate(1.0) == []
    assert machine.start(spec()) == []
    assert machine.restart(spec(), "a", 1.0) == []
    assert machine.died(0, 2.0) == [Action(EXIT, 0)]
    machine = running()
    machine.restart(spec(), "a", 0.0)
    assert machine.terminate(0.1) == []
    assert machine.died(-SIGKILL, 2.0) == [Action(EXIT, 137)]


def feed(machine: Machine, event: str, now: float) -> list[Action]:
    if event == "start":
        return machine.start(spec())
    if event == "stop":
        return machine.stop(now)
    if event == "die":
        return machine.died(1, now) if machine.state in (RUNNING, STOPPING) else []
    if event == "term":
        return machine.terminate(now)
    if event == "tick":
        return machine.tick(now)
    return machine.restart(spec(), event, now)


@given(st.lists(st.sampled_from(["start", "stop", "a", "b", "die", "die", "term", "tick"])))
def test_there_is_never_more_than_one_process(events: list[str]) -> None:
    machine, alive, ended, now = Machine(), False, False, 0.0
    for event in events:
        now += 1.0
        actions = feed(machine, event, now)
        if event == "die":
            alive = False
        for action in actions:
            if action.kind == SPAWN:
                assert not alive
                assert not ended
                alive = True
                machine.spawned(int(now), "now")
            elif action.kind == EXIT:
                assert not alive
                ended = True
            else:
                assert alive
        if ended:
            break
        assert alive == (machine.state in (RUNNING, STOPPING))
        assert machine.state in (WAITING, RUNNING, STOPPING, STOPPED, BACK_OFF)
        assert machine.state != BACK_OFF or machine.next_tick() is not None


def configured(name: str) -> Spec:
    return Spec(["/engine"], {}, TERM, 10.0, None, name)


def test_what_a_process_was_started_with_is_known_and_the_next_may_be_another() -> None:
    machine = Machine()
    machine.start(configured("one"))
    machine.spawned(7, "now")
    machine.prepare(configured("two"))
    found = machine.describe()
    assert (found["configuration"], found["next_configuration"]) == ("one", "two")
    assert machine.died(-9, 1.0) == SPAWNS
    assert machine.describe()["configuration"] == "two"


def failing(now: float) -> Machine:
    """A machine that waits since `now` before it starts its engine for the third time."""
    machine = Machine()
    machine.start(spec())
    machine.spawned(7, "then")
    assert machine.died(1, now) == SPAWNS, "once, it may have been bad luck"
    machine.spawned(8, "then")
    assert machine.died(1, now) == []
    assert machine.state == BACK_OFF
    return machine


def test_an_engine_that_does_not_start_is_given_time_to_be_mended() -> None:
    machine = failing(10.0)
    assert machine.next_tick() == 10.25
    assert machine.tick(10.2) == []
    assert machine.tick(10.25) == SPAWNS
    assert machine.next_tick() is None
    machine.spawned(9, "now")
    assert machine.died(1, 11.0) == []
    assert machine.next_tick() == 11.5
    assert machine.restarts == 3


def test_requests_are_not_held_up_by_the_back_off() -> None:
    assert failing(1.0).start(configured("good")) == SPAWNS
    machine = failing(1.0)
    assert machine.restart(spec(), "token", 1.1) == SPAWNS
    assert machine.restarted_for == "token"
    machine = failing(1.0)
    assert machine.stop(1.1) == []
    assert (machine.state, machine.next_tick(), machine.tick(9.0)) == (STOPPED, None, [])
    machine = failing(1.0)
    assert machine.terminate(1.1) == [Action(EXIT, 0)]
    assert machine.tick(9.0) == []


def test_starts_that_failed_are_counted_by_configuration() -> None:
    machine = Machine(CrashCounter(limit=10))

    def die() -> int:
        """Once more, and started again."""
        assert (machine.died(1, 1.0) or machine.tick(99.0)) == SPAWNS
        return machine.failed_starts

    machine.start(configured("one"))
    assert [die(), die()] == [1, 2]
    machine.note_answered(machine.generation)
    assert machine.failed_starts == 0
    assert die() == 0, "it had answered"
    assert die() == 1
    machine.prepare(configured("two"))
    assert die() == 0, "of the new one there were none yet"
    assert die() == 1
    machine.stop(2.0)
    machine.died(1, 3.0)
    assert machine.failed_starts == 1, "asked to end"
    machine.start(configured("two"))
    assert machine.failed_starts == 0
