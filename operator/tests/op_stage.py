"""An Engine on the simulated API server, with a planner and an agent that the test writes."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from coffer_common.errors import CofferError
from coffer_common.wire import (
    ConfigurationRequest,
    DatabaseRequest,
    EngineAction,
    GuestStatus,
    TaskRequest,
    UserRequest,
)
from coffer_operator.guest.api import AgentAddress, AgentUnreachableError
from coffer_operator.kube.api import INSTANCE, POD, Key, Kind, Object
from coffer_operator.plan.backup import plan_backup
from coffer_operator.plan.model import GroupPlan, Plan
from coffer_operator.plan.schedule import plan_schedule
from coffer_operator.plan.storage import plan_storage
from coffer_operator.plan.verification import plan_verification
from coffer_operator.plan.world import GroupWorld, World
from coffer_operator.shell.cohorts import TurnPlanner
from coffer_operator.shell.engine import Engine
from coffer_operator.shell.outside import Outside, Planners, Settings
from op_plan_worlds import instance_obj
from sim_apiserver import NAMESPACE, ApiServer
from sim_certificates import SimCertificates
from sim_client import Calm, SimClient

NS = "prod"
KEY = Key(NS, "shop")
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def now() -> datetime:
    return EPOCH + timedelta(seconds=asyncio.get_running_loop().time())


class Faults(Calm):
    """Errors and delays that a test asks for, by verb and kind."""

    def __init__(self) -> None:
        self.errors: dict[tuple[str, str], list[CofferError]] = {}
        self.deaf = False  # events come no more

    def before(self, verb: str, kind: Kind) -> CofferError | None:
        waiting = self.errors.get((verb, kind.kind))
        return waiting.pop(0) if waiting else None

    def event_delay_s(self, kind: Kind) -> float:
        del kind
        return 1e9 if self.deaf else 0.0


class FakeAgents:
    """One agent for all: says what the test lets it say, and remembers what it was told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.errors: list[CofferError] = []
        self.statuses: dict[str, GuestStatus] = {}  # by address
        self.news = asyncio.Event()

    def says(self, ip: str, status: GuestStatus) -> None:
        """From now on."""
        self.statuses[ip] = status
        self.news.set()
        self.news = asyncio.Event()

    async def status(
        self, at: AgentAddress, *, seen: str | None, wait_s: float
    ) -> GuestStatus | None:
        while True:
            found = self.statuses.get(at.ip)
            if found is None:
                raise AgentUnreachableError("nobody there")
            if found.etag != seen:
                return found
            try:
                async with asyncio.timeout(wait_s):
                    await self.news.wait()
            except TimeoutError:
                return None

    async def engine(self, at: AgentAddress, action: EngineAction, token: str) -> None:
        self._called("engine", (at.ip, action, token))

    async def put_database(self, at: AgentAddress, name: str, request: DatabaseRequest) -> None:
        del at
        self._called("database", (name, request))

    async def put_user(self, at: AgentAddress, name: str, request: UserRequest) -> None:
        del at
        self._called("user", (name, request))

    async def put_configuration(self, at: AgentAddress, request: ConfigurationRequest) -> None:
        del at
        self._called("configuration", request)

    async def put_task(self, at: AgentAddress, task_id: str, request: TaskRequest) -> None:
        del at
        self._called("task", (task_id, request))

    async def cancel_task(self, at: AgentAddress, task_id: str) -> None:
        del at
        self._called("cancel", task_id)

    def _called(self, what: str, about: Any) -> None:
        self.calls.append((what, about))
        if self.errors:
            raise self.errors.pop(0)


def _tell_nothing(_: GroupWorld) -> GroupPlan:
    return GroupPlan(status={})


