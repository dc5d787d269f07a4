"""One look at one instance: observe, plan, act, report; and the policy for what goes wrong.

Owns the order of these and the retries. A failure is remembered and planned upon, so that a
condition names it; the world is never assumed to be as a failed plan wanted it.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from zlib import crc32

from coffer_operator.act.execute import Executor
from coffer_operator.act.failure import StepError
from coffer_operator.kube.api import PVC, Key
from coffer_operator.observe.cache import Cache
from coffer_operator.observe.journal import Notes
from coffer_operator.observe.world import CERTIFICATE_FOR_S, Observer
from coffer_operator.plan.model import Plan, PutConfiguration
from coffer_operator.plan.operations import plan_orphan
from coffer_operator.plan.world import World
from coffer_operator.shell.queue import WorkQueue
from coffer_operator.shell.retry import Retries

log = logging.getLogger(__name__)

RESYNC_S: Final = 600.0
CONFIRM_AFTER_S: Final = 60.0  # what was seen longer ago is read again before anything is written
TELL_AFTER: Final = 4  # failures in a row, where further attempts may help

Planner = Callable[[World], Plan]


@dataclass(frozen=True)
class Outcome:
    """What a look at an instance led to, for the metrics."""

    wrote: bool
    failed: bool = False


class Reconciler:
    """Brings instances one step nearer to what is asked of them."""

    def __init__(
        self,
        *,
        queue: WorkQueue,
        cache: Cache,
        observer: Observer,
        notes: Notes,
        executor: Executor,
        planner: Planner,
        now: Callable[[], datetime],
    ) -> None:
        self._queue = queue
        self._retries = Retries(queue, observer)
        self._cache = cache
        self._observer = observer
        self._notes = notes
        self._executor = executor
        self._planner = planner
        self._now = now

    async def reconcile(self, key: Key) -> Outcome:
        """Look at one instance and add its key again for when it must be looked at next.

        Raises the errors of KubeApi, while observing.
        """
        world = await self._observer.world(key)
        if world is None:
            return await self._gone(key)
        plan = self._executor.needed(key, world, self._planner(world))
        if _writes(plan) and not await self._is_fresh(key, world, plan):
            self._queue.add(key)  # it is another one than it seemed
            return Outcome(wrote=False)
        try:
            await self._executor.act(key, world, plan)
        except StepError as error:
            await self._failed(key, world, plan, error)
            return Outcome(wrote=True, failed=True)
        await self._reported(key, world, plan)
        return Outcome(wrote=_writes(plan))

    async def _is_fresh(self, key: Key, world: World, plan: Plan) -> bool:
        """Whether what the plan was made from is what the API server has.

        A volume outlives a mistake: none is made for an instance that is there in a cache alone.
        """
        recent = self._cache.confirmed_s_ago(key) <= CONFIRM_AFTER_S
        if (_makes_volume(plan) or not recent) and not await self._observer.confirm(key):
            return False
        group = world.configuration_group
        if group is None or not any(isinstance(call, PutConfiguration) for call in plan.calls):
            return True
        about = Key(key.namespace, group.metadata.name)
        if self._cache.group_confirmed_s_ago(about) <= CONFIRM_AFTER_S:
            return True
        return await self._observer.confirm_group(about)

    async def _gone(self, key: Key) -> Outcome:
        """There is no such instance, and its Operations are told so; or none we can read."""
        if self._cache.instances.knows(*key):
            return Outcome(wrote=False)
        self._observer.forget(key)
        operations = [o for o in self._cache.operations.of(key).values() if o is not None]
        plans = [(operation, plan_orphan(operation, self._now())) for operation in operations]
        try:
            for operation, plan in plans:
                await self._executor.report_orphan(key, operation, plan)
        except StepError as error:
            await self._retries.failed(key, error)
            return Outcome(wrote=True, failed=True)
        self._retries.forget(key)
        waits = [p.requeue_after_s for _, p in plans if p.requeue_after_s is not None]
        if waits:
            self._queue.add(key, min(waits))
        return Outcome(wrote=False)

    async def _reported(self, key: Key, world: World, plan: Plan) -> None:
        """Everything was done; tell so."""
        try:
            await self._executor.report(key, world, plan, acted=True)
        except StepError as error:
            await self._retries.failed(key, error)
            return
        self._retries.succeeded(key)
        if self._notes.succeeded(key):
            self._queue.add(key)  # a condition still names the failure
        self._queue.add(key, self._next_look_s(key, world, plan))

    async def _failed(self, key: Key, world: World, plan: Plan, error: StepError) -> None:
        """Something was not done; tell why, and try again later."""
        if error.namespace_terminating:
            self._notes.namespace_terminating(key)
        called = error.called
        tell = error.permanent or self._queue.failures(key) + 1 >= TELL_AFTER
        if tell and self._notes.failed(
            key,
            error.step,
            error.reason,
            error.message,
            permanent=error.permanent,
            at=self._now(),
        ):
            fresh = await self._observer.world(key)
            if fresh is None:
                self._queue.add(key)
                return
            world, plan, called = fresh, self._planner(fresh), False  # another plan's calls
        try:
            await self._executor.report(key, world, plan, acted=called)
        except StepError as unreported:
            log.warning("%s/%s: %s", key.namespace, key.name, unreported)
        await self._retries.failed(key, error)

    @staticmethod
    def _next_look_s(key: Key, world: World, plan: Plan) -> float:
        """A pod that is not ready may lack the Secret that nobody watches: it is read in time."""
        pod, wanted_s = world.pod, plan.requeue_after_s
        if pod is not None and pod.node is not None and not pod.ready:
            certificate_s = CERTIFICATE_FOR_S + 1.0
            wanted_s = certificate_s if wanted_s is None else min(wanted_s, certificate_s)
        return resync_s(key, wanted_s)


def resync_s(key: Key, wanted_s: float | None) -> float:
    """When to look again even if nothing happens: spread over time by the key."""
    spread = crc32(f"{key.namespace}/{key.name}".encode()) / 2**32
    longest_s = RESYNC_S * (0.75 + 0.5 * spread)
    return longest_s if wanted_s is None else min(longest_s, wanted_s)


def _makes_volume(plan: Plan) -> bool:
    return any(apply.obj["kind"] == PVC.kind for apply in plan.apply)


def _writes(plan: Plan) -> bool:
    """Whether the plan does more than report."""
    return bool(
        plan.deletes
        or plan.certificate
        or plan.apply
        or plan.annotate
        or plan.slices
        or plan.calls
        or plan.start_operation
    )
