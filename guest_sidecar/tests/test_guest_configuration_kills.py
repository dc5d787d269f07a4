"""Configuration under failure: whoever dies, the end is the last request's, without a restart."""

import contextlib
import os
import random
import signal
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import pytest

from coffer_common.wire import ConfigurationRequest, ConfigurationStatus, Value
from coffer_guest.configuration.keeper import STEPS
from guest_configuration import (
    parameter,
    put,
    request,
    starts,
    until_live,
    variable,
)
from guest_harness import MakePod, Pod, until

pytestmark = pytest.mark.guest
MIB: Final = 2**20
APPLYING: Final = STEPS[: STEPS.index("configuration-prepare") + 1]
STARTING: Final = ("configuration-files", "configuration-answered")
ROLLING_BACK: Final = ("configuration-blame", "configuration-files", "configuration-answered")


@dataclass(frozen=True)
class Kind:
    """How an engine is asked for the same things."""

    name: str
    read: Callable[[Pod, str], object]
    live: str  # a parameter that is set live
    template: int  # its value where nobody sets it
    others: tuple[str, ...]  # more of these, without values in the template
    static: Mapping[str, Value] = field(default_factory=dict)

    def values(self, count: int) -> dict[str, Value]:
        return {self.live: count, **self.static}

    def number(self, pod: Pod, name: str) -> int:
        return int(str(self.read(pod, name)))

    def has_static(self, pod: Pod) -> bool:
        return all(
            self.read(pod, name) in (value, str(value)) for name, value in self.static.items()
        )


