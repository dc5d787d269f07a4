"""Calls to an agent: databases, users and their Secrets, in order and told when they fail."""

import base64
from collections.abc import Callable
from typing import Any

import pytest

from coffer_common.wire import ConfigurationRequest, DatabaseRequest, EngineAction
from coffer_operator.guest.api import AgentBusyError, AgentRefusedError, AgentUnreachableError
from coffer_operator.kube.api import OPERATION, SECRET
from coffer_operator.plan.model import (
    EngineCall,
    EnsureDatabase,
    EnsureUser,
    OperationStatusPatch,
    Plan,
    PutConfiguration,
)
from coffer_operator.plan.world import World
from op_stage import LABELS, NS, Stage, always, status, told

pytestmark = pytest.mark.looptime


@pytest.fixture
async def stage() -> Stage:
    return Stage()


# --- calls
def user(**fields: Any) -> EnsureUser:
    plain: dict[str, Any] = {
        "name": "app",
        "host": "%",
        "databases": ("shop",),
        "secret_name": "shop-app",
        "binding": {
            "type": "mariadb",
            "provider": "coffer",
            "host": "shop-rw.prod.svc",
            "port": "3306",
            "database": "shop",
        },
        "labels": LABELS,
        "owner_reference": {
            "apiVersion": "coffer.dev/v1alpha1",
            "kind": "DatabaseInstance",
            "name": "shop",
            "uid": "u",
        },
    }
    return EnsureUser(**plain | fields)


