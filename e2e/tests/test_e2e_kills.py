"""Each component killed, frozen or cut off: databases serve, and everything comes back."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from coffer_cluster.cluster import Cluster
from e2e_kube import Object, Space, condition, operator_pod, query, wait_until
from e2e_manifests import instance, operation
from e2e_processes import (
    Process,
    engine,
    engines,
    fresh_operator,
    kill_operator,
    main_process,
    processes_of_pod,
)

pytestmark = [pytest.mark.e2e, pytest.mark.long]


def pod(space: Space, name: str = "db") -> Object:
    return space.running_pod(name)


@contextmanager
def frozen(process: Process) -> Iterator[None]:
    process.send(signal.SIGSTOP)
    try:
        yield
    finally:
        if process.alive():
            process.send(signal.SIGCONT)


@pytest.mark.parametrize("moment", ["object", "stateful set", "pod", "running"])
def test_operator_killed_during_creation(space: Space, moment: str) -> None:
    fresh_operator(space.kube)
    space.apply(instance("db"))
    if moment == "stateful set":
        wait_until("the StatefulSet", lambda: space.get("statefulset", "db"))
    elif moment == "pod":
        wait_until("the pod", lambda: space.get("pod", "db-0"))
    elif moment == "running":
        wait_until(
            "the pod runs",
            lambda: (space.get("pod", "db-0") or {}).get("status", {}).get("phase") == "Running",
        )
    kill_operator(space.kube)
    space.wait_ready("db", timeout_s=120)
    with space.mysql("db", "app") as connection:
        assert query(connection, "SELECT 1") == [(1,)]


def test_operator_killed_during_a_restart(space: Space) -> None:
    fresh_operator(space.kube)
    space.apply(instance("db"))
    space.wait_ready("db")
    old = engine(pod(space))
    space.apply(operation("again", "db", "Restart"))
    kill_operator(space.kube)

    def completed() -> bool:
        found = space.get("operation", "again") or {}
        return bool(found.get("status", {}).get("phase") == "Completed")

    wait_until("the restart completed", completed, timeout_s=120)
    assert not old.alive()
    once = engine(pod(space))
    space.wait_ready("db")
    assert engine(pod(space)) == once


def test_operator_killed_during_a_deletion(space: Space) -> None:
    fresh_operator(space.kube)
    space.apply(instance("db", deletionPolicy="Delete"))
    space.wait_ready("db")
    space.delete("databaseinstance", "db")
    kill_operator(space.kube)
    wait_until("the volume is gone", lambda: space.get("persistentvolumeclaim", "db-data") is None)
    assert space.kube.items("statefulset", space.name) == []


def test_agent_killed_costs_no_connection(space: Space) -> None:
    space.apply(instance("db"))
    space.wait_ready("db")
    with space.mysql("db", "app") as connection:
        before = engine(pod(space))
        main_process(pod(space), "guest").send(signal.SIGKILL)

        def back() -> bool:
            statuses = pod(space)["status"]["initContainerStatuses"]
            return bool(statuses[0]["restartCount"] >= 1 and statuses[0]["ready"])

        wait_until("the agent is back", back)
        assert query(connection, "SELECT 1") == [(1,)]
    assert engine(pod(space)) == before
    space.wait_ready("db")


def test_agent_asked_to_end_while_it_loads(space: Space) -> None:
    """A signal before its handler is there must not be lost: the pod would stay for its grace."""
    space.apply(instance("db"))

    db = wait_until("the pod", lambda: space.get("pod", "db-0"))

    def agents() -> list[Process]:
        return [p for p in processes_of_pod(db) if p.argv and p.argv[-1].endswith("coffer-guest")]

    (loading,) = wait_until("the agent's process", agents)
    loading.send(signal.SIGTERM)
    wait_until("the agent ended", lambda: not loading.alive())
    space.wait_ready("db")
    assert pod(space)["status"]["initContainerStatuses"][0]["restartCount"] == 1


def test_agent_that_hangs_is_replaced_and_the_database_serves_on(space: Space) -> None:
    space.apply(instance("db"))
    space.wait_ready("db")
    before, hung = engine(pod(space)), main_process(pod(space), "guest")
    with space.mysql("db", "app") as connection:

        def serves_alone() -> bool:
            assert query(connection, "SELECT 1") == [(1,)]
            return not hung.alive()

        with frozen(hung):
            wait_until(
                "Available is unknown",
                lambda: condition(space.instance("db"), "Available").get("status") == "Unknown",
                timeout_s=90,
            )
            wait_until("kubelet ends the agent", serves_alone, timeout_s=90)
        assert query(connection, "SELECT 1") == [(1,)]
        space.wait_ready("db", timeout_s=120)
        assert query(connection, "SELECT 1") == [(1,)]
    assert engine(pod(space)) == before


def test_engine_killed_is_restarted_and_told(space: Space) -> None:
    space.apply(instance("db"))
    space.wait_ready("db")
    for times in range(1, 4):
        old = engine(pod(space))
        old.send(signal.SIGKILL)

        def serving(gone: int = old.pid) -> bool:
            if not {p.pid for p in engines(pod(space))} - {gone}:
                return False
            with space.mysql("db", "app") as connection:
                return query(connection, "SELECT 1") == [(1,)]

        wait_until(f"serving after kill {times}", serving)
    statuses = pod(space)["status"]["containerStatuses"]
    assert statuses[0]["restartCount"] == 0, "the launcher restarts the engine, not kubelet"
    wait_until("an Event", lambda: "EngineRestarted" in space.events("db"))
    space.wait_ready("db")


def test_api_server_away_for_a_minute(space: Space, cluster: Cluster) -> None:
    space.apply(instance("db"))
    space.wait_ready("db")
    restarts = operator_pod(space.kube)["status"]["containerStatuses"][0]["restartCount"]
    with space.mysql("db", "app") as connection:
        cluster.stop_apiserver()
        try:
            away_until = time.monotonic() + 60
            wait_until(
                "serving while the API server is away",
                lambda: query(connection, "SELECT 1") == [(1,)] and time.monotonic() > away_until,
                timeout_s=90,
            )
        finally:
            cluster.start_apiserver()
        assert query(connection, "SELECT 1") == [(1,)]
    space.apply(instance("second"))
    space.wait_ready("second", timeout_s=120)
    after = operator_pod(space.kube)["status"]["containerStatuses"][0]["restartCount"]
    assert after == restarts
