"""Configuration under failure: whoever dies, the end state is the group's."""

import signal

import pytest

from e2e_configuration import (
    configured,
    get_group,
    merge_values,
    patch_catalogue,
    pending,
    replace_values,
    restart,
    running,
    settled,
    states,
    wait_running,
    wait_states,
)
from e2e_kube import Space, condition, wait_until
from e2e_manifests import group, instance
from e2e_processes import engine, fresh_operator, kill_operator, main_process

pytestmark = [pytest.mark.e2e, pytest.mark.long]


def generation(space: Space, name: str = "db") -> tuple[object, object]:
    """What changes with every start of the engine: its pod and its process."""
    pod = space.running_pod(name)
    return pod["metadata"]["uid"], engine(pod, "mariadbd").pid


def test_one_that_is_away_holds_up_nobody(space: Space) -> None:
    names = [f"db{i}" for i in range(3)]
    space.apply(
        group("conf", {"max_connections": 50}, rollout={"maxConcurrent": 1}),
        *(configured(name) for name in names),
    )
    for name in names:
        space.wait_ready(name, timeout_s=120)
    away = main_process(space.running_pod("db0"), "guest")
    away.send(signal.SIGSTOP)
    try:
        replace_values(space, {"max_connections": 51})
        for name in names[1:]:
            # a frozen agent is noticed by the end of a long poll
            wait_running(space, "max_connections", 51, name, timeout_s=60)
        wait_states(space, {"db0": "Unreachable", "db1": "Applied", "db2": "Applied"})
        assert running(space, "max_connections", "db0") == 50
    finally:
        away.send(signal.SIGCONT)
    wait_running(space, "max_connections", 51, "db0", timeout_s=60)
    wait_states(space, dict.fromkeys(names, "Applied"))


def test_a_rollout_stops_at_the_first_that_is_rolled_back(
    space: Space, fatal_parameter: str
) -> None:
    names = ["db0", "db1"]
    space.apply(group("conf", {}, rollout={"maxConcurrent": 1}), *(configured(n) for n in names))
    for name in names:
        space.wait_ready(name, timeout_s=120)
    replace_values(space, {fatal_parameter: "1"})
    for name in names:
        wait_until("pending", lambda name=name: pending(space, name))  # type: ignore[misc] # bound
    restart(space, "db0")
    wait_until("rolled back", lambda: states(space)["db0"] == "RolledBack")
    assert condition(get_group(space), "Stalled")["status"] == "True"
    replace_values(space, {"max_connections": 53})
    for name in names:
        wait_running(space, "max_connections", 53, name)
    wait_states(space, dict.fromkeys(names, "Applied"))


@pytest.mark.parametrize("victim", ["operator", "guest", "engine", "pod"])
def test_killed_in_the_middle_of_an_edit(space: Space, victim: str) -> None:
    if victim == "operator":
        fresh_operator(space.kube)
    space.apply(group("conf", {"max_connections": 50}), configured())
    space.wait_ready("db")
    before = generation(space)
    replace_values(space, {"max_connections": 51, "innodb_log_buffer_size": "4M"})
    if victim == "operator":
        kill_operator(space.kube)
    elif victim == "guest":
        main_process(space.running_pod("db"), "guest").send(signal.SIGKILL)
    elif victim == "engine":
        engine(space.running_pod("db"), "mariadbd").send(signal.SIGKILL)
    else:
        space.delete("pod", "db-0")
        space.wait_new_pod("db", str(before[0]))
    wait_running(space, "max_connections", 51, timeout_s=120)
    if victim in ("operator", "guest"):
        # neither is a reason to restart the engine
        wait_until("pending", lambda: pending(space) == ["innodb_log_buffer_size"], 90)
        assert generation(space) == before
    ended = wait_until("told", lambda: told(space), 90)
    if ended == "PendingRestart":  # the engine was back before it had the values
        restart(space)
    assert running(space, "innodb_log_buffer_size") == 4 * 2**20
    wait_states(space, {"db": "Applied"}, timeout_s=90)


def told(space: Space) -> str | None:
    """How the instance is with the present values, once its group tells."""
    state = states(space).get("db") if settled(space) else None
    return state if state in ("Applied", "PendingRestart") else None


def test_defaults_of_the_version_reach_those_without_a_group(space: Space) -> None:
    """Below the group's values; what the administrator forbids is refused."""
    space.apply(instance("plain"), group("conf", {"max_connections": 70}), configured())
    space.wait_ready("plain")
    space.wait_ready("db")
    template = running(space, "wait_timeout", "plain")
    try:
        values = {"wait_timeout": 777, "max_connections": 66}
        patch_catalogue(space.kube, {"defaultValues": values})
        wait_running(space, "wait_timeout", 777, "plain")
        wait_running(space, "max_connections", 66, "plain")
        wait_running(space, "wait_timeout", 777)
        assert running(space, "max_connections") == 70
        merge_values(space, {"max_connections": None})
        wait_running(space, "max_connections", 66)
    finally:
        patch_catalogue(space.kube, {"defaultValues": None})
    wait_running(space, "wait_timeout", template, "plain")