def secret_of(stage: Stage, name: str = "shop-app") -> dict[str, str]:
    data = stage.server.get(SECRET, NS, name)["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def until_ensured(call: EnsureUser) -> Callable[[World], Plan]:
    def planner(world: World) -> Plan:
        done = call.key in world.ensured_users
        return Plan(calls=() if done else (call,), status=status(world))

    return planner


async def test_a_password_is_in_the_secret_before_the_engine_has_it(stage: Stage) -> None:
    """Else a crash, or a second operator, leaves a Secret that does not fit."""
    stage.make_pod()
    stage.agents.errors = [AgentBusyError("not now")]
    async with stage.running(until_ensured(user())):
        assert secret_of(stage)["password"] == "drawn-password"
        await stage.settle(2)
        assert [call[1][1].password for call in stage.agents.calls] == ["drawn-password"] * 2


async def test_a_user_gets_a_drawn_password_and_a_binding_secret(stage: Stage) -> None:
    stage.make_pod()
    async with stage.running(until_ensured(user())):
        await stage.look()
        [(what, (name, request))] = stage.agents.calls
        assert (what, name, request.password) == ("user", "app", "drawn-password")
        assert secret_of(stage) == {
            "type": "mariadb",
            "provider": "coffer",
            "host": "shop-rw.prod.svc",
            "port": "3306",
            "database": "shop",
            "username": "app",
            "password": "drawn-password",
            "uri": "mariadb://app:drawn-password@shop-rw.prod.svc:3306/shop",
        }
        assert stage.server.get(SECRET, NS, "shop-app")["type"] == "servicebinding.io/mariadb"


async def test_a_password_that_was_given_out_is_kept(stage: Stage) -> None:
    stage.make_pod()
    data = {"password": base64.b64encode(b"known to clients").decode()}
    metadata = {"name": "shop-app", "namespace": NS, "labels": LABELS}
    kind = "servicebinding.io/mariadb"
    stage.write(SECRET, {"metadata": metadata, "data": data, "type": kind})
    async with stage.running(until_ensured(user())):
        assert stage.agents.calls[0][1][1].password == "known to clients"
        assert secret_of(stage)["uri"].startswith("mariadb://app:known%20to%20clients@")


async def test_the_users_own_password_is_read_from_the_users_secret(stage: Stage) -> None:
    stage.make_pod()
    async with stage.running(until_ensured(user(password_secret=("mine", "pw")))):
        assert "PasswordSecretMissing: Secret mine does not exist" in told(stage)
        data = {"pw": base64.b64encode(b"own choice").decode()}
        stage.write(SECRET, {"metadata": {"name": "mine", "namespace": NS}, "data": data})
        await stage.settle(2)
        assert secret_of(stage)["password"] == "own choice"
        assert told(stage) == "fine"


async def test_a_secret_of_another_is_not_overwritten(stage: Stage) -> None:
    stage.make_pod()
    stage.write(SECRET, {"metadata": {"name": "shop-app", "namespace": NS}, "data": {}})
    async with stage.running(until_ensured(user())):
        assert stage.agents.calls == []
        assert "NameTaken" in told(stage)


async def test_a_call_that_fails_holds_back_no_other_and_the_agent_says_why(stage: Stage) -> None:
    stage.make_pod()
    stage.agents.errors = [AgentRefusedError("BadName", "no such character set")]

    def planner(world: World) -> Plan:
        calls = (
            EnsureDatabase("shop", DatabaseRequest()),
            user(),  # is to be granted the database, and follows it
            user(name="free", databases=(), secret_name="shop-free"),
            PutConfiguration(ConfigurationRequest(hash="h")),
        )
        return Plan(calls=() if world.failure else calls, status=status(world))

    async with stage.running(planner):
        assert [what for what, _ in stage.agents.calls] == ["database", "user", "configuration"]
        assert [about[0] for what, about in stage.agents.calls if what == "user"] == ["free"]
        assert told(stage) == "database shop: BadName: no such character set"


async def test_a_missing_password_holds_back_nobody_and_is_what_is_told(stage: Stage) -> None:
    """It is graver than an agent that is busy: only a person can mend it."""
    stage.make_pod()
    stage.agents.errors = [AgentBusyError("not now")]

    def planner(world: World) -> Plan:
        calls = (
            EngineCall(EngineAction.RESTART, "token"),
            user(name="lost", password_secret=("mine", "pw"), secret_name="shop-lost"),
            user(),
        )
        return Plan(calls=() if world.failure else calls, status=status(world))

    async with stage.running(planner):
        assert [what for what, _ in stage.agents.calls] == ["engine", "user"]
        assert "PasswordSecretMissing: Secret mine does not exist" in told(stage)


async def test_an_agent_that_is_gone_is_asked_only_once(stage: Stage) -> None:
    stage.make_pod()
    stage.agents.errors = [AgentUnreachableError("no answer")] * 9
    calls = tuple(EnsureDatabase(name, DatabaseRequest()) for name in ("a", "b", "c"))
    async with stage.running(always(Plan(calls=calls))):
        assert len(stage.agents.calls) == 1


@pytest.mark.parametrize("called", [True, False])
async def test_an_operation_ends_with_its_own_calls_whatever_others_do(
    stage: Stage, called: bool
) -> None:
    stage.make_pod()
    stage.write(
        OPERATION,
        {
            "metadata": {"name": "op", "namespace": NS},
            "spec": {"instanceRef": {"name": "shop"}, "type": "ResetStatus"},
        },
    )
    stage.agents.errors = [] if called else [AgentRefusedError("No", "no")] * 9
    calls = (
        EngineCall(EngineAction.RESET, "token"),
        user(password_secret=("mine", "pw")),
    )
    patch = OperationStatusPatch("op", {"phase": "Completed"}, after_calls=True)
    async with stage.running(always(Plan(calls=calls, operations=(patch,)))):
        await stage.settle(2)
        found = stage.server.get(OPERATION, NS, "op").get("status", {})
        assert (found.get("phase") == "Completed") is called


async def test_a_call_without_an_address_waits(stage: Stage) -> None:
    async with stage.running(always(Plan(calls=(EngineCall(EngineAction.START, "t"),)))):
        await stage.settle(60)
        assert stage.agents.calls == []
