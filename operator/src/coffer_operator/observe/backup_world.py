"""Assembles the Worlds of BackupStorages and Backups from the caches.

Reads the API server by name alone: the Secrets of a storage, and what a watch may be behind with
where a decision cannot be taken back. Decides nothing.
"""

from collections.abc import Callable
from datetime import datetime

from coffer_common.resources.backup import Backup
from coffer_common.resources.backup_storage import (
    BackupStorage,
)
from coffer_operator.kube.api import BACKUP, BACKUP_STORAGE, Key, Kind, KubeApi
from coffer_operator.observe.agents import Agents
from coffer_operator.observe.backups import BackupCache, SecretReader
from coffer_operator.observe.cache import Cache
from coffer_operator.observe.reread import reread
from coffer_operator.plan.backup_world import BackupWorld, SecretsFact, StorageWorld


class BackupObserver:
    """Makes StorageWorlds and BackupWorlds. `image` is of storage workers."""

    def __init__(
        self,
        api: KubeApi,
        backups: BackupCache,
        cache: Cache,
        agents: Agents,
        *,
        now: Callable[[], datetime],
        image: str,
    ) -> None:
        self._api = api
        self._backups = backups
        self._cache = cache
        self._agents = agents
        self._secrets = SecretReader(api)
        self._now = now
        self._image = image

    async def storage_world(self, key: Key) -> StorageWorld | None:
        """None if there is no such storage (or none we can read). Raises the errors of KubeApi."""
        storage = self._backups.storage(key)
        if storage is None:
            return None
        secrets = await self._secrets.fact(key.namespace, storage.spec)
        storage = self._backups.storage(key)  # it may have changed while we looked
        if storage is None:
            return None
        uid = storage.metadata.uid
        return StorageWorld(
            now=self._now(),
            storage=storage,
            secrets=secrets,
            workers=self._backups.workers_of(key, uid),
            running=self._backups.running_in(key.namespace),
            image=self._image,
            failure=self._backups.memory(BACKUP_STORAGE, key, uid).failure,
        )

    async def backup_world(self, key: Key) -> BackupWorld | None:
        """None if there is no such Backup (or none we can read). Raises the errors of KubeApi."""
        backup = self._backups.backup(key)
        if backup is None:
            return None
        secrets = None
        if backup.metadata.deletion_timestamp is not None or backup.spec.path is not None:
            secrets = await self._look_at_storage(key.namespace, backup)
            backup = self._backups.backup(key)
            if backup is None:
                return None
        return self._assemble(key, backup, secrets)

    def _assemble(self, key: Key, backup: Backup, secrets: SecretsFact | None) -> BackupWorld:
        uid = backup.metadata.uid
        memory = self._backups.memory(BACKUP, key, uid)
        reference = backup.spec.instance_ref
        about = Key(key.namespace, reference.name) if reference is not None else None
        return BackupWorld(
            now=self._now(),
            backup=backup,
            catalogue=self._cache.catalogue(),
            instance=self._cache.instance(about) if about is not None else None,
            pod=self._cache.pod(about) if about is not None else None,
            agent=self._agents.fact(about) if about is not None else None,
            storage=self._storage_of(backup),
            secrets=secrets,
            others=tuple(
                other
                for other in self._backups.backups_in(key.namespace)
                if other.metadata.uid != uid
            ),
            workers=self._backups.workers_of(key, uid),
            image=self._image,
            failure=memory.failure,
            namespace_terminating=memory.namespace_terminating,
        )

    async def _look_at_storage(self, namespace: str, backup: Backup) -> SecretsFact | None:
        """None where the API server says that there is no such storage."""
        storage = self._storage_of(backup)
        if storage is None:
            await self.reread(BACKUP_STORAGE, Key(namespace, backup.spec.storage_ref.name))
            storage = self._storage_of(backup)
        return await self._secrets.fact(namespace, storage.spec) if storage is not None else None

    def _storage_of(self, backup: Backup) -> BackupStorage | None:
        namespace = backup.metadata.namespace or ""
        return self._backups.storage(Key(namespace, backup.spec.storage_ref.name))

    async def reread(self, kind: Kind, key: Key) -> bool:
        """Read a watched object anew into its cache; whether it is there and as it was.

        Raises the errors of KubeApi.
        """
        return await reread(self._api, self._backups.stores[kind.kind], kind, key)
