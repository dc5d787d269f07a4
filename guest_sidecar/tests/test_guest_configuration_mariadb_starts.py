"""Values of MariaDB at a start, and starts that fail with them."""

import os
import signal
import socket

import pymysql
import pytest

from coffer_common.wire import ConfigurationRequest, RejectionCause, Value
from guest_configuration import (
    MIB,
    apply,
    by_hand,
    put,
    request,
    restart,
    running,
    starts,
    until_configuration,
    until_live,
    until_rejected,
    until_value,
    variable,
)
from guest_harness import MakePod, free_port, until

pytestmark = pytest.mark.guest


FATAL = {"innodb_data_file_path": "ibdata1:1M"}  # it has 12


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
    before = pod.ask_launcher("status")["generation"]
    assert pod.ask("POST", "/v1/engine/restart", {"token": "over"}).status == 202
    put_since: list[ConfigurationRequest] = []

    def started_anew() -> bool:
        put_since.append(put(pod, request({"max_connections": 75})))
        return bool(pod.ask_launcher("status")["generation"] > before)

    until("the engine was started anew", started_anew)
    last = put_since[-1]
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