class Stage:
    """The server with the instance `shop`, the engine, and every request it made."""

    def __init__(self) -> None:
        self.server = ApiServer(random.Random(0), now)
        self.server.create(
            NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NS}}
        )
        self.instance = self._make_instance()
        self.faults = Faults()
        self.agents = FakeAgents()
        self.requests: list[str] = []
        self.worlds: list[World] = []
        self.groups: list[GroupWorld] = []
        self.group_planner: Callable[[GroupWorld], GroupPlan] = _tell_nothing
        self.turns: TurnPlanner = lambda *_: ()
        self.engine: Engine

    @asynccontextmanager
    async def running(self, planner: Callable[[World], Plan]) -> AsyncIterator[None]:
        """The engine at work with this planner, after its first look at the instance."""

        def plan(world: World) -> Plan:
            self.worlds.append(world)
            return planner(world)

        def plan_group(world: GroupWorld) -> GroupPlan:
            self.groups.append(world)
            return self.group_planner(world)

        api = SimClient(self.server, self.faults, observer=self._requested)
        self.engine = Engine(
            Outside(
                api,
                self.agents,
                SimCertificates(now, "ca"),
                now,
                random.Random(0),
                draw=lambda: "drawn-password",
            ),
            Planners(
                plan,
                plan_group,
                self.turns,
                plan_storage,
                plan_backup,
                plan_verification,
                plan_schedule,
            ),
            Settings(workers=2, image="coffer/operator:1"),
        )
        task = asyncio.create_task(self.engine.run())
        try:
            await self.settle()
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def settle(self, seconds: float = 0.4) -> None:
        """Let virtual time pass; less than the shortest back-off, unless told otherwise."""
        await asyncio.sleep(seconds)

    async def look(self, seconds: float = 0.4) -> list[str]:
        """Have the instance looked at; the requests that this led to."""
        before = len(self.requests)
        self.engine.queue.add(KEY)
        await self.settle(seconds)
        return self.requests[before:]

    def write(self, kind: Kind, obj: Mapping[str, Any]) -> Object:
        """As somebody else."""
        return self.server.create(kind, {"apiVersion": kind.api_version, "kind": kind.kind, **obj})

    def _make_instance(self) -> Object:
        obj = {"apiVersion": INSTANCE.api_version, "kind": INSTANCE.kind, **instance_obj()}
        obj["metadata"] = {"name": "shop", "namespace": NS}
        return self.server.create(INSTANCE, obj)

    def remake_instance(self) -> None:
        """As kubectl replace --force does; garbage collection has not begun."""
        self.server.delete(INSTANCE, NS, "shop")
        self.instance = self._make_instance()

    def make_pod(self, ip: str = "10.0.0.9") -> None:
        labels = {"app.kubernetes.io/managed-by": "coffer", "coffer.dev/instance": "shop"}
        pod = {
            "metadata": {"name": "shop-0", "namespace": NS, "labels": labels},
            "spec": {"nodeName": "n1", "containers": [{"name": "database", "image": "x"}]},
        }
        self.write(POD, pod)
        self.server.patch(
            POD,
            NS,
            "shop-0",
            {"status": {"phase": "Running", "podIP": ip}},
            subresource="status",
            manager="kubelet",
        )

    def _requested(
        self, verb: str, kind: Kind, namespace: str | None, name: str, body: Object | None
    ) -> None:
        del namespace, body
        if verb not in ("list", "watch"):
            self.requests.append(f"{verb} {kind.kind} {name}")


# --- what tests of act say again and again
LABELS = {"app.kubernetes.io/managed-by": "coffer", "coffer.dev/instance": "shop"}


def service(port: int = 3306) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "shop", "namespace": NS, "labels": LABELS},
        "spec": {"ports": [{"port": port}], "selector": {"app": "shop"}},
    }


def always(plan: Plan) -> Callable[[World], Plan]:
    return lambda _: plan


def status(world: World) -> dict[str, Any]:
    """A status that says what failed."""
    failure = world.failure
    message = f"{failure.step}: {failure.reason}: {failure.message}" if failure else "fine"
    ready = {"type": "Ready", "status": "Unknown", "reason": "Test", "message": message}
    return {"phase": "Building", "conditions": [ready]}


def told(stage: Stage) -> str:
    conditions = stage.server.get(INSTANCE, NS, "shop")["status"]["conditions"]
    return str(conditions[0]["message"])
