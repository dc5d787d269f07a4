"""A cluster in virtual time with the real operator in it, and what a run of it did.

Owns the parts and their random numbers (one generator each, from the seed, so that a change in
one part leaves the others' draws alone), the lives of the operator, and the trace.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from coffer_common.wire import ConfigurationRequest
from coffer_operator.kube.api import (
    BACKUP,
    LEASE,
    NODE,
    PVC,
    Key,
    Kind,
    Object,
)
from coffer_operator.plan.backup import plan_backup
from coffer_operator.plan.configuration import plan_configuration
from coffer_operator.plan.instance import plan_instance
from coffer_operator.plan.schedule import plan_schedule
from coffer_operator.plan.storage import plan_storage
from coffer_operator.plan.turns import plan_turns
from coffer_operator.plan.verification import plan_verification
from coffer_operator.shell.engine import Engine
from coffer_operator.shell.lease import NAME, Leadership, LeaseLostError
from coffer_operator.shell.outside import Outside, Planners, Settings
from sim_agents import SimAgentClient
from sim_apiserver import NAMESPACE, ApiServer
from sim_catalogue import catalogue
from sim_certificates import SimCertificates
from sim_client import SimClient
from sim_control import Claims, Namespaces, NodeLifecycle, StatefulSets
from sim_disks import Disks
from sim_faults import SeededFaults, draw_rates
from sim_gc import GarbageCollector
from sim_guest import Guest
from sim_kubelet import Kubelets, Node
from sim_loop import now
from sim_scheduler import Scheduler
from sim_surroundings import Surroundings
from sim_workers import SimWorkers

NODES: Final = ("node-1", "node-2", "node-3")
NODE_MEMORY: Final = "8Gi"
LEASE_KEY: Final = Key("coffer-system", NAME)
LEASE_SHARE: Final = 0.2  # of the runs; the others have one operator and need no Lease
TRACE: Final = 400  # last lines that a failure shows
WRITES: Final = frozenset({"apply", "create", "patch", "delete"})


@dataclass
class Book:
    """What happened: the trace, what must never happen, and every request of the operator."""

    lines: deque[str] = field(default_factory=lambda: deque(maxlen=TRACE))
    violations: list[str] = field(default_factory=list)
    requests: list[tuple[float, str]] = field(default_factory=list)

    def log(self, text: str) -> None:
        seconds = asyncio.get_running_loop().time()
        self.lines.append(f"{seconds:10.3f}  {text}")

    def wrong(self, text: str) -> None:
        self.log(f"VIOLATION {text}")
        self.violations.append(text)


class OperatorLog(logging.Handler):
    """The operator's log in the trace; an error in it is a bug."""

    def __init__(self, book: Book) -> None:
        super().__init__(logging.INFO)
        self._book = book

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text += f": {record.exc_info[1]!r}"
        if record.levelno >= logging.ERROR:
            self._book.wrong(f"the operator logged: {text}")
        elif not text.startswith("watch of "):  # too many to be of use
            self._book.log(f"log: {text}")


