"""Redis killed, frozen, loading and unwilling to stop; pods replaced, and volumes of others."""

import os
import signal

import hiredis
import pytest

from coffer_common.wire import DataState, EngineState
from guest_engines import Redis
from guest_harness import MakePod, Pod, stopped, until

pytestmark = pytest.mark.guest

USER, PASSWORD = "app", "secret"
ADMINISTRATOR = "coffer-agent"


def connect(pod: Pod) -> Redis:
    return Redis(pod.config.port, USER, PASSWORD)


def administrator(pod: Pod) -> Redis:
    return Redis(pod.config.port, ADMINISTRATOR, secret_of(pod))


def secret_of(pod: Pod) -> str:
    return (pod.run / "redis-administrator").read_text()


def with_data(pod: Pod) -> Pod:
    """A running instance with a user and a value in it."""
    pod.start().until_running()
    assert pod.ask("PUT", f"/v1/users/{USER}", {"password": PASSWORD}).status == 204
    with connect(pod) as client:
        assert client.ask("SET", "k", "42") == "OK"
    return pod


def value(pod: Pod) -> object:
    """What the user finds."""
    with connect(pod) as client:
        return client.ask("GET", "k")


def users(pod: Pod) -> list[str]:
    return [user["name"] for user in pod.ask("GET", "/v1/users").body["users"]]


# --- what outlives what -------------------------------------------------------------------------
def test_agent_killed_while_a_client_is_connected(redis_pod: MakePod) -> None:
    pod = with_data(redis_pod())
    before, secret = pod.until_running(), secret_of(pod)
    with connect(pod) as client:
        pod.kill_agent()
        pod.start_agent()
        after = pod.until_running()
        assert client.ask("GET", "k") == "42", "the connection lives on"
    assert after.boot_id != before.boot_id
    assert after.engine.started_at == before.engine.started_at
    assert after.data.data_id == before.data.data_id
    assert secret_of(pod) == secret
    assert users(pod) == [USER]


def test_launcher_killed_takes_the_engine_along_and_both_come_back(redis_pod: MakePod) -> None:
    pod = with_data(redis_pod())
    before = pod.until_running()
    pod.kill_launcher()
    pod.until_status(
        "the launcher is missed", lambda status: status.engine.state is EngineState.UNKNOWN
    )
    pod.start_launcher()
    after = pod.until_running()
    assert after.data.data_id == before.data.data_id
    assert value(pod) == "42"
    assert users(pod) == [USER]


def test_pod_replaced_draws_a_new_administrator_and_keeps_the_users(redis_pod: MakePod) -> None:
    first = with_data(redis_pod())
    data, former = first.until_running().data, secret_of(first)
    first.kill_agent()
    first.kill_launcher()

    second = redis_pod(volume=first.volume).start()
    assert second.until_running().data.data_id == data.data_id
    assert secret_of(second) != former
    with pytest.raises(hiredis.ReplyError, match="WRONGPASS"):
        Redis(second.config.port, ADMINISTRATOR, former)
    assert value(second) == "42"
    assert users(second) == [USER]


def test_restart_is_done_once_per_token_though_the_agent_dies(redis_pod: MakePod) -> None:
    pod = with_data(redis_pod())
    for token in ("one", "two"):
        assert pod.ask("POST", "/v1/engine/restart", {"token": token}).status == 202
        pod.kill_agent()
        pod.start_agent()
        done = pod.until_restarted_for(token)
        assert pod.ask("POST", "/v1/engine/restart", {"token": token}).status == 202
    assert pod.until_running().engine.started_at == done.engine.started_at
    assert pod.log("launcher").count("started the engine") == 3
    assert done.engine.restarts == 0
    assert value(pod) == "42"
    assert users(pod) == [USER]


# --- the engine ---------------------------------------------------------------------------------
def test_engine_killed_comes_back_with_its_data(redis_pod: MakePod) -> None:
    pod = with_data(redis_pod())
    pod.kill_agent()
    former = pod.engine_pid
    os.kill(former, signal.SIGKILL)
    until("another engine runs", lambda: pod.engine_pid != former)
    pod.start_agent()
    status = pod.until_running()
    assert status.engine.restarts == 1
    assert status.engine.last_exit == "signal 9"
    assert value(pod) == "42"

    os.kill(pod.engine_pid, signal.SIGKILL)
    pod.until_status(
        "restarted twice",
        lambda status: status.engine.restarts == 2 and status.engine.state is EngineState.RUNNING,
    )
    assert value(pod) == "42"
    assert users(pod) == [USER]


