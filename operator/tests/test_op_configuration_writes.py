"""What is written about groups, and what catalogue and nodes change."""

import asyncio
from typing import Any

import pytest

from coffer_common.wire import (
    ConfigurationRequest,
)
from coffer_operator.kube.api import (
    CONFIGURATION_GROUP,
    DATASTORE_VERSION,
    INSTANCE,
    NODE,
    OPERATION,
    PVC,
    ConflictError,
    Key,
)
from coffer_operator.plan.model import (
    Apply,
    GroupPlan,
    Plan,
    PutConfiguration,
    StartOperation,
)
from coffer_operator.plan.world import World
from op_configuration import (
    attach,
    make_group,
)
from op_stage import LABELS, NS, Stage, always

pytestmark = [pytest.mark.looptime, pytest.mark.simulation]


@pytest.fixture
async def stage() -> Stage:
    return Stage()


def make_group_named(stage: Stage, name: str) -> str:
    found = stage.server.get(CONFIGURATION_GROUP, NS, "tuned")
    stage.write(
        CONFIGURATION_GROUP,
        {"metadata": {"name": name, "namespace": NS}, "spec": found["spec"]},
    )
    return name


# --- writing ---------------------------------------------------------------------------------


def make_operation() -> StartOperation:
    return StartOperation(
        {
            "apiVersion": OPERATION.api_version,
            "kind": "Operation",
            "metadata": {"name": "shop-auto-1", "namespace": NS},
            "spec": {"instanceRef": {"name": "shop"}, "type": "Restart"},
        }
    )


async def test_an_operation_is_made_once_and_wakes_its_instance(stage: Stage) -> None:
    async with stage.running(always(Plan(start_operation=make_operation()))):
        assert stage.server.get(OPERATION, NS, "shop-auto-1")
        assert [o.metadata.name for o in stage.worlds[-1].operations] == ["shop-auto-1"]
        await stage.look()
        await stage.settle(30)
        assert stage.worlds[-1].failure is None, "one that is there already is no failure"


async def test_a_configuration_is_sent_only_of_a_group_that_was_seen_lately(stage: Stage) -> None:
    make_group(stage, wait_timeout=1)
    attach(stage)
    stage.make_pod()
    armed: list[bool] = []

    def planner(world: World) -> Plan:
        group = world.configuration_group
        if not armed or group is None:
            return Plan()
        value = group.spec.values["wait_timeout"]
        done = stage.agents.calls and stage.agents.calls[-1][1].hash == str(value)
        call = PutConfiguration(ConfigurationRequest(hash=str(value)))
        return Plan() if done else Plan(calls=(call,))

    async with stage.running(planner):
        await stage.settle(120)
        stage.faults.deaf = True
        patch = {"spec": {"values": {"wait_timeout": 2}}}
        stage.server.patch(CONFIGURATION_GROUP, NS, "tuned", patch, manager="u")
        armed.append(True)
        await stage.look()
        assert [about.hash for _, about in stage.agents.calls] == ["2"]
        assert stage.requests.count("get ConfigurationGroup tuned") == 1


async def test_no_volume_is_made_for_an_instance_that_is_gone(stage: Stage) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "shop-data", "namespace": NS, "labels": LABELS},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    armed: list[bool] = []

    def planner(_: World) -> Plan:
        return Plan(apply=(Apply(claim, create_only=True),) if armed else ())

    async with stage.running(planner):
        stage.faults.deaf = True
        stage.server.delete(INSTANCE, NS, "shop")
        armed.append(True)
        await stage.look()
        assert stage.server.every(PVC) == []
        assert "get DatabaseInstance shop" in stage.requests


async def test_after_two_conflicts_in_a_row_the_object_is_read(stage: Stage) -> None:
    make_group(stage)
    stage.group_planner = lambda _: GroupPlan(status={"attached": 1})
    kind = ("patch", "ConfigurationGroup")
    stage.faults.errors[kind] = [ConflictError("modified"), ConflictError("modified")]
    async with stage.running(always(Plan())):
        about = [r for r in stage.requests if r.endswith("ConfigurationGroup tuned")]
        assert about == ["get ConfigurationGroup tuned", "patch ConfigurationGroup tuned"]
        assert stage.server.get(CONFIGURATION_GROUP, NS, "tuned")["status"] == {"attached": 1}


