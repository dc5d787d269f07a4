"""Configuration groups on real engines: live, pending, refused, rolled back, put right."""

import pytest

from e2e_configuration import (
    attach,
    by_hand,
    configured,
    get_group,
    merge_values,
    pending,
    replace_values,
    report,
    restart,
    running,
    wait_running,
    wait_settled,
    wait_states,
)
from e2e_kube import Object, Refused, Space, condition, query, wait_until
from e2e_manifests import group, instance

pytestmark = pytest.mark.e2e
MIB = 2**20


def test_a_new_instance_starts_with_its_group(space: Space) -> None:
    space.kubectl_apply(
        group("conf", {"max_connections": 77, "innodb_log_buffer_size": "4M"}), configured()
    )
    ready = space.wait_ready("db")
    assert ready["status"]["phase"] == "Active"
    assert ready["status"]["configuration"]["group"] == "conf"
    assert condition(ready, "ConfigurationApplied")["status"] == "True"
    assert running(space, "max_connections") == 77
    assert running(space, "innodb_log_buffer_size") == 4 * MIB
    assert (ready["status"].get("engine") or {}).get("restarts", 0) == 0
    found = wait_settled(space)
    assert (found["status"]["attached"], found["status"]["applied"]) == (1, 1)


def test_edits_are_live_or_wait_for_a_restart(space: Space) -> None:
    space.apply(group("conf", {}), configured())
    space.wait_ready("db")
    template = running(space, "max_connections")
    merge_values(
        space,
        {"max_connections": "55", "slow_query_log": True, "innodb_log_buffer_size": "4M"},
    )
    wait_running(space, "max_connections", 55)
    wait_running(space, "slow_query_log", 1)
    wait_until("pending", lambda: pending(space) == ["innodb_log_buffer_size"])
    wait_states(space, {"db": "PendingRestart"})
    obj = space.instance("db")
    assert obj is not None
    assert obj["status"]["phase"] == "RestartRequired"
    assert "innodb_log_buffer_size" in condition(obj, "RestartRequired")["message"]
    assert condition(obj, "Available")["status"] == "True"
    restart(space)
    assert running(space, "innodb_log_buffer_size") == 4 * MIB
    assert running(space, "max_connections") == 55
    wait_states(space, {"db": "Applied"})
    assert pending(space) == []
    # bug 1449238 of Trove: what a replacement leaves out must be gone
    replace_values(space, {"wait_timeout": 1000})
    wait_running(space, "wait_timeout", 1000)
    wait_running(space, "max_connections", template)
    wait_running(space, "slow_query_log", 0)
    attach(space, "db", None)
    wait_running(space, "wait_timeout", 28800)
    restart(space, operation_name="again")
    assert running(space, "innodb_log_buffer_size") != 4 * MIB
    assert condition(space.instance("db"), "ConfigurationApplied")["status"] == "True"


BAD: dict[str, tuple[Object, str]] = {
    "unknown": ({"max_conections": 5}, "max_connections"),
    "type": ({"max_connections": "many"}, "whole number"),
    "range": ({"max_connections": 0}, "from"),
    "read only": ({"datadir": "/tmp"}, "datadir"),
    "list": ({"max_connections": [1]}, "max_connections"),
}


@pytest.mark.parametrize("what", BAD)
def test_apply_refuses_a_bad_value_in_one_line(
    space: Space, strict_webhook: None, what: str
) -> None:
    values, words = BAD[what]
    with pytest.raises(Refused, match=words) as refused:
        space.kubectl_apply(group("conf", values))
    assert len([line for line in str(refused.value).splitlines() if line.strip()]) == 1
    assert get_group(space) is None


def test_a_group_of_another_datastore_is_refused(space: Space, strict_webhook: None) -> None:
    space.apply(group("cache", {"maxclients": 100}, "redis"))
    with pytest.raises(Refused, match="redis"):
        space.apply(configured(ref="cache"))


def test_without_the_webhook_the_last_valid_values_stay(space: Space, no_webhook: None) -> None:
    space.apply(group("conf", {"max_connections": 60}), configured())
    space.wait_ready("db")
    wait_settled(space)
    replace_values(space, {"max_connections": 61, "no_such_thing": 1})
    stalled = wait_until("Stalled", lambda: condition(get_group(space), "Stalled"))
    assert "no_such_thing" in stalled["message"]
    assert "\n" not in stalled["message"]
    assert running(space, "max_connections") == 60
    replace_values(space, {"max_connections": 62})
    wait_running(space, "max_connections", 62)
    wait_settled(space)