def test_engine_that_hangs_is_unresponsive_not_dead(redis_pod: MakePod) -> None:
    pod = with_data(redis_pod())
    before = pod.until_running()
    with stopped(pod.engine_pid):
        hung = pod.until_status(
            "it is unresponsive", lambda status: status.engine.state is EngineState.UNRESPONSIVE
        )
        assert hung.engine.started_at == before.engine.started_at
        assert "not answered in time" in hung.engine.message
        assert pod.probe("/livez").status == 200
    assert pod.until_running().engine.started_at == before.engine.started_at
    assert value(pod) == "42"


def test_engine_that_loads_its_data_says_so(redis_pod: MakePod) -> None:
    pod = with_data(redis_pod())
    with administrator(pod) as client:
        for number in range(100):
            client.ask("SET", f"filler-{number}", os.urandom(1024).hex())
        client.ask("BGREWRITEAOF")  # the base file is what is loaded key by key
        until_rewritten(client)
    system = pod.etc / "90-system.conf"
    slow = "key-load-delay 50000\nloading-process-events-interval-bytes 1024\n"
    system.write_text(system.read_text() + slow)
    os.kill(pod.engine_pid, signal.SIGKILL)
    loading = pod.until_status("it loads", lambda status: "LOADING" in status.engine.message)
    assert loading.engine.state is EngineState.CRASHED
    assert "signal 9" in loading.engine.message
    assert "LOADING" in pod.probe("/readyz").body
    # who it is for does not wait for what it holds
    assert pod.ask("PUT", "/v1/users/early", {"password": "x"}).status == 204
    with (
        pytest.raises(hiredis.ReplyError, match="LOADING"),
        Redis(pod.config.port, "early", "x") as client,
    ):
        client.ask("GET", "k")
    assert pod.until_running().engine.restarts == 1
    assert value(pod) == "42"


def until_rewritten(client: Redis) -> None:
    until(
        "the file is rewritten",
        lambda: client.info("persistence")["aof_rewrite_in_progress"] == "0",
    )


# --- the end ------------------------------------------------------------------------------------
def test_launcher_asked_to_end_stops_the_engine_cleanly(redis_pod: MakePod) -> None:
    pod = with_data(redis_pod())
    os.kill(pod.launcher_pid, signal.SIGTERM)
    assert pod.launcher is not None
    assert pod.launcher.wait(30) == 0
    assert "bye bye" in pod.log("launcher")
    pod.until_status("it is stopped", lambda status: status.engine.state is EngineState.STOPPED)


def test_engine_that_refuses_to_stop_is_told_again_until_its_data_are_safe(
    redis_pod: MakePod,
) -> None:
    pod = with_data(redis_pod())
    with administrator(pod) as client:
        for name, setting in (
            ("appendonly", "no"),
            ("rdb-key-save-delay", "1500000"),  # microseconds for each key, in the child
            ("appendonly", "yes"),
        ):
            assert client.ask("CONFIG", "SET", name, setting) == "OK"
        until("it writes", lambda: client.info("persistence")["aof_rewrite_in_progress"] == "1")
    os.kill(pod.launcher_pid, signal.SIGTERM)
    assert pod.launcher is not None
    assert pod.launcher.wait(30) == 0
    log = pod.log("launcher")
    assert "can't exit" in log
    assert log.count("Received SIGTERM") > 1
    pod.start_launcher()
    pod.until_running()
    assert value(pod) == "42"


# --- volumes ------------------------------------------------------------------------------------
def test_volume_that_lost_its_data_is_never_laid_out(redis_pod: MakePod) -> None:
    pod = redis_pod()
    pod.configure(data_id="expected")
    pod.start()
    status = pod.until_status("it is lost", lambda status: status.data.state is DataState.LOST)
    assert status.engine.state is EngineState.WAITING
    assert pod.ask("PUT", "/v1/users/app", {"password": "x"}).status == 503
    assert not (pod.volume / "data").exists()


def test_data_of_another_version_are_not_touched(redis_pod: MakePod) -> None:
    pod = redis_pod().start()
    before = pod.until_running()
    pod.configure(version="8.0")
    status = pod.until_status("foreign", lambda status: status.data.state is DataState.FOREIGN)
    assert "redis 7, not 8" in status.data.message
    pod.configure(version="7.0")
    after = pod.until_status("ours", lambda status: status.data.state is DataState.LAID_OUT)
    assert after.data.data_id == before.data.data_id
    assert after.engine.started_at == before.engine.started_at
