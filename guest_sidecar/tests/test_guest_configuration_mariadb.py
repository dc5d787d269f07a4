"""Configuration groups in a real MariaDB: live, pending, refused, rolled back, put right."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pymysql
import pytest

from coffer_common.wire import RejectionCause, Value
from guest_configuration import (
    apply,
    by_hand,
    put,
    request,
    restart,
    run_show,
    running,
    shown,
    starts,
    until_configuration,
    until_live,
    until_rejected,
    until_value,
    variable,
)
from guest_harness import MakePod, Pod, free_port, until

pytestmark = pytest.mark.guest
MIB = 2**20
FATAL = {"innodb_data_file_path": "ibdata1:1M"}  # it has 12


@pytest.fixture(scope="module")
def shared(mariadb_seed: Path) -> Iterator[Pod]:
    """One running instance for the tests that need no restart."""
    pod = Pod("mariadb", "10.11", mariadb_seed)
    try:
        pod.start().until_running()
        yield pod
    finally:
        pod.close()


@pytest.fixture
def pod(shared: Pod) -> Pod:
    """The same, without any group."""
    apply(shared, {})
    return shared


# --- live ---------------------------------------------------------------------------------------
def test_values_are_live_at_once_and_a_replacement_leaves_no_trace(pod: Pod) -> None:
    """Bug 1449238 of Trove: what a replacement leaves out must be gone."""
    before = {
        name: variable(pod, name)
        for name in ("max_connections", "wait_timeout", "long_query_time", "innodb_io_capacity_max")
    }
    template = shown(pod)["layers"]["template"]
    assert str(before["max_connections"]) == template["max_connections"]
    found = apply(
        pod,
        {
            "max_connections": 77,
            "slow_query_log": True,
            "long_query_time": 0.25,
            "sql_mode": "",
            "wait_timeout": 1234,
            "innodb_io_capacity_max": 3000,
            "innodb_buffer_pool_size": 100 * MIB,
        },
    )
    assert found.pending_restart == ()
    assert variable(pod, "max_connections") == 77
    assert variable(pod, "slow_query_log") == 1
    assert variable(pod, "long_query_time") == 0.25
    assert variable(pod, "sql_mode") == ""
    assert variable(pod, "innodb_buffer_pool_size") == 100 * MIB
    assert variable(pod, "innodb_io_capacity_max") == 3000

    apply(pod, {"wait_timeout": 1000})
    assert variable(pod, "wait_timeout") == 1000
    assert variable(pod, "slow_query_log") == 0
    assert "STRICT_TRANS_TABLES" in variable(pod, "sql_mode")
    for name in ("max_connections", "long_query_time", "innodb_io_capacity_max"):
        assert variable(pod, name) == before[name]
    apply(pod, {})
    assert variable(pod, "wait_timeout") == before["wait_timeout"]
    assert starts(pod) == 1


def test_flags_that_are_not_named_are_as_a_start_has_them(pod: Pod) -> None:
    first = variable(pod, "optimizer_switch")
    apply(pod, {"optimizer_switch": "mrr=on"})
    assert variable(pod, "optimizer_switch") == first.replace("mrr=off", "mrr=on", 1)
    apply(pod, {"optimizer_switch": "hash_join_cardinality=on"})
    assert "mrr=off" in variable(pod, "optimizer_switch")
    assert "hash_join_cardinality=on" in variable(pod, "optimizer_switch")
    apply(pod, {})
    assert variable(pod, "optimizer_switch") == first


def test_layers_cover_one_another(pod: Pod) -> None:
    defaults: dict[str, Value] = {"max_connections": 61, "wait_timeout": 777}
    apply(pod, {"max_connections": 62}, defaults=defaults)
    assert (variable(pod, "max_connections"), variable(pod, "wait_timeout")) == (62, 777)
    said = until("it is shown", lambda: shown(pod) if shown(pod)["layers"]["group"] else None)
    assert said["layers"]["defaults"] == defaults
    assert said["layers"]["group"] == {"max_connections": 62}
    assert said["effective"]["max_connections"] == said["running"]["max_connections"] == "62"
    assert said["pending_restart"] == []
    apply(pod, {}, defaults=defaults)
    assert (variable(pod, "max_connections"), variable(pod, "wait_timeout")) == (61, 777)
    printed = run_show(pod.run)
    assert (printed.returncode, printed.stderr) == (0, "")
    assert '"max_connections": "61"' in printed.stdout


def test_what_must_wait_for_a_restart_waits(pod: Pod) -> None:
    former = variable(pod, "innodb_log_buffer_size")
    found = apply(
        pod,
        {"innodb_log_buffer_size": 2 * MIB, "max_connections": 63, "wait_timeout": 99},
        restart_required=["innodb_log_buffer_size", "wait_timeout"],
    )
    assert found.pending_restart == ("innodb_log_buffer_size", "wait_timeout")
    assert variable(pod, "max_connections") == 63
    assert variable(pod, "wait_timeout") != 99
    assert variable(pod, "innodb_log_buffer_size") == former
    # the same as it runs with, in another spelling, waits for nothing
    found = apply(pod, {"innodb_log_buffer_size": former, "performance_schema": False})
    assert found.pending_restart == ()
    # the server itself says that this waits: it cannot be set in one started without
    found = apply(pod, {"max_user_connections": 5})
    assert found.pending_restart == ("max_user_connections",)
    assert apply(pod, {}).pending_restart == ()
    assert starts(pod) == 1


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"wait_timeout": 500, "zz_max_connections": 1, "sql_mode": "nonsense"}, "sql_mode"),
        ({"max_connections": 100, "innodb_max_dirty_pages_pct_lwm": 95.0}, "cannot be set higher"),
        ({"wait_timeout": 500, "max_connections": 5}, "Truncated incorrect max_connections"),
        ({"character_set_server": "latin1", "wait_timeout": 500}, "collation_server"),
        (
            {"character_set_server": "latin9", "wait_timeout": 500},
            "Unknown character set: 'latin9'",
        ),
        (
            {"innodb_max_dirty_pages_pct": 50.0, "innodb_max_dirty_pages_pct_lwm": 60.0},
            "cannot be set higher",
        ),
    ],
)
def test_a_refused_value_takes_the_whole_request_back(
    pod: Pod, values: dict[str, Value], words: str
) -> None:
    good = request({"max_connections": 64, "innodb_io_capacity": 300})
    until_live(pod, put(pod, good))
    names = ("max_connections", "wait_timeout", "innodb_io_capacity", "collation_server")
    before = [variable(pod, name) for name in names]
    files = pod.ask_launcher("status")["next_configuration"]
    bad = put(pod, request({"innodb_io_capacity": 350, **values}))
    found = until_rejected(pod, bad)
    assert found.rejected is not None
    assert found.rejected.cause is RejectionCause.REFUSED
    assert words in found.rejected.message
    assert "\n" not in found.rejected.message
    assert "what was before" not in found.rejected.message
    assert (found.accepted, found.live) == (bad.hash, good.hash)
    assert [variable(pod, name) for name in names] == before
    assert variable(pod, "innodb_max_dirty_pages_pct") == 90
    assert pod.ask_launcher("status")["next_configuration"] == files
    # the next one is as if the refused one had never been
    apply(pod, {"wait_timeout": 501})
    assert variable(pod, "wait_timeout") == 501
    assert variable(pod, "max_connections") != 64


def test_rounding_by_the_server_is_no_refusal_and_no_drift(pod: Pod) -> None:
    apply(pod, {"innodb_buffer_pool_size": 100_000_001, "long_query_time": 0.1234567})
    assert abs(variable(pod, "innodb_buffer_pool_size") - 100_000_001) < 4 * MIB


def test_ten_edits_in_a_second_end_in_the_last(pod: Pod) -> None:
    for count in range(50, 60):
        name = "sort_buffer_size" if count % 2 else "join_buffer_size"
        last = put(pod, request({"max_connections": count, name: 512 * 1024}))
    found = until_live(pod, last)
    assert found.rejected is None
    assert variable(pod, "max_connections") == 59
    assert variable(pod, "sort_buffer_size") == 512 * 1024
    assert variable(pod, "join_buffer_size") == 256 * 1024
    assert starts(pod) == 1


def test_what_is_set_by_hand_is_put_right_and_told_once(pod: Pod) -> None:
    # spellings of the server that are others than ours: none of them is drift
    apply(
        pod,
        {
            "max_connections": 65,
            "slow_query_log": True,
            "log_slow_verbosity": "query_plan",
            "optimizer_switch": "mrr=on",
            "long_query_time": 3.0,
            "query_cache_limit": 2 * MIB,
        },
    )
    pod.kill_agent()  # nor does it matter when it happens
    by_hand(pod, "SET GLOBAL wait_timeout = 4321")
    by_hand(pod, "SET GLOBAL max_connections = 98")
    pod.start_agent()
    found = until_configuration(pod, "drift is told", lambda found: found.drift is not None)
    assert found.drift is not None
    assert found.drift.found == "98"
    assert (variable(pod, "max_connections"), variable(pod, "wait_timeout")) == (65, 4321)
    by_hand(pod, "SET GLOBAL max_connections = 99")
    by_hand(pod, "SET GLOBAL max_statement_time = 7")  # not ours: left alone
    found = until_configuration(
        pod, "drift is told", lambda found: found.drift and found.drift.found == "99", 60
    )
    assert variable(pod, "max_connections") == 65
    assert found.drift is not None
    drift = found.drift
    assert (drift.name, drift.found, drift.restored) == ("max_connections", "99", "65")
    assert variable(pod, "max_statement_time") == 7
    # and where nothing happens it has nothing to say, however often it looks meanwhile
    end = time.monotonic() + 22
    etag = pod.until_running().etag
    while time.monotonic() < end:
        answer = pod.ask("GET", f"/v1/status?seen={etag}&wait=22")
        etag = answer.body["etag"]  # the volume's use, say
        assert answer.body["configuration"] == found.model_dump(mode="json")
    assert starts(pod) == 1
    for name in ("wait_timeout", "max_statement_time"):
        by_hand(pod, f"SET GLOBAL {name} = DEFAULT")


def test_bodies_that_are_no_request_are_refused(pod: Pod) -> None:
    assert pod.ask("PUT", "/v1/configuration", {}).status == 400
    assert pod.ask("PUT", "/v1/configuration", {"hash": "h", "values": {"a": [1]}}).status == 400
    stranger = pod.authority.client("somebody")
    body = request().model_dump()
    assert pod.ask_as(stranger, "PUT", "/v1/configuration", body).status == 403


# --- at a start ---------------------------------------------------------------------------------
def test_a_new_instance_starts_with_its_group(mariadb_pod: MakePod) -> None:
    wanted = request(
        {"max_connections": 66, "innodb_log_buffer_size": 4 * MIB, "innodb_log_file_size": 32 * MIB}
    )
    pod = running(mariadb_pod, wanted)
    found = until_live(pod, wanted)
    assert found.pending_restart == ()
    assert variable(pod, "max_connections") == 66
    assert variable(pod, "innodb_log_buffer_size") == 4 * MIB
    assert (pod.volume / "data" / "ib_logfile0").stat().st_size == 32 * MIB
    assert starts(pod) == 1
    # what is mounted counts only once: the volume knows better from then on
    apply(pod, {"max_connections": 67})
    pod.configure(configuration=request({"max_connections": 68}))
    pod.kill_agent()
    pod.start_agent()
    pod.until_running()
    assert variable(pod, "max_connections") == 67
    # unless the volume belongs to another instance now
    other = request({"max_connections": 69})
    pod.configure(configuration=other, uid="another")
    until_live(pod, other)
    assert variable(pod, "max_connections") == 69


def test_a_restart_brings_what_waited_for_it(mariadb_pod: MakePod) -> None:
    pod = running(mariadb_pod)
    template = variable(pod, "innodb_log_buffer_size")
    wanted: dict[str, Value] = {
        "innodb_log_buffer_size": 4 * MIB,
        "init_connect": "SET @a = 'x\"\\\\#y'",
    }
    found = apply(pod, wanted)
    assert found.pending_restart == ("innodb_log_buffer_size",)
    live = variable(pod, "init_connect")
    pod.kill_agent()
    pod.start_agent()
    status = pod.until_running()
    assert status.configuration is not None
    assert status.configuration.pending_restart == ("innodb_log_buffer_size",)
    assert status.configuration.port == pod.config.port
    assert restart(pod).pending_restart == ()
    assert variable(pod, "innodb_log_buffer_size") == 4 * MIB
    assert variable(pod, "init_connect") == live == wanted["init_connect"]
    # nor does it wait where the launcher starts the engine anew, without any agent
    apply(pod, {})
    assert restart(pod).pending_restart == ()
    assert variable(pod, "innodb_log_buffer_size") == template
    assert apply(pod, wanted).pending_restart == ("innodb_log_buffer_size",)
    former = pod.engine_pid
    until_value(
        "next", lambda: pod.ask_launcher("status")["next_configuration"] == pod.etc.name, False
    )
    pod.kill_agent()
    os.kill(former, signal.SIGKILL)
    until("another engine runs", lambda: pod.engine_pid != former)
    pod.start_agent()
    pod.until_running()
    assert variable(pod, "innodb_log_buffer_size") == 4 * MIB
    found = until_configuration(pod, "nothing waits", lambda found: found.pending_restart == ())
    assert found.rejected is None
    assert starts(pod) == 4


def test_a_port_moves_with_the_restart(mariadb_pod: MakePod) -> None:
    pod = running(mariadb_pod)
    former, port = pod.config.port, free_port()
    found = apply(pod, {"port": port})
    assert (found.pending_restart, found.port) == (("port",), former)
    socket.create_connection(("127.0.0.1", former), 5).close()
    found = restart(pod)
    assert (found.pending_restart, found.port) == ((), port)
    socket.create_connection(("127.0.0.1", port), 5).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", former), 5)
    assert apply(pod, {}).pending_restart == ("port",)


def test_a_stopped_engine_has_it_at_its_next_start(mariadb_pod: MakePod) -> None:
    pod = running(mariadb_pod)
    assert pod.ask("POST", "/v1/engine/stop", {"token": "stop"}).status == 202
    pod.until_status("it stops", lambda status: status.engine.pid is None)
    wanted = put(pod, request({"max_connections": 70, "innodb_log_buffer_size": 4 * MIB}))
    assert until_live(pod, wanted).pending_restart == ()
    assert pod.ask("POST", "/v1/engine/start", {"token": "start"}).status == 202
    pod.until_running()
    assert variable(pod, "max_connections") == 70
    assert variable(pod, "innodb_log_buffer_size") == 4 * MIB
    assert until_live(pod, wanted).pending_restart == ()


# --- that does not start ------------------------------------------------------------------------
def test_an_engine_that_does_not_start_goes_back_to_what_did(mariadb_pod: MakePod) -> None:
    pod = running(mariadb_pod)
    good = request({"max_connections": 71})
    until_live(pod, put(pod, good))
    restart(pod)
    bad = put(pod, request({"max_connections": 72, **FATAL}))
    assert until_live(pod, bad).pending_restart == ("innodb_data_file_path",)
    assert variable(pod, "max_connections") == 72
    assert pod.ask("POST", "/v1/engine/restart", {"token": "fatal"}).status == 202
    found = until_rejected(pod, bad)
    assert found.rejected is not None
    assert found.rejected.cause is RejectionCause.DID_NOT_START
    assert "Tablespace size" in found.rejected.message
    assert (found.accepted, found.live) == (bad.hash, good.hash)
    status = pod.until_restarted_for("fatal")
    assert status.configuration is not None
    assert status.configuration.pending_restart == ()
    assert variable(pod, "max_connections") == 71
    # it is not tried again: neither by another agent nor at another start
    count = starts(pod)
    pod.kill_agent()
    pod.start_agent()
    pod.until_running()
    assert restart(pod).rejected == found.rejected
    assert starts(pod) == count + 1
    # but on request
    assert pod.ask("POST", "/v1/engine/reset", {"token": "reset"}).status == 202
    assert until_live(pod, bad).pending_restart == ("innodb_data_file_path",)
    assert variable(pod, "max_connections") == 72
    # and another one puts all in order, without any restart
    apply(pod, {"max_connections": 73})
    assert variable(pod, "max_connections") == 73
    assert starts(pod) == count + 1


def test_a_new_instance_whose_group_is_fatal_runs_with_the_template(mariadb_pod: MakePod) -> None:
    bad = request({"max_connections": 72, **FATAL})
    pod = running(mariadb_pod, bad)
    found = until_rejected(pod, bad)
    assert found.rejected is not None
    assert found.live is None
    assert variable(pod, "max_connections") != 72
    apply(pod, {"max_connections": 74})
    assert variable(pod, "max_connections") == 74


def test_a_port_that_is_taken_is_rolled_back(mariadb_pod: MakePod) -> None:
    pod = running(mariadb_pod)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        bad = put(pod, request({"port": taken.getsockname()[1]}))
        until_live(pod, bad)
        assert pod.ask("POST", "/v1/engine/restart", {"token": "taken"}).status == 202
        found = until_rejected(pod, bad)
    assert found.rejected is not None
    assert "Address already in use" in found.rejected.message
    assert found.port == pod.config.port
    socket.create_connection(("127.0.0.1", pod.config.port), 5).close()


def test_who_is_killed_is_not_to_blame(mariadb_pod: MakePod) -> None:
    pod = running(mariadb_pod)
    wanted = put(pod, request({"innodb_log_buffer_size": 4 * MIB}))
    until_live(pod, wanted)
    former = pod.engine_pid
    assert pod.ask("POST", "/v1/engine/restart", {"token": "killed"}).status == 202
    fresh = until(
        "it is started anew", lambda: pod.engine_pid if pod.engine_pid != former else None
    )
    os.kill(fresh, signal.SIGKILL)
    found = pod.until_restarted_for("killed").configuration
    assert found is not None
    found = until_live(pod, wanted)
    assert (found.rejected, found.pending_restart) == (None, ())
    assert variable(pod, "innodb_log_buffer_size") == 4 * MIB


def test_a_newer_request_overtakes_one_that_does_not_start(mariadb_pod: MakePod) -> None:
    pod = running(mariadb_pod)
    bad = put(pod, request(FATAL))
    until_live(pod, bad)
    assert pod.ask("POST", "/v1/engine/restart", {"token": "over"}).status == 202
    for _ in range(20):
        last = put(pod, request({"max_connections": 75}))
        time.sleep(0.01)  # where in the start it comes is all that this changes
    found = until_live(pod, last)
    assert found.rejected is None
    pod.until_restarted_for("over")
    assert variable(pod, "max_connections") == 75
    assert until_live(pod, last).pending_restart == ()


def test_a_file_that_was_changed_by_hand_is_mended_at_the_next_start(mariadb_pod: MakePod) -> None:
    pod = running(mariadb_pod)
    group = pod.etc / "30-group.cnf"
    group.write_text("[mariadbd]\nmax_connections = 44\n")
    restart(pod)
    assert variable(pod, "max_connections") != 44
    with pytest.raises(pymysql.err.OperationalError):
        by_hand(pod, "SET GLOBAL innodb_log_buffer_size = 1")
