"""create, delete, restart, reset-status: what they send, what they wait for, how they end."""

import json
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from cli_fake_api import FakeApi, status
from cli_objects import (
    INSTANCES,
    OPERATIONS,
    PODS,
    Run,
    building_status,
    condition,
    instance,
    ready_status,
    stalled_status,
)
from coffer_cli.commands import delete as delete_module
from coffer_common.resources.operation import OperationSpec

CREATE = ("create", "orders", "--datastore", "mariadb", "--flavor", "small", "--volume", "10Gi")
PATH = f"{INSTANCES}/orders"
RESTART = f"{OPERATIONS}/orders-restart-x7k2p"


# --- create ---------------------------------------------------------------------------------------
def test_create_waits_until_ready_and_says_how_to_connect(run: Run, api: FakeApi) -> None:
    api.script(
        PATH,
        lambda: api.patch_status(PATH, building_status("waits for the volume")),
        lambda: api.patch_status(PATH, building_status("waits for the engine")),
        lambda: api.patch_status(PATH, ready_status()),
    )
    done = run(*CREATE, "--database", "shop", "--user", "app")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "databaseinstance.coffer.dev/orders created",
        "databaseinstance.coffer.dev/orders ready",
        "  Host:      orders-rw.shop.svc:3306",
        "  User app:  secret/orders-app",
    ]
    assert done.stderr.splitlines() == [
        "orders: Pending: waiting for the operator to take notice",
        "orders: Building: waits for the volume",
        "orders: Building: waits for the engine",
        "orders: Active: serving",
    ]
    assert api.bodies[0]["spec"]["users"] == [{"name": "app", "databases": ["shop"]}]
    assert len(api.asked("GET")) == 1  # it watches; it does not poll
    assert len(api.asked("WATCH")) == 1


def test_create_prints_the_manifest_that_it_would_send(run: Run, api: FakeApi) -> None:
    shown = run(*CREATE, "--user", "app@10.%", "--dry-run", "client", "-o", "yaml")
    assert shown.exit_code == 0
    assert api.requests == []
    run(*CREATE, "--user", "app@10.%", "--no-wait")
    assert yaml.safe_load(shown.stdout) == api.bodies[0]


def test_create_without_waiting(run: Run, api: FakeApi) -> None:
    done = run(*CREATE, "--no-wait", "-o", "name")
    assert done.stdout == "databaseinstance.coffer.dev/orders\n"
    assert api.asked("WATCH") == []


def test_create_as_a_trial_on_the_server(run: Run, api: FakeApi) -> None:
    done = run(*CREATE, "--dry-run", "server")
    assert done.stdout == "databaseinstance.coffer.dev/orders created (server dry run)\n"
    assert "dryRun=All" in api.asked("POST")[0]
    assert api.objects == {}


def test_create_as_json_ends_with_the_ready_object(run: Run, api: FakeApi) -> None:
    api.script(PATH, lambda: api.patch_status(PATH, ready_status()))
    done = run(*CREATE, "-o", "json")
    assert json.loads(done.stdout)["status"]["phase"] == "Active"


def test_create_fails_where_the_instance_stalls(run: Run, api: FakeApi) -> None:
    api.script(PATH, lambda: api.patch_status(PATH, stalled_status("no flavor small")))
    done = run(*CREATE)
    assert done.exit_code == 1
    assert done.stderr.endswith(
        "error: databaseinstance.coffer.dev/orders: Error: no flavor small\n"
    )


def test_a_condition_of_an_older_spec_does_not_count(run: Run, api: FakeApi) -> None:
    stale = ready_status() | {"conditions": [condition("Ready", "True", "old", generation=0)]}
    api.script(
        PATH,
        lambda: api.patch_status(PATH, stale),
        lambda: api.patch_status(PATH, ready_status()),
    )
    done = run(*CREATE)
    assert done.exit_code == 0
    assert "Active: serving" in done.stderr


def test_create_gives_up_in_time(run: Run, api: FakeApi) -> None:
    api.script(PATH, lambda: api.patch_status(PATH, building_status("waits for a node")))
    done = run(*CREATE, "--timeout", "0.2")
    assert done.exit_code == 4
    assert "still not done after 0.2 s (Building: waits for a node)" in done.stderr
    assert PATH in api.objects


def test_create_notices_a_deletion(run: Run, api: FakeApi) -> None:
    api.script(PATH, lambda: api.remove(PATH))
    done = run(*CREATE)
    assert done.exit_code == 1
    assert "was deleted while it was waited for" in done.stderr


def test_waiting_outlives_ends_and_gaps_of_watches(run: Run, api: FakeApi) -> None:
    api.refuse("WATCH", INSTANCES, status(503, "ServiceUnavailable", "starting"))
    too_old = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
    api.script(
        PATH,
        lambda: api.send({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}}),
        lambda: api.send({"type": "ERROR", "object": too_old}),
        lambda: api.patch_status(PATH, ready_status()),
    )
    done = run(*CREATE)
    assert done.exit_code == 0, done.stderr
    assert "orders: Waiting: starting" in done.stderr


