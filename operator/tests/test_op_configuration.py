"""Configuration groups between caches, queues and API server: who is woken, what is written."""

import asyncio
from typing import Any

import pytest

from coffer_common.wire import (
    ConfigurationRequest,
    ConfigurationStatus,
    DataState,
    DataStatus,
    EngineState,
    EngineStatus,
    GuestStatus,
)
from coffer_operator.kube.api import (
    CONFIGURATION_GROUP,
    EVENT,
    INSTANCE,
    Key,
)
from coffer_operator.plan.model import (
    EventNote,
    GroupPlan,
    Plan,
    PutConfiguration,
)
from coffer_operator.plan.world import GroupWorld, Member, World
from op_configuration import (
    attach,
    make_group,
)
from op_plan_worlds import instance_obj
from op_stage import NS, Stage, always

pytestmark = [pytest.mark.looptime, pytest.mark.simulation]

REFERENCE = {"configurationRef": {"name": "tuned"}}


@pytest.fixture
async def stage() -> Stage:
    return Stage()


def make_instance(stage: Stage, name: str, **spec: Any) -> None:
    stage.write(
        INSTANCE,
        {"metadata": {"name": name, "namespace": NS}, "spec": instance_obj(**spec)["spec"]},
    )


def says(stage: Stage, accepted: str, live: str | None = None) -> GuestStatus:
    return GuestStatus(
        etag=f"{accepted}/{live}",
        agent_version="1",
        boot_id="b",
        instance_uid=stage.instance["metadata"]["uid"],
        pod_uid="p",
        data=DataStatus(state=DataState.LAID_OUT),
        engine=EngineStatus(state=EngineState.RUNNING),
        configuration=ConfigurationStatus(accepted=accepted, live=live or accepted),
    )


def members(stage: Stage) -> list[str]:
    """Of the group, when it was looked at last."""
    return [member.name for member in stage.groups[-1].members]


async def test_an_instance_knows_its_group_and_its_mates(stage: Stage) -> None:
    make_group(stage, wait_timeout=100)
    make_instance(stage, "bar", **REFERENCE)
    make_instance(stage, "other")
    attach(stage)
    async with stage.running(always(Plan())):
        [world] = [w for w in stage.worlds if w.instance.metadata.name == "shop"][-1:]
        assert world.configuration_group is not None
        assert world.configuration_group.spec.values == {"wait_timeout": 100}
        assert [m.name for m in world.cohort] == ["bar", "shop"]
        [alone] = [w for w in stage.worlds if w.instance.metadata.name == "other"][-1:]
        assert alone.configuration_group is None
        assert [m.name for m in alone.cohort] == ["other"]
        assert members(stage) == ["bar", "shop"]


async def test_an_edited_group_wakes_itself_and_those_that_name_it(stage: Stage) -> None:
    make_group(stage, wait_timeout=100)
    make_instance(stage, "other")
    attach(stage)
    async with stage.running(always(Plan())):
        stage.worlds.clear()
        stage.groups.clear()
        for seconds in range(10):
            patch = {"spec": {"values": {"wait_timeout": seconds + 1}}}
            stage.server.patch(CONFIGURATION_GROUP, NS, "tuned", patch, manager="u")
            await asyncio.sleep(0.01)
        await stage.settle()
        assert {w.instance.metadata.name for w in stage.worlds} == {"shop"}
        last = stage.worlds[-1].configuration_group
        assert last is not None
        assert last.spec.values == {"wait_timeout": 10}
        assert len(stage.groups) == 1, "ten edits are one look at the group"


async def test_a_group_hears_of_those_that_come_and_go(stage: Stage) -> None:
    make_group(stage)
    async with stage.running(always(Plan())):
        assert members(stage) == []
        attach(stage)
        await stage.settle()
        assert members(stage) == ["shop"]
        attach(stage, group=None)
        await stage.settle()
        assert members(stage) == []
        attach(stage)
        await stage.settle()
        stage.server.delete(INSTANCE, NS, "shop")
        await stage.settle()
        assert members(stage) == []


async def test_one_that_leaves_is_no_member(stage: Stage) -> None:
    make_group(stage)
    attach(stage)
    held = {"metadata": {"finalizers": ["test/hold"]}}
    stage.server.patch(INSTANCE, NS, "shop", held, manager="u")
    async with stage.running(always(Plan())):
        stage.server.delete(INSTANCE, NS, "shop")
        await stage.settle()
        assert members(stage) == []
        assert [m.name for m in stage.worlds[-1].cohort] == ["shop"], "itself, at least"


