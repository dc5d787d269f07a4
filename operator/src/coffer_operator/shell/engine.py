"""The composition root: caches, queue, workers and agents, wired to each other.

Used by the operator's process and by the simulation alike: everything that touches the world
outside (API server, agents, time, randomness, certificates) is given to it.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from coffer_common.errors import CofferError, Transient
from coffer_operator.act.calls import Caller, draw_password
from coffer_operator.act.execute import Executor, Issuer
from coffer_operator.guest.api import AgentClient
from coffer_operator.kube.api import (
    CHILD_KINDS,
    DATASTORE_VERSION,
    FLAVOR,
    INSTANCE,
    OPERATION,
    STORAGE_CLASS,
    Key,
    Kind,
    KubeApi,
)
from coffer_operator.observe.agents import Agents
from coffer_operator.observe.cache import Cache, selector
from coffer_operator.observe.informer import Informer
from coffer_operator.observe.journal import Notes
from coffer_operator.observe.world import CertificateReader, Observer
from coffer_operator.shell.queue import WorkQueue
from coffer_operator.shell.reconcile import Outcome, Planner, Reconciler

log = logging.getLogger(__name__)

CATALOGUE_KINDS: Final = (DATASTORE_VERSION, FLAVOR, STORAGE_CLASS)
OWN_KINDS: Final = (INSTANCE, OPERATION)
DEFAULT_WORKERS: Final = 16


class Certificates(Issuer, CertificateReader, Protocol):
    """Makes and reads the agents' certificates."""


@dataclass(frozen=True)
class Settings:
    """What a deployment may choose."""

    operator_namespace: str = "coffer-system"
    workers: int = DEFAULT_WORKERS
    watch_own: bool = True  # False: somebody else feeds OWN_KINDS after the first list


class Observing(Protocol):
    """Who is told how long each look at an instance took."""

    def looked(self, key: Key, outcome: Outcome, seconds: float) -> None: ...


@dataclass(frozen=True)
class Outside:
    """Everything that the engine does not do by itself.

    `now` is UTC; `rng` is for jitter alone; `draw` draws passwords. Loop time is the event loop's.
    """

    api: KubeApi
    agents: AgentClient
    certificates: Certificates
    now: Callable[[], datetime]
    rng: random.Random
    draw: Callable[[], str] = draw_password


class Engine:
    """The operator without its process."""

    def __init__(
        self,
        outside: Outside,
        planner: Planner,
        settings: Settings | None = None,
        told: Observing | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.queue = WorkQueue(outside.rng)
        self.active = asyncio.Event()  # cleared: no worker starts anything
        self.active.set()
        self.agents = Agents(outside.agents, self.queue.add, rng=outside.rng)
        self.cache = Cache(
            wake=self.queue.add,
            pod_changed=self.agents.follow,
            clock=lambda: asyncio.get_running_loop().time(),
        )
        observer = Observer(
            outside.api,
            self.cache,
            self.agents,
            outside.certificates,
            now=outside.now,
            operator_namespace=self.settings.operator_namespace,
        )
        notes = Notes(self.cache, observer)
        executor = Executor(
            outside.api,
            Caller(outside.api, outside.agents, notes, outside.draw),
            outside.certificates,
            notes,
            now=outside.now,
            may_write=self.active.is_set,
        )
        self._reconciler = Reconciler(
            queue=self.queue,
            cache=self.cache,
            observer=observer,
            notes=notes,
            executor=executor,
            planner=planner,
            now=outside.now,
        )
        self._told = told
        self.informers: Mapping[str, Informer] = {
            kind.kind: Informer(
                outside.api,
                kind,
                self.cache.store(kind),
                label_selector=selector(kind),
                rng=outside.rng,
            )
            for kind in (*CATALOGUE_KINDS, *CHILD_KINDS, *OWN_KINDS)
        }

    @property
    def catalogue_synced(self) -> bool:
        """Whether the catalogue is known."""
        return all(self.informers[kind.kind].synced.is_set() for kind in CATALOGUE_KINDS)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.run_catalogue())
            group.create_task(self.run_instances())

    async def run_catalogue(self) -> None:
        """Know the catalogue, until cancelled; the webhook needs it while standing by, too."""
        await self._inform_of(CATALOGUE_KINDS)

    async def run_instances(self) -> None:
        """Work on instances until cancelled.

        The caches are filled first, or all would seem to be missing.
        """
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._inform_of((*CHILD_KINDS, *OWN_KINDS)))
                for informer in self.informers.values():
                    await informer.synced.wait()
                log.info("caches filled: %d instances", len(self.cache.instances))
                for number in range(self.settings.workers):
                    group.create_task(self._work(), name=f"worker {number}")
        finally:
            self.queue.close()
            await self.agents.close()

    async def _inform_of(self, kinds: Iterable[Kind]) -> None:
        async with asyncio.TaskGroup() as group:
            for kind in kinds:
                informer = self.informers[kind.kind]
                if self.settings.watch_own or kind not in OWN_KINDS:
                    group.create_task(informer.run(), name=f"informer {kind.kind}")
                else:
                    group.create_task(informer.list_until_synced(), name=f"list {kind.kind}")

    def feed(self, kind: Kind, event: str | None, obj: Mapping[str, Any]) -> None:
        """An event of a kind that the engine does not watch itself."""
        store = self.cache.store(kind)
        if event == "DELETED":
            store.saw_deletion(obj)
        else:
            store.saw(obj)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self.active.wait()
            key = await self.queue.get()
            started = loop.time()
            try:
                outcome = await self._look(key) if self.active.is_set() else None
                if outcome is None:
                    self.queue.add(key)
                elif self._told is not None:
                    self._told.looked(key, outcome, loop.time() - started)
            finally:
                self.queue.done(key)

    async def _look(self, key: Key) -> Outcome:
        try:
            return await self._reconciler.reconcile(key)
        except CofferError as error:
            asked_s = error.retry_after_s if isinstance(error, Transient) else None
            wait_s = self.queue.failed(key, asked_s or 0.0)
            log.warning("%s/%s: %s; again in %.1f s", key.namespace, key.name, error, wait_s)
        except Exception:
            # The loop boundary: a bug that one instance brings out must not stop the others.
            wait_s = self.queue.failed(key)
            log.exception("%s/%s: unexpected; again in %.1f s", key.namespace, key.name, wait_s)
        return Outcome(wrote=False, failed=True)