# --- delete ---------------------------------------------------------------------------------------
def test_delete_waits_for_the_pod_and_tells_of_the_volume(run: Run, api: FakeApi) -> None:
    made = api.put(PATH, instance())
    pod = f"{PODS}/orders-0"
    api.put(pod, {"metadata": {"name": "orders-0"}})
    api.script(pod, lambda: api.remove(pod))
    done = run("delete", "orders", "--yes")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "databaseinstance.coffer.dev/orders deleted",
        "persistentvolumeclaim/orders-data kept, with its data",
    ]
    assert api.bodies[0]["preconditions"] == {"uid": made["metadata"]["uid"]}
    assert api.bodies[0]["propagationPolicy"] == "Background"
    assert pod not in api.objects


def test_delete_with_the_volume(run: Run, api: FakeApi) -> None:
    api.put(PATH, instance(deletionPolicy="Delete"))
    done = run("delete", "orders", "-y", "--no-wait")
    assert done.stdout == "databaseinstance.coffer.dev/orders deleted\n"


def test_delete_asks_nobody_where_nobody_is(run: Run, api: FakeApi) -> None:
    api.put(PATH, instance())
    done = run("delete", "orders")
    assert done.exit_code == 2
    assert "needs --yes" in done.stderr
    assert PATH in api.objects


@pytest.mark.parametrize(("answer", "gone"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_delete_asks_a_person(
    run: Run, api: FakeApi, monkeypatch: pytest.MonkeyPatch, answer: str, gone: bool
) -> None:
    api.put(PATH, instance(deletionPolicy="Delete"))
    monkeypatch.setattr(delete_module, "_can_ask", lambda: True)
    done = run("delete", "orders", "--no-wait", stdin=answer)
    assert "orders-data is DELETED WITH ALL DATA" in done.stderr
    assert (PATH not in api.objects) is gone
    assert done.exit_code == (0 if gone else 1)


def test_delete_does_not_wait_for_another_object_of_the_same_name(run: Run, api: FakeApi) -> None:
    api.put(PATH, instance())
    pod = f"{PODS}/orders-0"
    api.put(pod, {"metadata": {"name": "orders-0"}})
    api.script(pod, lambda: api.put(pod, {"metadata": {"name": "orders-0", "uid": "new"}}))
    assert run("delete", "orders", "--yes").exit_code == 0


def test_delete_gives_up_in_time(run: Run, api: FakeApi) -> None:
    api.put(PATH, instance())
    api.put(f"{PODS}/orders-0", {"metadata": {"name": "orders-0"}})
    done = run("delete", "orders", "--yes", "--timeout", "0.2")
    assert done.exit_code == 4
    assert "pod/orders-0: still there after 0.2 s" in done.stderr


# --- restart, reset-status ------------------------------------------------------------------------
def test_restart_makes_an_operation_and_follows_it(run: Run, api: FakeApi) -> None:
    api.put(PATH, instance())
    api.script(
        RESTART,
        lambda: api.patch_status(RESTART, {"phase": "Running", "step": "StopEngine"}),
        lambda: api.patch_status(RESTART, {"phase": "Completed", "message": "serves again"}),
    )
    done = run("restart", "orders", "--timeout", "60")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "operation.coffer.dev/orders-restart-x7k2p created",
        "databaseinstance.coffer.dev/orders restarted",
    ]
    assert "orders: Running: StopEngine" in done.stderr
    spec = OperationSpec.model_validate(api.bodies[0]["spec"])
    assert spec.ttl_seconds_after_finished
    assert spec.not_after is not None
    until = datetime.fromisoformat(spec.not_after) - datetime.now(UTC)
    assert timedelta(seconds=30) < until < timedelta(seconds=90)


def test_restart_says_that_the_former_configuration_runs(run: Run, api: FakeApi) -> None:
    rejected = {"type": "ConfigurationApplied", "status": "False", "reason": "RolledBack"}
    obj = instance()
    obj["status"]["conditions"].append(rejected | {"message": "did not start: killed"})
    api.put(PATH, obj)
    api.script(RESTART, lambda: api.patch_status(RESTART, {"phase": "Completed"}))
    done = run("restart", "orders")
    assert done.exit_code == 0
    assert done.stderr.splitlines()[-1] == "orders: did not start: killed"


@pytest.mark.parametrize("phase", ["Failed", "Expired"])
def test_restart_that_fails(run: Run, api: FakeApi, phase: str) -> None:
    api.put(PATH, instance())
    api.script(RESTART, lambda: api.patch_status(RESTART, {"phase": phase, "message": "too bad"}))
    done = run("restart", "orders")
    assert done.exit_code == 1
    assert f"orders-restart-x7k2p: {phase}: too bad" in done.stderr


def test_restart_that_nobody_carries_out(run: Run, api: FakeApi) -> None:
    api.put(PATH, instance())
    done = run("restart", "orders", "--timeout", "0.2")
    assert done.exit_code == 4
    assert "waiting for the operator to take notice" in done.stderr


def test_reset_status_without_waiting(run: Run, api: FakeApi) -> None:
    api.put(PATH, instance())
    done = run("reset-status", "orders", "--no-wait")
    assert done.stdout == "operation.coffer.dev/orders-reset-status-x7k2p created\n"
    assert api.bodies[0]["spec"]["type"] == "ResetStatus"


def test_nothing_is_made_for_an_instance_that_is_not_there(run: Run, api: FakeApi) -> None:
    done = run("restart", "orders")
    assert done.exit_code == 3
    assert done.stderr == 'error: databaseinstances "orders" not found\n'
    assert api.asked("POST") == []