async def test_what_an_agent_says_of_its_configuration_goes_to_the_group(stage: Stage) -> None:
    make_group(stage)
    attach(stage)
    stage.make_pod()
    async with stage.running(always(Plan())):
        [member] = stage.groups[-1].members
        assert member == Member(NS, "shop", None, None, None, reachable=False)
        stage.agents.says("10.0.0.9", says(stage, "one"))
        await stage.settle(3)
        [member] = stage.groups[-1].members
        assert member.reachable
        assert member.configuration == ConfigurationStatus(accepted="one", live="one")
        looks = len(stage.groups)
        quiet = says(stage, "one").model_copy(
            update={"etag": "x", "databases": ("a",)}
        )  # news for the instance alone
        stage.agents.says("10.0.0.9", quiet)
        await stage.settle()
        assert len(stage.groups) == looks
        stage.agents.says("10.0.0.9", says(stage, "two", "one"))
        await stage.settle()
        assert len(stage.groups) == looks + 1
        del stage.agents.statuses["10.0.0.9"]
        stage.agents.news.set()
        await stage.settle(10)
        [member] = stage.groups[-1].members
        assert not member.reachable
        assert member.configuration == ConfigurationStatus(accepted="two", live="one")


async def test_a_deleted_namesakes_word_is_not_a_members(stage: Stage) -> None:
    make_group(stage)
    attach(stage)
    stage.make_pod()
    other = says(stage, "one").model_copy(update={"instance_uid": "another"})
    stage.agents.says("10.0.0.9", other)
    async with stage.running(always(Plan())):
        await stage.settle(3)
        [member] = stage.groups[-1].members
        assert (member.configuration, member.reachable) == (None, False)


async def test_of_one_whose_plans_fail_others_hear(stage: Stage) -> None:
    make_group(stage)
    attach(stage)
    mended: list[bool] = []

    def planner(_: World) -> Plan:
        call = PutConfiguration(ConfigurationRequest(hash="h"))
        return Plan() if mended else Plan(calls=(call,))  # there is no pod

    async with stage.running(planner):
        await stage.settle(30)
        [member] = stage.groups[-1].members
        assert member.failing
        mended.append(True)
        await stage.settle(60)
        [member] = stage.groups[-1].members
        assert not member.failing


async def test_a_groups_status_is_written_once_and_its_events_too(stage: Stage) -> None:
    make_group(stage)

    def plan(world: GroupWorld) -> GroupPlan:
        status = {"observedGeneration": world.group.metadata.generation, "attached": 3}
        new = world.group.status.observed_generation != world.group.metadata.generation
        events = (EventNote("Applied", "all of them"),) if new else ()
        return GroupPlan(status=status, events=events)

    stage.group_planner = plan
    async with stage.running(always(Plan())):
        await stage.settle(3600)
        assert stage.requests.count("patch ConfigurationGroup tuned") == 1
        assert stage.server.get(CONFIGURATION_GROUP, NS, "tuned")["status"]["attached"] == 3
        [event] = stage.server.every(EVENT)
        about = event["involvedObject"]
        assert (about["kind"], about["name"]) == ("ConfigurationGroup", "tuned")


async def test_a_group_that_is_gone_is_forgotten_and_told(stage: Stage) -> None:
    make_group(stage)
    attach(stage)
    async with stage.running(always(Plan())):
        stage.server.delete(CONFIGURATION_GROUP, NS, "tuned")
        await stage.settle()
        assert stage.worlds[-1].configuration_group is None
        looks = len(stage.groups)
        await stage.settle(3600)
        assert len(stage.groups) == looks


async def test_a_group_wakes_whom_its_plan_names(stage: Stage) -> None:
    make_group(stage)
    attach(stage)
    make_instance(stage, "bar", **REFERENCE)
    async with stage.running(always(Plan())):
        stage.worlds.clear()
        stage.group_planner = lambda _: GroupPlan(status={}, wake=("bar",))
        stage.engine.cohort_queue.add(Key(NS, "tuned"))
        await stage.settle()
        assert [w.instance.metadata.name for w in stage.worlds] == ["bar"]


async def test_without_a_group_those_of_a_version_wake_each_other(stage: Stage) -> None:
    make_instance(stage, "bar")
    resolved = {"type": "mariadb", "version": "10.11", "name": "mariadb-10.11"}
    for name in ("shop", "bar"):
        status = {"status": {"datastore": resolved}}
        stage.server.patch(INSTANCE, NS, name, status, subresource="status", manager="u")
    stage.make_pod()
    asked: list[tuple[str, list[str]]] = []

    def turns(version: str, _: object, members: Any) -> list[tuple[str, str]]:
        asked.append((version, [member.name for member in members]))
        return [(NS, "bar")]

    stage.turns = turns
    async with stage.running(always(Plan())):
        assert stage.worlds[-1].cohort == stage.worlds[0].cohort
        assert [m.name for m in stage.worlds[0].cohort] == ["bar", "shop"]
        asked.clear()
        stage.worlds.clear()
        stage.agents.says("10.0.0.9", says(stage, "one"))
        await stage.settle(3)
        assert asked == [("mariadb-10.11", ["bar", "shop"])]
        assert "bar" in {w.instance.metadata.name for w in stage.worlds}
