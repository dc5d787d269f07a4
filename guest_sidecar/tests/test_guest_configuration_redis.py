"""Configuration groups in a real Redis: live, pending, refused, rolled back, put right."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from coffer_common.wire import RejectionCause, Value
from guest_configuration import (
    apply,
    parameter,
    put,
    redis_client,
    request,
    restart,
    running,
    shown,
    starts,
    until_configuration,
    until_live,
    until_rejected,
)
from guest_harness import MakePod, Pod, free_port, until

pytestmark = pytest.mark.guest
MIB = 2**20


@pytest.fixture(scope="module")
def shared(redis_seed: Path) -> Iterator[Pod]:
    """One running instance for the tests that need no restart."""
    pod = Pod("redis", "7.0", redis_seed)
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


def everything(pod: Pod) -> dict[str, str]:
    """All parameters of the server."""
    with redis_client(pod) as client:
        words = [str(word) for word in client.ask("CONFIG", "GET", "*")]
    return dict(zip(words[::2], words[1::2], strict=True))


# --- live ---------------------------------------------------------------------------------------
def test_values_are_live_at_once_and_a_replacement_leaves_no_trace(pod: Pod) -> None:
    before = everything(pod)
    found = apply(
        pod,
        {
            "maxmemory": 100 * MIB,
            "maxmemory-policy": "allkeys-lru",
            "hz": 20,
            "notify-keyspace-events": "KEA",
            "save": "3600 1 300 100",
            "client-output-buffer-limit": "replica 8mb 4mb 30",
            "activerehashing": False,
            "slowlog-log-slower-than": -1,
        },
    )
    assert found.pending_restart == ()
    assert parameter(pod, "maxmemory") == str(100 * MIB)
    assert parameter(pod, "maxmemory-policy") == "allkeys-lru"
    assert parameter(pod, "hz") == "20"
    assert parameter(pod, "notify-keyspace-events") == "AKE"
    assert parameter(pod, "save") == "3600 1 300 100"
    assert parameter(pod, "activerehashing") == "no"
    limits = parameter(pod, "client-output-buffer-limit")
    assert "slave 8388608 4194304 30" in limits
    assert "pubsub 8388608 2097152 60" in limits, "the template's, for another class"
    apply(pod, {"hz": 30})
    assert parameter(pod, "hz") == "30"
    apply(pod, {})
    assert everything(pod) == before
    assert starts(pod) == 1


def test_layers_cover_one_another(pod: Pod) -> None:
    defaults: dict[str, Value] = {"hz": 15, "timeout": 30}
    apply(pod, {"hz": 16}, defaults=defaults)
    assert (parameter(pod, "hz"), parameter(pod, "timeout")) == ("16", "30")
    said = until("it is shown", lambda: shown(pod) if shown(pod)["layers"]["group"] else None)
    assert said["layers"]["template"]["appendonly"] == "yes"
    assert said["effective"]["timeout"] == said["running"]["timeout"] == "30"
    apply(pod, {})
    assert (parameter(pod, "hz"), parameter(pod, "timeout")) == ("10", "0")


def test_what_must_wait_for_a_restart_waits(pod: Pod) -> None:
    found = apply(
        pod,
        {"databases": 4, "tcp-backlog": 511, "hz": 17, "timeout": 9},
        restart_required=["timeout"],
    )
    assert found.pending_restart == ("databases", "timeout")
    assert (parameter(pod, "hz"), parameter(pod, "timeout")) == ("17", "0")
    assert apply(pod, {}).pending_restart == ()
    assert starts(pod) == 1


def test_a_refused_value_takes_the_whole_request_back(pod: Pod) -> None:
    good = put(pod, request({"hz": 18}))
    until_live(pod, good)
    before = everything(pod)
    bad = put(pod, request({"hz": 19, "timeout": 11, "notify-keyspace-events": "nonsense"}))
    found = until_rejected(pod, bad)
    assert found.rejected is not None
    assert found.rejected.cause is RejectionCause.REFUSED
    assert found.rejected.message.startswith("notify-keyspace-events: 'nonsense' is refused: ")
    assert (found.accepted, found.live) == (bad.hash, good.hash)
    assert everything(pod) == before
    apply(pod, {"timeout": 12})
    assert (parameter(pod, "timeout"), parameter(pod, "hz")) == ("12", "10")


def test_what_is_set_by_hand_is_put_right_and_told(pod: Pod) -> None:
    apply(pod, {"maxmemory-clients": "10%", "timeout": 13, "notify-keyspace-events": "KEA"})
    with redis_client(pod) as client:
        assert client.ask("CONFIG", "SET", "timeout", "99") == "OK"
    found = until_configuration(pod, "drift is told", lambda found: found.drift is not None, 60)
    assert found.drift is not None
    assert (found.drift.name, found.drift.found, found.drift.restored) == ("timeout", "99", "13")
    assert parameter(pod, "timeout") == "13"


def test_ten_edits_in_a_second_end_in_the_last(pod: Pod) -> None:
    for count in range(50, 60):
        name = "hash-max-listpack-entries" if count % 2 else "set-max-intset-entries"
        last = put(pod, request({"hz": count, name: 77}))
    until_live(pod, last)
    assert parameter(pod, "hz") == "59"
    assert parameter(pod, "hash-max-listpack-entries") == "77"
    assert parameter(pod, "set-max-intset-entries") == "512"
    assert starts(pod) == 1


# --- at a start ---------------------------------------------------------------------------------
def test_a_start_has_what_was_live_and_what_waited(redis_pod: MakePod) -> None:
    """Live and from files the same values come out, what adds up over files included."""
    wanted = request(
        {
            "databases": 4,
            "save": "3600 1 60 5",
            "client-output-buffer-limit": "pubsub 16mb 4mb 90",
            "notify-keyspace-events": "",
        }
    )
    pod = running(redis_pod)
    until_live(pod, put(pod, wanted))
    live = everything(pod)
    found = restart(pod)
    assert found.pending_restart == ()
    assert parameter(pod, "databases") == "4"
    assert {**everything(pod), "databases": "16"} == live
    apply(pod, {})
    assert parameter(pod, "save") == ""
    restart(pod)
    assert parameter(pod, "databases") == "16"
    assert starts(pod) == 3


def test_a_new_instance_starts_with_its_group(redis_pod: MakePod) -> None:
    wanted = request({"databases": 5, "port": free_port()})
    pod = running(redis_pod, wanted)
    found = until_live(pod, wanted)
    assert (found.pending_restart, found.port) == ((), wanted.values["port"])
    assert parameter(pod, "databases") == "5"
    assert starts(pod) == 1
    assert apply(pod, {}).pending_restart == ("databases", "port")


def test_a_parameter_of_the_start_that_is_dropped_gets_the_engines_default(
    redis_pod: MakePod,
) -> None:
    pod = running(redis_pod, request({"hz": 44, "client-output-buffer-limit": "normal 1mb 1mb 5"}))
    assert parameter(pod, "hz") == "44"
    apply(pod, {})
    assert parameter(pod, "hz") == "10"
    assert "normal 0 0 0" in parameter(pod, "client-output-buffer-limit")


def test_a_port_that_is_taken_is_rolled_back(redis_pod: MakePod) -> None:
    pod = running(redis_pod)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        bad = put(pod, request({"port": taken.getsockname()[1], "hz": 45}))
        assert until_live(pod, bad).pending_restart == ("port",)
        assert pod.ask("POST", "/v1/engine/restart", {"token": "taken"}).status == 202
        found = until_rejected(pod, bad)
        pod.until_restarted_for("taken")
    assert found.rejected is not None
    assert found.rejected.cause is RejectionCause.DID_NOT_START
    assert "listen" in found.rejected.message.lower()
    assert found.port == pod.config.port
    assert parameter(pod, "hz") == "10"
    apply(pod, {"hz": 46})
    assert parameter(pod, "hz") == "46"


def test_engine_killed_starts_with_the_latest(redis_pod: MakePod) -> None:
    pod = running(redis_pod)
    apply(pod, {"databases": 6, "hz": 47})
    until(
        "the launcher knows",
        lambda: pod.ask_launcher("status")["next_configuration"] != pod.etc.name,
    )
    pod.kill_agent()
    former = pod.engine_pid
    os.kill(former, signal.SIGKILL)
    until("another engine runs", lambda: pod.engine_pid != former)
    pod.start_agent()
    found = pod.until_running().configuration
    assert found is not None
    assert (found.pending_restart, found.rejected) == ((), None)
    assert (parameter(pod, "databases"), parameter(pod, "hz")) == ("6", "47")
    assert starts(pod) == 2
