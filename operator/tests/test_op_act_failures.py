"""Steps that fail, instances that are gone, and what is reported."""

from typing import Any

import pytest

from coffer_common.wire import EngineAction
from coffer_operator.guest.api import AgentBusyError
from coffer_operator.kube.api import (
    EVENT,
    INSTANCE,
    OPERATION,
    SERVICE,
    ForbiddenError,
    InvalidError,
    UnavailableError,
)
from coffer_operator.plan.model import (
    Apply,
    EngineCall,
    EventNote,
    OperationStatusPatch,
    Plan,
)
from coffer_operator.plan.world import World
from op_stage import NS, Stage, always, service, status, told

pytestmark = [pytest.mark.looptime, pytest.mark.simulation]


@pytest.fixture
async def stage() -> Stage:
    return Stage()


# --- failures
async def test_what_cannot_help_is_told_at_once(stage: Stage) -> None:
    stage.faults.errors["apply", "Service"] = [
        ForbiddenError("services is forbidden: exceeded quota: q")
    ]

    def planner(world: World) -> Plan:
        return Plan(apply=(Apply(service()),), status=status(world))

    async with stage.running(planner):
        assert told(stage).startswith("apply Service shop: QuotaExceeded: ")
        await stage.settle(2)
        assert told(stage) == "fine"
        assert stage.server.get(SERVICE, NS, "shop")


async def test_what_may_pass_is_told_only_when_it_stays(stage: Stage) -> None:
    stage.make_pod()
    stage.agents.errors = [AgentBusyError("starting") for _ in range(5)]
    failures: list[bool] = []

    def planner(world: World) -> Plan:
        failures.append(world.failure is not None)
        calls = (EngineCall(EngineAction.START, "t"),) if len(stage.agents.calls) < 6 else ()
        return Plan(calls=calls, status=status(world))

    async with stage.running(planner):
        await stage.settle(60)
        assert failures[:4] == [False, False, False, False]
        assert True in failures
        assert failures[-1] is False
        assert told(stage) == "fine"


async def test_a_terminating_namespace_is_noticed(stage: Stage) -> None:
    stage.faults.errors["apply", "Service"] = [
        ForbiddenError("being terminated", cause="NamespaceTerminating")
    ]
    async with stage.running(always(Plan(apply=(Apply(service()),)))):
        assert stage.worlds[-1].namespace_terminating


async def test_an_unexpected_error_of_one_instance_does_not_stop_the_worker(stage: Stage) -> None:
    broken = [True]

    def planner(_: World) -> Plan:
        if broken:
            raise ZeroDivisionError
        return Plan(apply=(Apply(service()),))

    async with stage.running(planner):
        broken.clear()
        await stage.settle(2)
        assert stage.server.get(SERVICE, NS, "shop")


async def test_errors_while_observing_are_retried(stage: Stage) -> None:
    stage.faults.errors["get", "Secret"] = [UnavailableError("down"), InvalidError("odd")]
    async with stage.running(always(Plan(apply=(Apply(service()),)))):
        await stage.settle(5)
        assert stage.server.get(SERVICE, NS, "shop")


# --- without an instance
def operation(name: str = "nobody") -> dict[str, Any]:
    spec = {"type": "Restart", "instanceRef": {"name": name}}
    return {"metadata": {"name": "op", "namespace": NS}, "spec": spec}


async def test_an_operation_on_nothing_fails_after_a_grace(stage: Stage) -> None:
    stage.write(OPERATION, operation())
    async with stage.running(always(Plan())):
        assert stage.server.get(OPERATION, NS, "op")["status"]["phase"] == "New"
        await stage.settle(61)
        found = stage.server.get(OPERATION, NS, "op")["status"]
        assert found["phase"] == "Failed"
        assert "no DatabaseInstance nobody" in found["message"]


# --- reports
async def test_a_status_that_says_the_same_is_not_written(stage: Stage) -> None:
    async with stage.running(lambda world: Plan(status=status(world))):
        assert stage.requests.count("patch DatabaseInstance shop") == 1
        assert await stage.look() == []


async def test_a_status_is_written_only_on_the_version_it_was_decided_from(stage: Stage) -> None:
    def planner(world: World) -> Plan:
        if len(stage.worlds) == 1:
            labels = {"metadata": {"labels": {"new": "label"}}}
            stage.server.patch(INSTANCE, NS, "shop", labels, manager="kubectl")
        return Plan(status={"phase": "Building", "group": f"look-{len(stage.worlds)}"})

    async with stage.running(planner):
        assert stage.server.get(INSTANCE, NS, "shop")["status"]["group"] != "look-1"


async def test_what_a_call_is_to_bring_about_is_told_only_once_it_did(stage: Stage) -> None:
    stage.make_pod()
    stage.write(OPERATION, operation("shop"))
    stage.agents.errors = [AgentBusyError("starting")]

    def planner(world: World) -> Plan:
        if any(o.status.phase for o in world.operations):
            return Plan()
        patch = OperationStatusPatch("op", {"phase": "Completed"}, after_calls=True)
        note = EventNote("Completed", "it is done", operation="op")
        return Plan(
            calls=(EngineCall(EngineAction.RESET, "t"),), operations=(patch,), events=(note,)
        )

    async with stage.running(planner):
        assert stage.server.every(EVENT, NS) == []
        assert "status" not in stage.server.get(OPERATION, NS, "op")
        await stage.settle(2)
        assert [event["reason"] for event in stage.server.every(EVENT, NS)] == ["Completed"]
        assert stage.server.get(OPERATION, NS, "op")["status"]["phase"] == "Completed"


async def test_an_event_is_announced_once_for_one_decision(stage: Stage) -> None:
    note = EventNote("Created", "the instance was created")
    async with stage.running(always(Plan(events=(note,)))):
        await stage.look()
        await stage.look()
        [event] = stage.server.every(EVENT, NS)
        assert event["reason"] == "Created"
        assert event["involvedObject"]["uid"] == stage.instance["metadata"]["uid"]


def orphan(**spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "op", "namespace": NS},
        "spec": {"instanceRef": {"name": "nobody"}, "type": "Restart", **spec},
    }


@pytest.mark.parametrize(
    ("not_after", "phase", "within_s"),
    [(None, "Failed", 65), ("2026-01-01T00:00:20Z", "Expired", 25)],
)
async def test_an_operation_on_nothing_ends_and_is_announced(
    stage: Stage, not_after: str | None, phase: str, within_s: float
) -> None:
    stage.write(OPERATION, orphan(**({"notAfter": not_after} if not_after else {})))
    async with stage.running(always(Plan())):
        assert stage.server.get(OPERATION, NS, "op")["status"]["phase"] == "New"
        await stage.settle(within_s)
        assert stage.server.get(OPERATION, NS, "op")["status"]["phase"] == phase
        await stage.settle(3600)
        [event] = stage.server.every(EVENT)
        assert (event["reason"], event["type"]) == (phase, "Warning")
        assert event["involvedObject"]["kind"] == "Operation"