def test_a_value_set_by_hand_is_put_right_and_told(space: Space) -> None:
    space.apply(group("conf", {"max_connections": 60}), configured())
    space.wait_ready("db")
    by_hand(space, "SET GLOBAL max_connections = 99")
    wait_running(space, "max_connections", 60, timeout_s=60)
    drift = wait_until("drift in status", lambda: report(space).get("drift"))
    assert "max_connections" in drift
    wait_until("an Event", lambda: "ConfigurationDrift" in space.events("db"))


def test_an_engine_that_does_not_start_goes_back(space: Space, fatal_parameter: str) -> None:
    space.apply(group("conf", {"max_connections": 60}), configured())
    space.wait_ready("db")
    replace_values(space, {"max_connections": 61, fatal_parameter: "1"})
    wait_running(space, "max_connections", 61)
    wait_until("pending", lambda: pending(space) == [fatal_parameter])
    restart(space)
    wait_states(space, {"db": "RolledBack"})
    assert condition(get_group(space), "Stalled")["status"] == "True"
    assert running(space, "max_connections") == 60
    replace_values(space, {"max_connections": 62})
    wait_running(space, "max_connections", 62)
    wait_states(space, {"db": "Applied"})


def test_many_edits_in_a_second_end_in_the_last(space: Space) -> None:
    space.apply(group("conf", {}), configured())
    space.wait_ready("db")
    for count in range(50, 60):
        replace_values(
            space,
            {"max_connections": count, f"{'sort' if count % 2 else 'join'}_buffer_size": "512K"},
        )
    wait_running(space, "max_connections", 59)
    found = wait_settled(space)
    assert running(space, "sort_buffer_size") == 512 * 1024
    assert running(space, "join_buffer_size") == 256 * 1024
    assert found["status"]["history"][0]["values"]["max_connections"] == 59
    assert len(found["status"]["history"]) <= 10


def test_a_port_moves_services_and_policy_at_the_restart(space: Space) -> None:
    space.apply(group("conf", {"port": 3310}), instance("db"))
    space.wait_ready("db")
    attach(space, "db", "conf")
    wait_until("pending", lambda: pending(space) == ["port"])
    with space.mysql("db", "app") as connection:
        assert query(connection, "SELECT @@port") == [(3306,)]
    uid = space.pod_uid("db")
    restart(space)
    wait_until("the Secret tells the port", lambda: space.secret("db-app")["port"] == "3310")
    with space.mysql("db", "app") as connection:
        assert query(connection, "SELECT @@port") == [(3310,)]
    assert space.pod_uid("db") == uid
    policy = space.get("networkpolicy", "db")
    assert policy is not None
    assert 3310 in [p["port"] for rule in policy["spec"]["ingress"] for p in rule["ports"]]
    ready = space.wait_ready("db")
    assert ready["status"]["endpoints"]["port"] == 3310


def test_an_attached_group_is_not_deleted(space: Space) -> None:
    space.apply(group("conf", {}), configured())
    space.wait_ready("db")
    wait_states(space, {"db": "Applied"})
    with pytest.raises(Refused, match="db"):
        space.delete_wait("configurationgroup", "conf")
    attach(space, "db", None)
    wait_states(space, {})
    space.delete_wait("configurationgroup", "conf")


def test_a_restart_comes_in_the_window(space: Space) -> None:
    always = {"start": "00:00", "duration": "24h"}
    maintenance = {"window": always, "autoRestart": True}
    space.apply(group("conf", {}), configured(maintenance=maintenance))
    space.wait_ready("db")
    uid = space.pod_uid("db")
    merge_values(space, {"innodb_log_buffer_size": "4M"})
    wait_running(space, "innodb_log_buffer_size", 4 * MIB, timeout_s=60)
    wait_states(space, {"db": "Applied"})
    assert space.pod_uid("db") == uid
    restarts = space.kube.items("operation", space.name)
    assert [o["spec"]["type"] for o in restarts] == ["Restart"]


def test_a_missing_group_is_waited_for(space: Space) -> None:
    space.apply(configured())
    assert "conf" in space.wait_stalled("db", "ConfigurationNotFound")
    assert space.kube.items("statefulset", space.name) == []
    space.apply(group("conf", {"max_connections": 60}))
    space.wait_ready("db")
    assert running(space, "max_connections") == 60