KINDS: Final = {
    "mariadb": Kind(
        "mariadb",
        variable,
        "max_connections",
        100,
        ("wait_timeout", "net_read_timeout", "lock_wait_timeout"),
        {"innodb_log_buffer_size": 4 * MIB},
    ),
    "redis": Kind(
        "redis",
        parameter,
        "hz",
        10,
        ("timeout", "lfu-decay-time", "repl-timeout"),
        {"databases": 4},
    ),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.fixture
def make_pod(request: pytest.FixtureRequest, kind: Kind) -> MakePod:
    made: MakePod = request.getfixturevalue(f"{kind.name}_pod")
    return made


def dead(pod: Pod) -> bool:
    assert pod.agent is not None
    return pod.agent.poll() is not None


def start_launcher_if_it_ended(pod: Pod) -> None:
    """As kubelet does."""
    assert pod.launcher is not None
    if pod.launcher.poll() is not None:
        pod.start_launcher()


def until_killed(pod: Pod, step: str) -> None:
    """The agent that was to die before `step` is dead; a launcher that gave up comes back."""

    def check() -> bool:
        start_launcher_if_it_ended(pod)
        return dead(pod)

    try:
        until(f"the agent is dead before {step}", check)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{pod.status()}\n{pod.tail()}") from None


def ask(pod: Pod, method: str, path: str, body: object) -> None:
    """As the operator: an agent that dies meanwhile is asked again later."""
    try:
        pod.ask(method, path, body)
    except OSError:
        assert until("the agent is dead", lambda: dead(pod))


def operate(
    pod: Pod, wanted: ConfigurationRequest, done: Callable[[ConfigurationStatus], bool]
) -> ConfigurationStatus:
    """As operator and kubelet: start what ended, ask for what is not known, until it is done."""

    def step() -> ConfigurationStatus | None:
        start_launcher_if_it_ended(pod)
        if dead(pod):
            pod.start_agent()
        status = pod.status()
        if status is None or status.configuration is None:
            return None
        if status.configuration.accepted != wanted.hash:
            ask(pod, "PUT", "/v1/configuration", wanted.model_dump())
            return None
        return status.configuration if done(status.configuration) else None

    try:
        return until(f"{wanted.hash} is done", step, 60)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{pod.status()}\n{pod.tail()}") from None


# --- the agent ----------------------------------------------------------------------------------
def test_agent_killed_at_each_step_of_applying(make_pod: MakePod, kind: Kind) -> None:
    pod = make_pod()
    pod.start().until_running()
    for number, step in enumerate(APPLYING):
        until_next_is_wanted(pod, put(pod, request({kind.live: 61, kind.others[0]: 300})))
        pod.kill_agent()
        pod.start_agent(die_before=step)
        pod.until_running()
        wanted = request(kind.values(62 + number))
        ask(pod, "PUT", "/v1/configuration", wanted.model_dump())
        until_killed(pod, step)
        found = operate(pod, wanted, lambda found, goal=wanted: found.live == goal.hash)  # type: ignore[misc] # bound
        assert found.pending_restart == tuple(kind.static), step
        assert found.rejected is None
        assert kind.number(pod, kind.live) == 62 + number
        assert kind.number(pod, kind.others[0]) != 300, "the former group's"
        until_next_is_wanted(pod, wanted)
    assert starts(pod) == 1


def until_next_is_wanted(pod: Pod, wanted: ConfigurationRequest) -> None:
    """Whatever starts the engine next, starts it with this."""

    def check() -> bool:
        name = str(pod.ask_launcher("status")["next_configuration"])
        with contextlib.suppress(FileNotFoundError):  # another one is the next by now
            return wanted.hash in (pod.volume / "etc" / name / "start.json").read_text()
        return False

    until("the next start has it", check)


def test_agent_killed_at_each_step_of_a_restart(make_pod: MakePod, kind: Kind) -> None:
    pod = make_pod()
    pod.start().until_running()
    for number, step in enumerate(STARTING):
        values = kind.values(63 + number) if number % 2 == 0 else {kind.live: 63 + number}
        wanted = put(pod, request(values))
        assert until_live(pod, wanted).pending_restart == tuple(kind.static)
        until_next_is_wanted(pod, wanted)
        pod.kill_agent()
        pod.start_agent(die_before=step)
        pod.until_running()
        ask(pod, "POST", "/v1/engine/restart", {"token": step})
        until_killed(pod, step)
        pod.start_agent()
        pod.until_restarted_for(step)
        found = operate(pod, wanted, lambda found: found.pending_restart == ())
        assert (found.live, found.rejected) == (wanted.hash, None)
        assert kind.number(pod, kind.live) == 63 + number
        assert kind.has_static(pod) is (number % 2 == 0)
        assert starts(pod) == 2 + number


def test_agent_killed_at_each_step_of_rolling_back(make_pod: MakePod, kind: Kind) -> None:
    pod = make_pod()
    pod.start().until_running()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for number, step in enumerate(ROLLING_BACK):
            good = put(pod, request({kind.live: 64 + number}))
            until_live(pod, good)
            assert pod.ask("POST", "/v1/engine/restart", {"token": f"good-{step}"}).status == 202
            pod.until_restarted_for(f"good-{step}")
            bad = put(pod, request({kind.live: 75, "port": taken.getsockname()[1]}))
            until_live(pod, bad)
            until_next_is_wanted(pod, bad)
            pod.kill_agent()
            pod.start_agent(die_before=step)
            pod.until_running()
            ask(pod, "POST", "/v1/engine/restart", {"token": f"bad-{step}"})
            until_killed(pod, step)
            found = operate(pod, bad, lambda found: found.rejected is not None)
            assert found.rejected is not None
            assert found.rejected.hash == bad.hash
            assert found.live == good.hash
            status = pod.until_running()
            assert status.configuration is not None
            assert status.configuration.port == pod.config.port
            assert kind.number(pod, kind.live) == 64 + number


def test_agents_killed_again_and_again_while_groups_come_and_go(
    make_pod: MakePod, kind: Kind
) -> None:
    pod = make_pod()
    pod.start().until_running()
    names = (kind.live, *kind.others)
    plain = {name: kind.number(pod, name) for name in names}
    dice = random.Random(7)
    wanted = request()
    for _ in range(8):
        for _ in range(dice.randrange(1, 4)):
            chosen = dice.sample(names, dice.randrange(0, len(names) + 1))
            wanted = request({name: dice.randrange(50, 90) for name in chosen})
            ask(pod, "PUT", "/v1/configuration", wanted.model_dump())
            time.sleep(dice.random() / 50)  # where the agent dies is all that it changes
        pod.kill_agent()
        pod.start_agent()
        pod.until_running()
    operate(pod, wanted, lambda found: found.live == wanted.hash)
    assert {name: kind.number(pod, name) for name in names} == {**plain, **wanted.values}
    assert starts(pod) == 1


# --- the engine and the launcher ----------------------------------------------------------------
def test_engine_killed_in_the_middle(make_pod: MakePod, kind: Kind) -> None:
    pod = make_pod()
    pod.start().until_running()
    for number, pause_s in enumerate((0.0, 0.01, 0.1)):
        former = pod.engine_pid
        values = kind.values(66 + number) if number % 2 == 0 else {kind.live: 66 + number}
        wanted = put(pod, request(values))
        time.sleep(pause_s)  # where it dies is all that it changes
        os.kill(former, signal.SIGKILL)
        until("another engine runs", lambda pid=former: pod.engine_pid != pid)  # type: ignore[misc] # bound
        pod.until_status("it died", lambda status, n=number: status.engine.restarts == n + 1)  # type: ignore[misc] # bound
        pod.until_running()
        found = operate(pod, wanted, lambda found, goal=wanted: found.live == goal.hash)  # type: ignore[misc] # bound
        assert found.rejected is None
        until_next_is_wanted(pod, wanted)
        assert kind.number(pod, kind.live) == 66 + number
        status = pod.until_running().configuration
        assert status is not None
        with_static = number % 2 == 0
        assert kind.has_static(pod) is ((status.pending_restart == ()) is with_static)
        assert starts(pod) == 2 + number


def test_launcher_gone_in_the_middle(make_pod: MakePod, kind: Kind) -> None:
    pod = make_pod()
    pod.start().until_running()
    wanted = put(pod, request(kind.values(67)))
    pod.kill_launcher()
    found = operate(pod, wanted, lambda found: found.live == wanted.hash)
    pod.until_running()
    found = operate(pod, wanted, lambda found: found.pending_restart == ())
    assert (found.live, found.rejected) == (wanted.hash, None)
    assert kind.number(pod, kind.live) == 67
    assert kind.has_static(pod)
    assert starts(pod) == 2
