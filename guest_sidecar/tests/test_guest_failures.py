"""Agent, launcher and engine killed, frozen and doubled; volumes that are lost or another's."""

import json
import os
import signal
import socket
import time

import pymysql
import pytest

from coffer_common.wire import DataState, EngineState, GuestStatus
from coffer_guest.layout import STEPS
from guest_harness import MakePod, Pod, free_port, stopped, until

pytestmark = pytest.mark.guest


def marker(pod: Pod) -> dict[str, object]:
    found: dict[str, object] = json.loads((pod.volume / ".coffer" / "marker.json").read_text())
    return found


def started_at(status: GuestStatus) -> tuple[str | None, int | None]:
    return status.engine.started_at, status.engine.pid


def connect(pod: Pod) -> "pymysql.connections.Connection[pymysql.cursors.Cursor]":
    return pymysql.connect(
        host="127.0.0.1", port=pod.config.port, user="app", password="secret", autocommit=True
    )


def with_rows(pod: Pod) -> Pod:
    """A running instance with a row in it."""
    pod.start().until_running()
    assert pod.ask("PUT", "/v1/databases/shop", {}).status == 204
    request = {"password": "secret", "databases": ["shop"]}
    assert pod.ask("PUT", "/v1/users/app", request).status == 204
    with connect(pod) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE shop.t (n INT)")
        cursor.execute("INSERT INTO shop.t VALUES (42)")
    return pod


def rows(pod: Pod) -> list[int]:
    with connect(pod) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT n FROM shop.t")
        return [int(row[0]) for row in cursor.fetchall()]


# --- the agent ----------------------------------------------------------------------------------
def test_agent_killed_before_every_step_of_laying_out(mariadb_pod: MakePod) -> None:
    pod = mariadb_pod()
    pod.start_launcher()
    ids = set()
    for step in STEPS:
        agent = pod.start_agent(die_before=step)
        assert agent.wait(30) == -signal.SIGKILL, pod.tail()
        if step == "intent":
            assert not (pod.volume / ".coffer" / "marker.json").exists()
            continue
        found = marker(pod)
        assert found["complete"] is (step == "done")
        ids.add(found["data_id"])
    assert len(ids) == len(STEPS) - 1
    pod.start_agent()
    status = pod.until_running()
    assert status.data.data_id == marker(pod)["data_id"] in ids
    assert not (pod.volume / ".coffer" / "incoming").exists()
    assert status.engine.restarts == 0


def test_agent_killed_while_a_client_is_connected(mariadb_pod: MakePod) -> None:
    pod = with_rows(mariadb_pod())
    before = pod.until_running()
    with connect(pod) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT CONNECTION_ID()")
        first = cursor.fetchone()
        pod.kill_agent()
        pod.start_agent()
        after = pod.until_running()
        cursor.execute("SELECT CONNECTION_ID()")
        assert cursor.fetchone() == first
    assert after.boot_id != before.boot_id
    assert started_at(after) == started_at(before)
    assert after.data.data_id == before.data.data_id


def test_restart_is_done_once_per_token_though_the_agent_dies(mariadb_pod: MakePod) -> None:
    pod = with_rows(mariadb_pod())
    generations = [pod.engine_pid]
    for number, pause_s in enumerate((0.0, 0.01, 0.05, 0.5)):
        token = f"restart-{number}"
        assert pod.ask("POST", "/v1/engine/restart", {"token": token}).status == 202
        time.sleep(pause_s)  # where in the restart the agent dies is all that it changes
        pod.kill_agent()
        pod.start_agent()
        done = pod.until_restarted_for(token)
        generations.append(pod.engine_pid)
        # again, and by another agent: nothing
        assert pod.ask("POST", "/v1/engine/restart", {"token": token}).status == 202
        pod.kill_agent()
        pod.start_agent()
        assert started_at(pod.until_running()) == started_at(done)
    assert len(set(generations)) == 5
    started = pod.log("launcher").count("started the engine")
    assert started == 5
    assert rows(pod) == [42]