async def test_a_status_of_an_older_version_does_not_wait_for_the_watch(stage: Stage) -> None:
    said = {"phase": "Building"}

    def planner(_: World) -> Plan:
        return Plan(status=said)

    async with stage.running(planner):
        stage.faults.deaf = True
        stage.server.patch(INSTANCE, NS, "shop", {"metadata": {"labels": {"a": "b"}}}, manager="u")
        said["phase"] = "Active"
        await stage.look()
        assert stage.server.get(INSTANCE, NS, "shop")["status"]["phase"] == "Active"
        assert stage.requests.count("get DatabaseInstance shop") == 1


# --- the catalogue and the nodes -----------------------------------------------------------------


def make_version(stage: Stage, **spec: Any) -> None:
    stage.write(
        DATASTORE_VERSION,
        {
            "metadata": {"name": "mariadb-10.11"},
            "spec": {
                "datastore": "mariadb",
                "version": "10.11",
                "manager": "mariadb",
                "image": "x",
                "port": 3306,
                "minVolumeSize": "1Gi",
            }
            | spec,
        },
    )


async def test_rules_are_those_packaged_with_the_administrators(stage: Stage) -> None:
    make_group(stage)
    make_version(stage)
    async with stage.running(always(Plan())):
        rules = stage.worlds[-1].catalogue.rules["mariadb-10.11"]
        assert rules.check({"wait_timeout": "1h"}) == {"wait_timeout": 3600}
        looks = len(stage.groups)
        narrower = {"spec": {"parameters": [{"name": "wait_timeout", "max": 60}]}}
        stage.server.patch(DATASTORE_VERSION, None, "mariadb-10.11", narrower, manager="u")
        await stage.settle()
        assert stage.worlds[-1].catalogue.rules["mariadb-10.11"].get("wait_timeout").max == 60
        assert len(stage.groups) > looks, "what is valid may be another"
        wrong = {"spec": {"parameters": [{"name": "wait_timeout", "type": "enum"}]}}
        stage.server.patch(DATASTORE_VERSION, None, "mariadb-10.11", wrong, manager="u")
        await stage.settle()
        assert stage.worlds[-1].catalogue.rules["mariadb-10.11"].get("wait_timeout").max == 60


async def test_an_engine_without_packaged_rules_has_the_administrators(stage: Stage) -> None:
    words = [{"name": "speed", "type": "integer", "max": 9}]
    make_version(stage, datastore="strange", version="1", parameters=words)
    async with stage.running(always(Plan())):
        rules = stage.worlds[-1].catalogue.rules["mariadb-10.11"]
        assert rules.check({"speed": "5"}) == {"speed": 5}


async def test_a_node_that_falls_silent_wakes_those_that_run_on_it(stage: Stage) -> None:
    stage.make_pod()
    stage.write(NODE, {"metadata": {"name": "n1"}})
    stage.write(NODE, {"metadata": {"name": "n2"}})

    def becomes(name: str, word: str) -> None:
        status = {"status": {"conditions": [{"type": "Ready", "status": word}]}}
        stage.server.patch(NODE, None, name, status, subresource="status", manager="k")

    async with stage.running(always(Plan())):
        assert {w.node_ready for w in stage.worlds} == {None}
        becomes("n1", "True")
        await stage.settle()
        assert [w.node_ready for w in stage.worlds[-1:]] == [True]
        looks = len(stage.worlds)
        becomes("n1", "Unknown")
        await stage.settle()
        assert [w.node_ready for w in stage.worlds[looks:]] == [False]
        becomes("n2", "False")
        await stage.settle()
        assert len(stage.worlds) == looks + 1


async def test_an_operator_that_stands_by_knows_the_groups(stage: Stage) -> None:
    """Its webhook judges instances by them."""
    make_group(stage)
    async with stage.running(always(Plan())):
        pass
    task = asyncio.create_task(stage.engine.run_catalogue())
    later = make_group_named(stage, "later")
    await stage.settle()
    assert stage.engine.catalogue_synced
    assert stage.engine.cache.group(Key(NS, later)) is not None
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
