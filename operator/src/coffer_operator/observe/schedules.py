"""Assembles the Worlds of BackupSchedules from the caches. Decides nothing."""

from collections.abc import Callable
from datetime import datetime

from coffer_common.resources.instance import DatabaseInstance
from coffer_common.resources.operation import Operation, OperationType
from coffer_operator.kube.api import BACKUP_SCHEDULE, Key
from coffer_operator.observe.backups import BackupCache
from coffer_operator.observe.cache import Cache
from coffer_operator.plan.schedule_world import ScheduleWorld


class ScheduleObserver:
    """Makes ScheduleWorlds. `restoring` gives the instances without data of a namespace."""

    def __init__(
        self,
        backups: BackupCache,
        cache: Cache,
        restoring: Callable[[str], list[Key]],
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._backups = backups
        self._cache = cache
        self._restoring = restoring
        self._now = now

    async def world(self, key: Key) -> ScheduleWorld | None:
        """None if there is no such schedule (or none we can read)."""
        schedule = self._backups.schedule(key)
        if schedule is None:
            return None
        namespace = key.namespace
        return ScheduleWorld(
            now=self._now(),
            schedule=schedule,
            catalogue=self._cache.catalogue(),
            instance=self._cache.instance(Key(namespace, schedule.spec.instance_ref.name)),
            storage=self._backups.storage(Key(namespace, schedule.spec.storage_ref.name)),
            backups=self._backups.backups_in(namespace),
            operations=self._verifications(namespace),
            restoring=self._instances(namespace),
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