def test_agent_ended_by_request_leaves_the_engine_running(mariadb_pod: MakePod) -> None:
    pod = with_rows(mariadb_pod())
    before = pod.until_running()
    assert pod.agent is not None
    pod.agent.terminate()
    assert pod.agent.wait(20) == 0
    assert rows(pod) == [42]
    pod.start_agent()
    assert started_at(pod.until_running()) == started_at(before)


def test_task_is_failed_when_the_agent_died_meanwhile(mariadb_pod: MakePod) -> None:
    pod = mariadb_pod().start()
    pod.until_running()
    with stopped(pod.engine_pid):  # so that the task cannot end
        assert pod.ask("PUT", "/v1/tasks/check", {"kind": "verify"}).status == 202
        assert pod.ask("PUT", "/v1/tasks/other", {"kind": "verify"}).status == 409
        pod.kill_agent()
        pod.start_agent()
        found = pod.until_status("the task is known", lambda status: bool(status.tasks))
        assert found.tasks[0].state == "Failed"
        assert "agent ended" in found.tasks[0].message
        assert pod.ask("PUT", "/v1/tasks/second", {"kind": "verify"}).status == 202
        assert pod.ask("DELETE", "/v1/tasks/second").status == 204
        assert pod.ask("GET", "/v1/tasks/second").body["state"] == "Cancelled"


# --- the engine ---------------------------------------------------------------------------------
def test_engine_killed_comes_back_by_the_launcher_alone(mariadb_pod: MakePod) -> None:
    pod = with_rows(mariadb_pod())
    pod.kill_agent()
    former = pod.engine_pid
    os.kill(former, signal.SIGKILL)
    until("another engine runs", lambda: pod.engine_pid != former)
    pod.start_agent()
    status = pod.until_running()
    assert status.engine.restarts == 1
    assert status.engine.last_exit == "signal 9"
    assert rows(pod) == [42]

    os.kill(pod.engine_pid, signal.SIGKILL)
    again = pod.until_status(
        "restarted twice",
        lambda status: status.engine.restarts == 2 and status.engine.state is EngineState.RUNNING,
    )
    assert again.data.data_id == status.data.data_id
    assert rows(pod) == [42]


def test_engine_that_hangs_is_unresponsive_not_dead(mariadb_pod: MakePod) -> None:
    pod = with_rows(mariadb_pod())
    before = pod.until_running()
    with stopped(pod.engine_pid):
        hung = pod.until_status(
            "it is unresponsive", lambda status: status.engine.state is EngineState.UNRESPONSIVE
        )
        assert started_at(hung) == started_at(before)
        assert hung.engine.message
        assert pod.probe("/livez").status == 200
        ready = pod.probe("/readyz")
        assert ready.status == 503
        assert "Unresponsive" in ready.body
        # also in the eyes of an agent that never saw it answer
        pod.kill_agent()
        pod.start_agent()
        pod.until_status(
            "it is unresponsive", lambda status: status.engine.state is EngineState.UNRESPONSIVE
        )
    assert started_at(pod.until_running()) == started_at(before)
    assert rows(pod) == [42]


def test_engine_that_cannot_start_ends_the_launcher(mariadb_pod: MakePod) -> None:
    pod = mariadb_pod().start()
    pod.until_running()
    system = pod.etc / "90-system.cnf"
    system.write_text(system.read_text() + "no_such_variable = 1\n")
    os.kill(pod.engine_pid, signal.SIGKILL)
    assert pod.launcher is not None
    assert pod.launcher.wait(30) not in (0, -signal.SIGKILL)
    status = pod.until_status(
        "it is in a crash loop", lambda status: status.engine.state is EngineState.CRASH_LOOP
    )
    assert status.engine.last_exit is not None
    assert "no_such_variable" in pod.ask("GET", "/v1/logs/engine").body
    # kubelet starts the container again; the agent renders the configuration anew
    pod.start_launcher()
    assert pod.until_running().engine.restarts == 0


