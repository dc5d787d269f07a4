"""The composition root: caches, queue, workers and agents, wired to each other.

Used by the operator's process and by the simulation alike: everything that touches the world
outside (API server, agents, time, randomness, certificates) is given to it.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any, Final

from coffer_common.errors import CofferError, Transient
from coffer_operator.act.calls import Caller
from coffer_operator.act.errands import ErrandRunner
from coffer_operator.act.execute import Executor
from coffer_operator.act.groups import GroupReporter
from coffer_operator.act.report import Reporter
from coffer_operator.act.step import Steps
from coffer_operator.kube.api import (
    BACKUP,
    BACKUP_SCHEDULE,
    BACKUP_STORAGE,
    CHILD_KINDS,
    CONFIGURATION_GROUP,
    DATASTORE_VERSION,
    FLAVOR,
    INSTANCE,
    NODE,
    OPERATION,
    POD,
    STORAGE_CLASS,
    Key,
    Kind,
)
from coffer_operator.observe.agents import Agents
from coffer_operator.observe.backup_world import BackupObserver
from coffer_operator.observe.backups import WORKERS, BackupCache, Wakes
from coffer_operator.observe.cache import Cache, selector
from coffer_operator.observe.informer import Informer
from coffer_operator.observe.journal import Notes
from coffer_operator.observe.schedules import ScheduleObserver
from coffer_operator.observe.store import Store
from coffer_operator.observe.verification import VerificationObserver, concerned
from coffer_operator.observe.world import Deployed, Observer
from coffer_operator.plan.agent import view
from coffer_operator.plan.strategies import Offers
from coffer_operator.plan.world import PodFact
from coffer_operator.shell.backups import (
    ErrandReconciler,
    W,
    Way,
    backup_way,
    schedule_way,
    storage_way,
    verification_way,
)
from coffer_operator.shell.cohorts import (
    COALESCE_S,
    CohortReconciler,
)
from coffer_operator.shell.outside import Looker, Observing, Outside, Planners, Settings
from coffer_operator.shell.queue import WorkQueue
from coffer_operator.shell.reconcile import Outcome, Reconciler

log = logging.getLogger(__name__)

# what the webhook has to know, and so an operator that stands by
CATALOGUE_KINDS: Final = (
    DATASTORE_VERSION,
    FLAVOR,
    STORAGE_CLASS,
    CONFIGURATION_GROUP,
    BACKUP_STORAGE,
    BACKUP,
)
OWN_KINDS: Final = (INSTANCE, OPERATION)
COHORT_WORKERS: Final = 2
STORAGE_WORKERS: Final = 2
BACKUP_WORKERS: Final = 4
VERIFICATION_WORKERS: Final = 2
SCHEDULE_WORKERS: Final = 1
INSTANCES: Final = "DatabaseInstance"  # what a queue's keys are of, for the metrics
GROUPS: Final = "ConfigurationGroup"
STORAGES: Final = "BackupStorage"
BACKUPS: Final = "Backup"
SCHEDULES: Final = "BackupSchedule"
VERIFICATIONS: Final = "Operation"  # those that no instance carries out


class Engine:
    """The operator without its process."""

    def __init__(
        self,
        outside: Outside,
        planners: Planners,
        settings: Settings | None = None,
        told: Observing | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.queue = WorkQueue(outside.rng)
        self.active = asyncio.Event()  # cleared: no worker starts anything
        self.active.set()
        self.cohort_queue = WorkQueue(outside.rng)
        self.storage_queue = WorkQueue(outside.rng)
        self.backup_queue = WorkQueue(outside.rng)
        self.verification_queue = WorkQueue(outside.rng)
        self.schedule_queue = WorkQueue(outside.rng)
        self.cache = Cache(
            wake=self._wake_instance,
            wake_cohort=lambda cohort: self.cohort_queue.add(cohort, COALESCE_S),
            pod_changed=self._pod_changed,
            clock=lambda: asyncio.get_running_loop().time(),
            wake_verification=self.verification_queue.add,
        )
        self.backups = BackupCache(
            Wakes(
                self.storage_queue.add,
                self.backup_queue.add,
                self.queue.add,
                self.schedule_queue.add,
            ),
            self._restoring,
            self.cache.operations,
        )
        self.agents = Agents(
            outside.agents,
            self._wake_instance,
            rng=outside.rng,
            configured=self.cache.member_changed,
        )
        self.cache.cohorts.follow(self.agents)
        self._lookers = self._make_lookers(outside, planners)
        self._told = told
        self.informers = self._make_informers(outside)
        self._storage_workers = Informer(
            outside.api, POD, self.backups.workers, label_selector=WORKERS, rng=outside.rng
        )

    def _make_informers(self, outside: Outside) -> Mapping[str, Informer]:
        """By kind; of the workers of storages there is another."""
        return {
            kind.kind: Informer(
                outside.api,
                kind,
                self._store(kind),
                label_selector=selector(kind),
                rng=outside.rng,
            )
            for kind in (*CATALOGUE_KINDS, *CHILD_KINDS, *OWN_KINDS, BACKUP_SCHEDULE, NODE)
        }

    def _store(self, kind: Kind) -> Store[Any]:
        if kind in (BACKUP_STORAGE, BACKUP, BACKUP_SCHEDULE):
            return self.backups.stores[kind.kind]
        return self.cache.store(kind)

    def _wake_instance(self, key: Key) -> None:
        """Something new is known of an instance; its Backups may wait for that."""
        self.queue.add(key)
        self.backups.instance_news(key)
        for operation in concerned(self.cache, key):
            self.verification_queue.add(operation)

    def _restoring(self, namespace: str) -> list[Key]:
        """The instances of a namespace that are to be restored and have no data yet."""
        return [
            key
            for key, instance in self.cache.instances.items()
            if key.namespace == namespace
            and instance is not None
            and instance.spec.restore_from is not None
            and instance.status.data_id is None
        ]

    def offers(self, key: Key) -> Offers | None:
        """The backup strategies of an instance's agent; None: not known, as while standing by."""
        instance = self.cache.instance(key)
        if instance is None:
            return None
        return view(instance, self.cache.pod(key), self.agents.fact(key)).backup_strategies

    def _pod_changed(self, key: Key, pod: PodFact | None) -> None:
        self.agents.follow(key, pod)

    def _make_lookers(
        self, outside: Outside, planners: Planners
    ) -> Mapping[str, tuple[WorkQueue, Looker]]:
        """Who works on which queue, by the kind of its keys."""
        observer = Observer(
            outside.api,
            self.cache,
            self.agents,
            outside.certificates,
            now=outside.now,
            deployed=Deployed(self.settings.operator_namespace, self.settings.pull_secrets),
            backups=self.backups,
        )
        notes = Notes(self.cache, observer)
        steps, reporter = Steps(self.active.is_set), Reporter(outside.api, notes, outside.now)
        caller = Caller(outside.api, outside.agents, notes, outside.draw)
        instances = Reconciler(
            queue=self.queue,
            cache=self.cache,
            observer=observer,
            notes=notes,
            executor=Executor(outside.api, caller, outside.certificates, notes, reporter, steps),
            planner=planners.instance,
            now=outside.now,
        )
        cohorts = CohortReconciler(
            queue=self.cohort_queue,
            cache=self.cache,
            observer=observer,
            reporter=GroupReporter(reporter, steps),
            planner=planners.group,
            turns=planners.turns,
            wake=self.queue.add,
        )
        return {
            INSTANCES: (self.queue, instances),
            GROUPS: (self.cohort_queue, cohorts),
            **self._make_backup_lookers(outside, planners, steps),
        }

    def _make_backup_lookers(
        self, outside: Outside, planners: Planners, steps: Steps
    ) -> dict[str, tuple[WorkQueue, Looker]]:
        observer = BackupObserver(
            outside.api,
            self.backups,
            self.cache,
            self.agents,
            now=outside.now,
            image=self.settings.image,
        )
        reporter = Reporter(outside.api, self.backups, outside.now)
        runner = ErrandRunner(
            outside.api,
            outside.agents,
            self.backups,
            reporter,
            steps,
            pull_secrets=self.settings.pull_secrets,
        )
        known = VerificationObserver(self.backups, self.cache, self.agents, now=outside.now)
        clocks = ScheduleObserver(
            self.backups, self.cache, self.offers, self._restoring, now=outside.now
        )

        def looker(way: Way[W], queue: WorkQueue) -> tuple[WorkQueue, Looker]:
            reconciler = ErrandReconciler(
                way,
                queue=queue,
                cache=self.backups,
                observer=observer,
                runner=runner,
                now=outside.now,
            )
            return queue, reconciler

        return {
            STORAGES: looker(storage_way(observer, planners.storage), self.storage_queue),
            BACKUPS: looker(backup_way(observer, planners.backup), self.backup_queue),
            VERIFICATIONS: looker(
                verification_way(known, planners.verification), self.verification_queue
            ),
            SCHEDULES: looker(schedule_way(clocks, planners.schedule), self.schedule_queue),
        }

    @property
    def queues(self) -> Mapping[str, WorkQueue]:
        """The queues, by the kind of their keys."""
        return {kind: queue for kind, (queue, _) in self._lookers.items()}

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
                group.create_task(
                    self._inform_of((*CHILD_KINDS, *OWN_KINDS, BACKUP_SCHEDULE, NODE))
                )
                group.create_task(self._storage_workers.run(), name="informer storage workers")
                for kind, informer in self.informers.items():
                    if kind != NODE.kind:  # without nodes there is only less to tell
                        await informer.synced.wait()
                await self._storage_workers.synced.wait()
                log.info("caches filled: %d instances", len(self.cache.instances))
                for kind, count in (
                    (INSTANCES, self.settings.workers),
                    (GROUPS, COHORT_WORKERS),
                    (STORAGES, STORAGE_WORKERS),
                    (BACKUPS, BACKUP_WORKERS),
                    (VERIFICATIONS, VERIFICATION_WORKERS),
                    (SCHEDULES, SCHEDULE_WORKERS),
                ):
                    for number in range(count):
                        group.create_task(self._work(kind), name=f"{kind} worker {number}")
        finally:
            for queue, _ in self._lookers.values():
                queue.close()
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
        store = self._store(kind)
        if event == "DELETED":
            store.saw_deletion(obj)
        else:
            store.saw(obj)

    async def _work(self, kind: str) -> None:
        loop = asyncio.get_running_loop()
        queue, looker = self._lookers[kind]
        while True:
            await self.active.wait()
            key = await queue.get()
            started = loop.time()
            try:
                outcome = await self._look(queue, looker, key) if self.active.is_set() else None
                if outcome is None:
                    queue.add(key)
                elif self._told is not None:
                    self._told.looked(kind, outcome, loop.time() - started)
            finally:
                queue.done(key)

    @staticmethod
    async def _look(queue: WorkQueue, looker: Looker, key: Key) -> Outcome:
        try:
            return await looker.reconcile(key)
        except CofferError as error:
            asked_s = error.retry_after_s if isinstance(error, Transient) else None
            wait_s = queue.failed(key, asked_s or 0.0)
            log.warning("%s/%s: %s; again in %.1f s", key.namespace, key.name, error, wait_s)
        except Exception:
            # The loop boundary: a bug that one key brings out must not stop the others.
            wait_s = queue.failed(key)
            log.exception("%s/%s: unexpected; again in %.1f s", key.namespace, key.name, wait_s)
        return Outcome(wrote=False, failed=True)
