"""Configuration groups in a real MariaDB: live, pending, refused, rolled back, put right."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from coffer_common.wire import RejectionCause, Value
from guest_configuration import (
    MIB,
    apply,
    by_hand,
    put,
    request,
    run_show,
    shown,
    starts,
    until_configuration,
    until_live,
    until_rejected,
    variable,
)
from guest_harness import Pod, until

pytestmark = pytest.mark.guest


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
        ({"innodb_buffer_pool_size": 1024**4}, "takes 1T of memory, and the flavor has 512M"),
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
    by_hand(pod, "SET GLOBAL max_connections = 98, query_cache_limit = 65536")
    pod.start_agent()
    found = until_configuration(pod, "drift is told", lambda found: found.drift is not None)
    assert found.drift is not None
    assert (found.drift.found, found.drift.others) == ("98", ("query_cache_limit",))
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