# --- the launcher -------------------------------------------------------------------------------
def test_launcher_killed_takes_the_engine_along_and_both_come_back(mariadb_pod: MakePod) -> None:
    pod = with_rows(mariadb_pod())
    before = pod.until_running()
    pod.kill_launcher()
    pod.until_status(
        "the launcher is missed", lambda status: status.engine.state is EngineState.UNKNOWN
    )
    assert pod.probe("/readyz").status == 503
    pod.start_launcher()
    after = pod.until_running()
    assert after.data.data_id == before.data.data_id
    assert rows(pod) == [42]


def test_two_launchers_on_one_volume_are_one_engine(mariadb_pod: MakePod) -> None:
    first = with_rows(mariadb_pod())
    second = mariadb_pod(volume=first.volume)
    second.start()
    waiting = second.until_status(
        "the second waits", lambda status: "lock" in status.engine.message
    )
    assert waiting.engine.state is EngineState.WAITING
    assert waiting.data.state is DataState.UNKNOWN
    assert "waiting for the volume's lock" in second.log("launcher")
    assert rows(first) == [42]
    before = first.until_running()
    first.kill_launcher()
    after = second.until_running()
    assert after.data.data_id == before.data.data_id
    assert rows(second) == [42]


def test_launcher_asked_to_end_stops_the_engine_cleanly(mariadb_pod: MakePod) -> None:
    pod = with_rows(mariadb_pod())
    os.kill(pod.launcher_pid, signal.SIGTERM)
    assert pod.launcher is not None
    assert pod.launcher.wait(30) == 0
    assert "Shutdown complete" in pod.log("launcher")
    pod.until_status("it is stopped", lambda status: status.engine.state is EngineState.STOPPED)


# --- volumes ------------------------------------------------------------------------------------
def test_volume_that_lost_its_data_is_never_laid_out(mariadb_pod: MakePod) -> None:
    pod = mariadb_pod()
    pod.configure(data_id="expected")
    pod.start()
    status = pod.until_status("it is lost", lambda status: status.data.state is DataState.LOST)
    assert "empty" in status.data.message
    assert status.engine.state is EngineState.WAITING
    assert pod.ask("POST", "/v1/engine/start", {"token": "x"}).status == 503
    assert not (pod.volume / "data").exists()
    # the operator takes back its expectation: an explicit rebuild
    pod.configure(data_id=None)
    assert pod.until_running().data.state is DataState.LAID_OUT


def test_volume_of_another_is_not_touched(mariadb_pod: MakePod) -> None:
    pod = mariadb_pod()
    precious = pod.volume / "ibdata1"
    precious.write_text("precious")
    pod.start()
    status = pod.until_status("foreign", lambda status: status.data.state is DataState.FOREIGN)
    assert "ibdata1" in status.data.message
    assert precious.read_text() == "precious"


def test_data_of_another_id_or_version_are_foreign_and_our_own_adopted(
    mariadb_pod: MakePod,
) -> None:
    first = with_rows(mariadb_pod())
    data_id = first.until_running().data.data_id
    first.configure(data_id=data_id)
    assert first.until_running().data.state is DataState.LAID_OUT
    first.configure(data_id="another")
    status = first.until_status("foreign", lambda status: status.data.state is DataState.FOREIGN)
    assert str(data_id) in status.data.message
    # it runs on: what serves is not stopped for a disagreement
    assert rows(first) == [42]
    first.kill_agent()
    first.kill_launcher()

    newer = mariadb_pod("11.8", first.volume).start()
    status = newer.until_status("foreign", lambda status: status.data.state is DataState.FOREIGN)
    assert "10.11" in status.data.message
    newer.kill_agent()
    newer.kill_launcher()

    heir = mariadb_pod("10.11", first.volume).start()
    assert heir.until_running().data.data_id == data_id
    assert rows(heir) == [42]


def test_another_port_counts_from_the_next_restart_on(mariadb_pod: MakePod) -> None:
    pod = with_rows(mariadb_pod())
    former, port = pod.config.port, free_port()
    pod.configure(port=port)
    assert pod.ask("POST", "/v1/engine/restart", {"token": "port"}).status == 202
    pod.until_restarted_for("port")
    assert rows(pod) == [42]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", former), 5)
