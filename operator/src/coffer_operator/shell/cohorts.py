"""One look at one cohort: a ConfigurationGroup's status, and whose turn it is to go on.

The same order as for an instance: observe, plan, act, report. A cohort without a group is the
instances of a DatastoreVersion that name none (`observe.cohorts`); it has no status, only turns.
"""

from collections.abc import Callable, Iterable
from typing import Final

from coffer_operator.act.failure import StepError
from coffer_operator.act.groups import GroupReporter
from coffer_operator.kube.api import Key
from coffer_operator.observe.cache import Cache
from coffer_operator.observe.world import Observer
from coffer_operator.plan.model import GroupPlan
from coffer_operator.plan.world import Catalogue, GroupWorld, Member
from coffer_operator.shell.queue import WorkQueue
from coffer_operator.shell.reconcile import Outcome, resync_s
from coffer_operator.shell.retry import Retries

COALESCE_S: Final = 0.15  # news of a group's members that come close together are looked at once

GroupPlanner = Callable[[GroupWorld], GroupPlan]
# the members of a cohort without a group, by namespace and name, that can go on now
TurnPlanner = Callable[[str, Catalogue, Iterable[Member]], Iterable[tuple[str, str]]]


class CohortReconciler:
    """Tells of groups, and wakes the instances that can go on."""

    def __init__(
        self,
        *,
        queue: WorkQueue,
        cache: Cache,
        observer: Observer,
        reporter: GroupReporter,
        planner: GroupPlanner,
        turns: TurnPlanner,
        wake: Callable[[Key], None],
    ) -> None:
        self._queue = queue
        self._retries = Retries(queue, observer)
        self._cache = cache
        self._observer = observer
        self._reporter = reporter
        self._planner = planner
        self._turns = turns
        self._wake = wake

    async def reconcile(self, key: Key) -> Outcome:
        """Look at one cohort and add its key again for when it must be looked at next."""
        return await self._group(key) if key.namespace else self._version(key)

    def _version(self, key: Key) -> Outcome:
        """The turns in the cohort of a DatastoreVersion; what they lead to wakes it again."""
        members = self._cache.cohorts.members(key)
        for namespace, name in self._turns(key.name, self._cache.catalogue(), members):
            self._wake(Key(namespace, name))
        return Outcome(wrote=False)

    async def _group(self, key: Key) -> Outcome:
        world = self._observer.group_world(key)
        if world is None:
            self._retries.forget(key)
            self._cache.forget_group(key)
            return Outcome(wrote=False)
        plan = self._planner(world)
        for name in plan.wake:
            self._wake(Key(key.namespace, name))
        try:
            await self._reporter.report(key, world, plan)
        except StepError as error:
            await self._retries.failed(key, error)
            return Outcome(wrote=True, failed=True)
        self._retries.succeeded(key)
        self._queue.add(key, resync_s(key, plan.requeue_after_s))
        return Outcome(wrote=False)
