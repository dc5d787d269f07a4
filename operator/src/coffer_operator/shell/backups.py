"""One look at one BackupStorage, Backup, verification or schedule: observe, plan, act, report.

Owns the order of these and the policy for what goes wrong: a failure is remembered and planned
upon, so that a condition names it.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Generic, TypeVar

from coffer_common.resources.base import Metadata, Resource
from coffer_operator.act.errands import ErrandRunner
from coffer_operator.act.failure import StepError
from coffer_operator.kube.api import BACKUP, BACKUP_SCHEDULE, BACKUP_STORAGE, OPERATION, Key, Kind
from coffer_operator.observe.backup_world import BackupObserver
from coffer_operator.observe.backups import BackupCache
from coffer_operator.observe.schedules import ScheduleObserver
from coffer_operator.observe.verification import VerificationObserver
from coffer_operator.plan.backup_world import BackupWorld, StorageWorld
from coffer_operator.plan.errand import Errand
from coffer_operator.plan.schedule_world import ScheduleWorld
from coffer_operator.plan.scratch import scratch_name
from coffer_operator.plan.verification_world import VerificationWorld
from coffer_operator.plan.world import ActFailure, PodFact
from coffer_operator.shell.queue import WorkQueue
from coffer_operator.shell.reconcile import TELL_AFTER, Outcome, resync_s
from coffer_operator.shell.retry import Retries

log = logging.getLogger(__name__)

W = TypeVar("W")

StoragePlanner = Callable[[StorageWorld], Errand]
BackupPlanner = Callable[[BackupWorld], Errand]
VerificationPlanner = Callable[[VerificationWorld], Errand]
SchedulePlanner = Callable[[ScheduleWorld], Errand]
_NOWHERE: Final = ("", None)


@dataclass(frozen=True)
class Subject:
    """The object of a World; `at`: instance and pod that calls go to."""

    metadata: Metadata
    status: Resource
    at: tuple[str, PodFact | None] = _NOWHERE


@dataclass(frozen=True)
class Way(Generic[W]):
    """How objects of one kind are looked at."""

    kind: Kind
    observe: Callable[[Key], Awaitable[W | None]]
    plan: Callable[[W], Errand]
    subject: Callable[[W], Subject]


class ErrandReconciler(Generic[W]):
    """Brings objects of one kind one step nearer to what is asked of them."""

    def __init__(
        self,
        way: Way[W],
        *,
        queue: WorkQueue,
        cache: BackupCache,
        observer: BackupObserver,
        runner: ErrandRunner,
        now: Callable[[], datetime],
    ) -> None:
        self._way = way
        self._queue = queue
        self._cache = cache
        self._retries = Retries(queue, observer)
        self._runner = runner
        self._now = now

    async def reconcile(self, key: Key) -> Outcome:
        """Look at one object and add its key again for when it must be looked at next.

        Raises the errors of KubeApi, while observing.
        """
        way = self._way
        world = await way.observe(key)
        if world is None:
            if not self._cache.stores[way.kind.kind].knows(*key):
                self._retries.forget(key)
                self._cache.forget(way.kind, key)
            return Outcome(wrote=False)
        errand, subject = way.plan(world), way.subject(world)
        try:
            await self._runner.act(way.kind, subject.metadata, errand, subject.at)
        except StepError as error:
            await self._failed(key, world, error)
            if errand.due_after_s is not None:
                self._queue.add(key, errand.due_after_s)
            return Outcome(wrote=True, failed=True)
        if errand.finalizers is not None:
            self._queue.add(key)  # the rest speaks of another version
            return Outcome(wrote=True)
        try:
            await self._runner.report(way.kind, subject.metadata, subject.status, errand)
        except StepError as error:
            await self._retries.failed(key, error)
            return Outcome(wrote=True, failed=True)
        self._retries.succeeded(key)
        memory = self._cache.memory(way.kind, key, subject.metadata.uid)
        if memory.failure is not None:
            memory.failure = None
            self._queue.add(key)  # a condition still names it
        self._queue.add(key, resync_s(key, errand.requeue_after_s))
        return Outcome(wrote=errand.writes)

    async def _failed(self, key: Key, world: W, error: StepError) -> None:
        """Something was not done; tell why, and try again later."""
        way = self._way
        memory = self._cache.memory(way.kind, key, way.subject(world).metadata.uid)
        if error.namespace_terminating:
            memory.namespace_terminating = True
        if error.permanent or self._queue.failures(key) + 1 >= TELL_AFTER:
            former = memory.failure
            since = former.since if former is not None else self._now()
            memory.failure = ActFailure(
                error.step, error.reason, error.message, error.permanent, since
            )
            await self._tell(key, former != memory.failure)
        await self._retries.failed(key, error)

    async def _tell(self, key: Key, news: bool) -> None:
        """What the plan makes of the failure, but for what failed."""
        world = await self._way.observe(key) if news else None
        if world is None:
            return
        errand, subject = self._way.plan(world), self._way.subject(world)
        if errand.finalizers is not None:
            self._queue.add(key)
            return
        try:
            await self._runner.report(self._way.kind, subject.metadata, subject.status, errand)
        except StepError as unreported:
            log.warning("%s/%s: %s", key.namespace, key.name, unreported)


def storage_way(observer: BackupObserver, planner: StoragePlanner) -> Way[StorageWorld]:
    """How BackupStorages are looked at."""
    return Way(
        BACKUP_STORAGE,
        observer.storage_world,
        planner,
        lambda world: Subject(world.storage.metadata, world.storage.status),
    )


def backup_way(observer: BackupObserver, planner: BackupPlanner) -> Way[BackupWorld]:
    """How Backups are looked at."""

    def subject(world: BackupWorld) -> Subject:
        reference = world.backup.spec.instance_ref
        at = (reference.name, world.pod) if reference is not None else _NOWHERE
        return Subject(world.backup.metadata, world.backup.status, at)

    return Way(BACKUP, observer.backup_world, planner, subject)


def verification_way(
    observer: VerificationObserver, planner: VerificationPlanner
) -> Way[VerificationWorld]:
    """How Operations that verify Backups are looked at."""

    def subject(world: VerificationWorld) -> Subject:
        operation = world.operation
        at = (scratch_name(operation), world.pod)
        return Subject(operation.metadata, operation.status, at)

    return Way(OPERATION, observer.world, planner, subject)


def schedule_way(observer: ScheduleObserver, planner: SchedulePlanner) -> Way[ScheduleWorld]:
    """How BackupSchedules are looked at."""
    return Way(
        BACKUP_SCHEDULE,
        observer.world,
        planner,
        lambda world: Subject(world.schedule.metadata, world.schedule.status),
    )