class Life:
    """One process of the operator, from its start to its death."""

    def __init__(self, world: "World", number: int, identity: str, rng: random.Random) -> None:
        self._world = world
        self._book = world.book
        self.number = number
        self.identity = identity
        self._calls_left: int | None = None
        self.api = SimClient(world.server, world.faults, observer=self._requested)
        self.agents = SimAgentClient(world.kubelets, world.faults, self._called, self._puts)
        outside = Outside(
            self.api,
            self.agents,
            world.certificates,
            now=now,
            rng=rng,
            draw=lambda: f"pw{rng.getrandbits(128):032x}",
        )
        self.engine = Engine(
            outside,
            Planners(
                plan_instance,
                plan_configuration,
                plan_turns,
                plan_storage,
                plan_backup,
                plan_verification,
                plan_schedule,
            ),
            Settings(workers=4, image="localhost/coffer-operator:1"),
        )
        self._leadership = Leadership(
            self.api, LEASE_KEY, identity, self.engine.active, now=now, rng=rng
        )
        self.task = asyncio.create_task(self._work(), name=f"operator {number}")

    async def _work(self) -> None:
        """What the process does, without kopf, servers and signals."""
        if not self._world.with_lease:
            await self.engine.run()
            return
        self.engine.active.clear()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.engine.run_catalogue())
            await self._leadership.acquire()
            self._book.log(f"op{self.number} leads")
            group.create_task(self._leadership.keep())
            group.create_task(self.engine.run_instances())

    def die_after(self, calls: int | None) -> None:
        """Die in the middle of the n-th write from now on; None: not by itself."""
        self._calls_left = calls

    def die(self) -> None:
        """Nothing of it has an effect any more."""
        self.api.close()
        self.agents.close()
        self.task.cancel()

    def _puts(self, guest: Guest, request: ConfigurationRequest) -> None:
        self._world.putting(self, guest, request)

    def _called(self, text: str) -> None:
        """A request to an agent, other than for its status."""
        self._book.requests.append((asyncio.get_running_loop().time(), text))
        self._book.log(f"op{self.number} {text}")

    def _requested(
        self, verb: str, kind: Kind, namespace: str | None, name: str, body: Object | None
    ) -> None:
        if kind == LEASE:
            return
        seconds = asyncio.get_running_loop().time()
        text = f"{verb} {kind.kind} {namespace or ''}/{name}"
        if verb not in ("list", "watch"):
            self._book.requests.append((seconds, text))
            self._book.log(f"op{self.number} {text}{_summary(verb, body)}")
        if verb == "delete" and kind == BACKUP:
            self._world.retiring(namespace or "", name)
        if verb == "delete" and kind == PVC:
            self._book.wrong(f"the operator deletes the volume claim {name}")
        if verb in WRITES and self._world.lease_holder() not in (None, self.identity):
            self._book.wrong(f"op{self.number} writes while another holds the Lease: {text}")
        if self._calls_left is not None and verb in WRITES:
            self._calls_left -= 1
            if self._calls_left < 0:
                self._book.log(f"op{self.number} dies")
                self.die()


def _summary(verb: str, body: Object | None) -> str:
    """What of a request's body is worth a line."""
    if verb != "patch" or body is None:
        return ""
    status = body.get("status")
    if status is not None:
        conditions = [
            f"{c['type']}={c['status']}/{c['reason']}" for c in status.get("conditions", ())
        ]
        shown: dict[str, Any] = {k: v for k, v in status.items() if k != "conditions"}
        return f" {shown} {' '.join(conditions)}"
    return f" {[name for name in body if name != 'metadata']}"


