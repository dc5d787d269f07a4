"""Assembles the Worlds of Operations that verify Backups, from the caches. Decides nothing."""

from collections.abc import Callable
from datetime import datetime

from coffer_common.resources.backup import Backup
from coffer_common.resources.instance import DatabaseInstance
from coffer_common.resources.operation import OperationType
from coffer_operator.kube.api import OPERATION, Key
from coffer_operator.observe.agents import Agents
from coffer_operator.observe.backups import BackupCache
from coffer_operator.observe.cache import Cache
from coffer_operator.plan.scratch import scratch_name
from coffer_operator.plan.verification_world import VerificationWorld


class VerificationObserver:
    """Makes VerificationWorlds."""

    def __init__(
        self, backups: BackupCache, cache: Cache, agents: Agents, *, now: Callable[[], datetime]
    ) -> None:
        self._backups = backups
        self._cache = cache
        self._agents = agents
        self._now = now

    async def world(self, key: Key) -> VerificationWorld | None:
        """None if there is no such Operation, or it is of another type."""
        operation = self._cache.operations.get(key.namespace, key.name)
        if operation is None or operation.spec.type is not OperationType.VERIFY_BACKUP:
            return None
        reference = operation.spec.backup_ref
        name = reference.name if reference is not None else ""
        backup = self._backups.backup(Key(key.namespace, name))
        scratch = Key(key.namespace, scratch_name(operation))
        memory = self._backups.memory(OPERATION, key, operation.metadata.uid)
        return VerificationWorld(
            now=self._now(),
            operation=operation,
            catalogue=self._cache.catalogue(),
            backup=backup,
            chain=self._backups.chain(key.namespace, backup),
            storage=self._backups.source(Key(key.namespace, name)).storage,
            source=self._source(key.namespace, backup),
            scratch=self._cache.instance(scratch),
            pod=self._cache.pod(scratch),
            agent=self._agents.fact(scratch),
            others=tuple(
                other
                for other in self._cache.verifications[scratch].values()
                if other is not None
                and other.spec.backup_ref == reference
                and other.metadata.uid != operation.metadata.uid
            ),
            failure=memory.failure,
            namespace_terminating=memory.namespace_terminating,
        )

    def _source(self, namespace: str, backup: Backup | None) -> DatabaseInstance | None:
        """The very instance that the Backup was taken of."""
        if backup is None or backup.spec.instance_ref is None:
            return None
        found = self._cache.instance(Key(namespace, backup.spec.instance_ref.name))
        same = found is not None and found.metadata.uid == backup.status.instance_uid
        return found if same else None


def concerned(cache: Cache, instance: Key) -> list[Key]:
    """The Operations that verify, or did, by means of this instance."""
    return list(cache.verifications[instance])
