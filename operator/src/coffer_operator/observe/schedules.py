"""Assembles the Worlds of BackupSchedules from the caches. Decides nothing."""

from collections.abc import Callable
from datetime import datetime

from coffer_common.resources.instance import DatabaseInstance
from coffer_common.resources.operation import Operation, OperationType
from coffer_operator.kube.api import BACKUP_SCHEDULE, Key
from coffer_operator.observe.backups import BackupCache
from coffer_operator.observe.cache import Cache
from coffer_operator.plan.schedule_world import ScheduleWorld
from coffer_operator.plan.strategies import Offers


class ScheduleObserver:
    """Makes ScheduleWorlds.

    `offers` gives the backup strategies of an instance's agent, None: not known; `restoring` the
    instances without data of a namespace.
    """

    def __init__(
        self,
        backups: BackupCache,
        cache: Cache,
        offers: Callable[[Key], Offers | None],
        restoring: Callable[[str], list[Key]],
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._backups = backups
        self._cache = cache
        self._offers = offers
        self._restoring = restoring
        self._now = now

    async def world(self, key: Key) -> ScheduleWorld | None:
        """None if there is no such schedule (or none we can read)."""
        schedule = self._backups.schedule(key)
        if schedule is None:
            return None
        namespace = key.namespace
        about = Key(namespace, schedule.spec.instance_ref.name)
        return ScheduleWorld(
            now=self._now(),
            schedule=schedule,
            catalogue=self._cache.catalogue(),
            instance=self._cache.instance(about),
            storage=self._backups.storage(Key(namespace, schedule.spec.storage_ref.name)),
            backups=self._backups.backups_in(namespace),
            operations=self._verifications(namespace),
            restoring=self._instances(namespace),
            offers=self._offers(about),
            failure=self._backups.memory(BACKUP_SCHEDULE, key, schedule.metadata.uid).failure,
        )

    def _verifications(self, namespace: str) -> tuple[Operation, ...]:
        return tuple(
            operation
            for ref, operation in self._cache.operations.items()
            if ref.namespace == namespace
            and operation is not None
            and operation.spec.type is OperationType.VERIFY_BACKUP
        )

    def _instances(self, namespace: str) -> tuple[DatabaseInstance, ...]:
        found = (self._cache.instance(key) for key in self._restoring(namespace))
        return tuple(instance for instance in found if instance is not None)