class World:
    """Everything of one run."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.book = Book()
        self.server = ApiServer(self.rng("server"), now)
        self.disks = Disks()
        self.faults = SeededFaults(self.rng("faults"), draw_rates(self.rng("rates")))
        self._pace = self.rng("pace")
        GarbageCollector(self.server, lambda: self._pace.uniform(0.1, 2.0))
        self.lifecycle = NodeLifecycle(self.server)
        self.around = Surroundings(
            self.server, self.rng("guests"), self.book.log, self._api_reachable
        )
        self.kubelets = Kubelets(
            self.server, self.disks, self.around, self.lifecycle, self.rng("kubelets")
        )
        SimWorkers(
            self.server, self.around.bucket, self.kubelets.connected, self.rng("storage workers")
        )
        StatefulSets(self.server, self._sometime)
        Claims(self.server, self._soon, self.disks)
        Namespaces(self.server, self._soon)
        Scheduler(self.server, self._soon)
        self._disturbed_at = 0.0
        self.defaults: dict[str, Any] = {}  # that all MariaDBs are to have
        self.putting: Callable[[Life, Guest, ConfigurationRequest], None] = lambda *_: None
        self.retiring: Callable[[str, str], None] = lambda *_: None  # a Backup, by the operator
        self.certificates = SimCertificates(now, f"ca-{seed}")
        self.lives: list[Life] = []
        self.with_lease = self.rng("lease").random() < LEASE_SHARE
        self._operator_rng = self.rng("operator")
        self._furnish()

    def rng(self, part: str) -> random.Random:
        """The random numbers of one part."""
        return random.Random(f"{self.seed}:{part}")

    def _soon(self) -> float:
        return self._pace.uniform(0.005, 0.2)

    def _sometime(self) -> float:
        """Of a controller with much to do."""
        return self._pace.choice((0.02, 0.2, 2.0)) * self._pace.random()

    def _api_reachable(self, node: str) -> bool:
        return not self.faults.api_away and self.kubelets.connected(node)

    def _furnish(self) -> None:
        for name in NODES:
            self.kubelets.nodes[name] = Node(name)
            self.server.create(NODE, _node(name))
            self.lifecycle.back(name)
        for name in (LEASE_KEY.namespace, "team-a", "team-b"):
            self.make_namespace(name)
        for kind, obj in catalogue():
            self.server.create(kind, obj)

    def make_namespace(self, name: str) -> None:
        self.server.create(
            NAMESPACE,
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": name, "finalizers": ["kubernetes"]},
            },
        )

    def disturbed(self) -> None:
        """The operator cannot know, for a while, how all agents are."""
        self._disturbed_at = asyncio.get_running_loop().time()

    def calm_for_s(self) -> float:
        """Seconds since agents or operators were disturbed last."""
        disturbed_at = max(self._disturbed_at, self.faults.agents_disturbed_at)
        return asyncio.get_running_loop().time() - disturbed_at

    # --- the operator ----------------------------------------------------------------------------

    def start_operator(self) -> Life:
        number = len(self.lives) + 1
        rng = random.Random(self._operator_rng.getrandbits(64))
        same_pod = self.lives and self.lives[-1].api.closed and rng.random() < 0.5
        identity = self.lives[-1].identity if same_pod else f"coffer-{number}"
        self.book.log(f"op{number} starts as {identity}")
        self.disturbed()
        life = Life(self, number, identity, rng)
        life.task.add_done_callback(lambda task: self._ended(number, task))
        self.lives.append(life)
        return life

    def alive(self) -> list[Life]:
        """The operators that run, oldest first."""
        return [life for life in self.lives if not life.api.closed]

    def lease_holder(self) -> str | None:
        """Who holds the operators' Lease; None where they use none."""
        lease = self.server.peek(LEASE, LEASE_KEY.namespace, LEASE_KEY.name)
        return lease["spec"]["holderIdentity"] if lease is not None else None

    def _ended(self, number: int, task: "asyncio.Task[None]") -> None:
        if task.cancelled() or task.exception() is None:
            return
        error = task.exception()
        lost = isinstance(error, ExceptionGroup) and error.subgroup(LeaseLostError)
        if lost:
            self.book.log(f"op{number} has lost the Lease and ends")
            self.lives[number - 1].die()
        else:
            self.book.wrong(f"op{number} ended by itself: {error!r}")

    async def kill_operator(self, life: Life) -> None:
        """Kill -9; returns when the process is gone."""
        if not life.api.closed:
            self.book.log(f"op{life.number} killed")
        life.die()
        await asyncio.gather(life.task, return_exceptions=True)

    def requests_since(self, seconds: float) -> list[str]:
        return [text for at, text in self.book.requests if at >= seconds]


def capture_log(book: Book) -> Callable[[], None]:
    """Lead the operator's log into the book; call the result to undo that."""
    logger = logging.getLogger("coffer_operator")
    handler = OperatorLog(book)
    before = (logger.level, logger.propagate)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(handler)

    def undo() -> None:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]

    return undo


def _node(name: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/hostname": name},
            "annotations": {"memory": NODE_MEMORY},
        },
        "spec": {},
        "status": {"conditions": []},
    }
