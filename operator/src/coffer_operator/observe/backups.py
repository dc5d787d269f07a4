"""What the process knows of storages, Backups, schedules and workers, and who is concerned.

Owns their stores, what `act` reports back of them, and the look at the Secrets of a storage. Of a
Secret nothing is kept but its version and what is wrong with it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from coffer_common import naming
from coffer_common.errors import UserError
from coffer_common.resources.backup import Backup, BackupPhase
from coffer_common.resources.backup_storage import (
    BackupStorage,
    BackupStorageSpec,
)
from coffer_common.resources.instance import DatabaseInstance
from coffer_common.resources.operation import Operation
from coffer_common.resources.schedule import BackupSchedule
from coffer_operator.build.worker import SELECTOR
from coffer_operator.kube.api import (
    BACKUP,
    BACKUP_SCHEDULE,
    BACKUP_STORAGE,
    OPERATION,
    POD,
    SECRET,
    Key,
    Kind,
    KubeApi,
    NotFoundError,
    Object,
)
from coffer_operator.observe import project
from coffer_operator.observe.store import Both, Mark, Marks, Store, ref_of
from coffer_operator.observe.workers import worker
from coffer_operator.plan.backup_world import SecretsFact, WorkerFact
from coffer_operator.plan.conditions import by_type
from coffer_operator.plan.storage_secrets import SecretData, open_secrets, secret_names
from coffer_operator.plan.world import ActFailure, RestoreSource

FINISHED: Final = frozenset({BackupPhase.COMPLETED, BackupPhase.FAILED})
WORKERS: Final = SELECTOR  # of the informer of workers


@dataclass(frozen=True)
class Wakes:
    """Who is to look again, by key."""

    storage: Callable[[Key], None]
    backup: Callable[[Key], None]
    instance: Callable[[Key], None]
    schedule: Callable[[Key], None]


@dataclass
class Memory:
    """What is known of one object beside the stores."""

    uid: str = ""
    failure: ActFailure | None = None
    namespace_terminating: bool = False


class BackupCache:
    """The stores of the four kinds.

    `restoring` gives the instances of a namespace that are to be restored and have no data yet.
    `operations` is the store of those, which the verifications of Backups are among.
    """

    def __init__(
        self,
        wakes: Wakes,
        restoring: Callable[[str], list[Key]],
        operations: Store[Operation | None],
    ) -> None:
        self._wakes = wakes
        self._restoring = restoring
        self._memories: dict[tuple[str, Key], Memory] = {}
        self._storage_marks: Marks[BackupStorage | None, Key] = Marks(
            _storage_mark, self._storage_moved
        )
        self._by_namespace: Marks[Backup | None, str] = Marks(_backup_mark, self._backup_moved)
        self.storages: Store[BackupStorage | None] = Store(
            _storage, self._storage_changed, self._storage_marks
        )
        self._by_instance: Marks[Backup | None, Key] = Marks(_instance_mark)
        self.backups: Store[Backup | None] = Store(
            _backup, self._backup_changed, Both(self._by_instance, self._by_namespace)
        )
        self._schedules_in: Marks[BackupSchedule | None, str] = Marks(_schedule_mark)
        self.schedules: Store[BackupSchedule | None] = Store(
            _schedule, self._schedule_changed, self._schedules_in
        )
        self.workers: Store[WorkerFact] = Store(worker, self._worker_changed)
        self.stores: Mapping[str, Store[Any]] = {
            BACKUP_STORAGE.kind: self.storages,
            BACKUP.kind: self.backups,
            BACKUP_SCHEDULE.kind: self.schedules,
            POD.kind: self.workers,
            OPERATION.kind: operations,
        }

    def storage(self, key: Key) -> BackupStorage | None:
        return self.storages.get(key.namespace, key.name)

    def backup(self, key: Key) -> Backup | None:
        return self.backups.get(key.namespace, key.name)

    def schedule(self, key: Key) -> BackupSchedule | None:
        return self.schedules.get(key.namespace, key.name)

    def backups_in(self, namespace: str) -> tuple[Backup, ...]:
        """All readable ones, by name."""
        found = sorted(self._by_namespace[namespace].items())
        return tuple(backup for _, backup in found if backup is not None)

    def backups_of(self, instance: Key) -> tuple[Backup, ...]:
        """All readable ones that name the instance, by name."""
        found = sorted(self._by_instance[instance].items())
        return tuple(backup for _, backup in found if backup is not None)

    def schedules_of(self, instance: Key) -> tuple[BackupSchedule, ...]:
        """All readable ones that name the instance, by name."""
        found = sorted(self._schedules_in[instance.namespace].items())
        return tuple(
            schedule
            for _, schedule in found
            if schedule is not None and schedule.spec.instance_ref.name == instance.name
        )

    def running_in(self, namespace: str) -> tuple[str, ...]:
        """Ids of the backups that are being taken."""
        running = (b for b in self.backups_in(namespace) if b.status.phase is BackupPhase.RUNNING)
        return tuple(backup.metadata.uid for backup in running)

    def workers_of(self, key: Key, uid: str) -> tuple[WorkerFact, ...]:
        """The storage workers of one very object."""
        return tuple(w for w in self.workers.of(key).values() if w.owner_uid == uid)

    def restore_source(self, instance: DatabaseInstance) -> RestoreSource | None:
        """What the instance is to be restored from; None where it is to begin empty."""
        wanted, namespace = instance.spec.restore_from, instance.metadata.namespace or ""
        if wanted is None:
            return None
        report = instance.status.restore
        backup = None
        if wanted.backup_ref is not None:
            backup = self.backup(Key(namespace, wanted.backup_ref.name))
        name = report.storage if report is not None else None
        if name is None and wanted.location is not None:
            name = wanted.location.storage_ref.name
        if name is None and backup is not None:
            name = backup.spec.storage_ref.name
        storage = self.storage(Key(namespace, name)) if name is not None else None
        return RestoreSource(backup, storage, self.chain(namespace, backup))

    def source(self, key: Key) -> RestoreSource:
        """A Backup and the storage that it is in."""
        backup = self.backup(key)
        if backup is None:
            return RestoreSource()
        return RestoreSource(backup, self.storage(Key(key.namespace, backup.spec.storage_ref.name)))

    def chain(self, namespace: str, backup: Backup | None) -> Mapping[str, Backup]:
        """The parents of a backup that have Backups here, by path."""
        if backup is None or backup.status.parent is None:
            return {}
        by_path = {
            other.status.path: other
            for other in self.backups_in(namespace)
            if other.status.path is not None
            and other.spec.storage_ref.name == backup.spec.storage_ref.name
        }
        chain: dict[str, Backup] = {}
        path: str | None = backup.status.parent
        while path is not None and path in by_path and path not in chain:
            chain[path] = by_path[path]
            path = by_path[path].status.parent
        return chain

    # --- what act reports back -------------------------------------------------------------------
    def memory(self, kind: Kind, key: Key, uid: str) -> Memory:
        """The memory of this very object; what is known of an older one is forgotten."""
        memory = self._memories.setdefault((kind.kind, key), Memory(uid))
        if memory.uid != uid:
            memory = self._memories[kind.kind, key] = Memory(uid)
        return memory

    def forget(self, kind: Kind, key: Key) -> None:
        self._memories.pop((kind.kind, key), None)

    def wrote(self, key: Key, kind: Kind, obj: Object) -> None:
        """The API server's answer to a write."""
        del key
        self.stores[kind.kind].wrote(obj)

    def gone(self, key: Key, kind: Kind, name: str, uid: str) -> None:
        """There is no such object."""
        self.stores[kind.kind].wrote_deletion(key.namespace, name, uid)

    # --- whom a change concerns ------------------------------------------------------------------
    def instance_news(self, key: Key) -> None:
        """There is something new of an instance, its pod or its agent."""
        for ref, backup in self._by_namespace[key.namespace].items():
            if backup is None or backup.spec.instance_ref is None:
                continue
            of_it = backup.spec.instance_ref.name == key.name
            if of_it and (backup.status.phase not in FINISHED or _is_going(backup)):
                self._wakes.backup(ref)

    def _storage_changed(self, key: Key | None, _: object) -> None:
        if key is not None:
            self._wakes.storage(key)

    def _storage_moved(self, by: Key, _: Key) -> None:
        """Whether it can be used is another thing: who waits for it is woken."""
        for ref, backup in self._by_namespace[by.namespace].items():
            if backup is None or backup.spec.storage_ref.name != by.name:
                continue
            if backup.status.phase not in FINISHED or _is_going(backup):
                self._wakes.backup(ref)
        self._wake_restoring(by.namespace)

    def _schedule_changed(self, key: Key | None, schedule: BackupSchedule | None) -> None:
        if key is not None:
            self._wakes.schedule(key)
        if key is not None and schedule is not None:
            self._wakes.instance(Key(key.namespace, schedule.spec.instance_ref.name))

    def _backup_changed(self, key: Key | None, backup: Backup | None) -> None:
        if key is None:
            return
        self._wakes.backup(key)
        if not self.backups.knows(*key):
            self._wake_instance_of(backup)

    def _wake_instance_of(self, backup: Backup | None) -> None:
        """What it says of its backups may be another thing."""
        if backup is not None and backup.spec.instance_ref is not None:
            namespace = backup.metadata.namespace or ""
            self._wakes.instance(Key(namespace, backup.spec.instance_ref.name))

    def _backup_moved(self, namespace: str, ref: Key) -> None:
        """Those that wait for it, that it needs, or that knew of it as needing them."""
        changed = self.backup(ref)
        self._wake_instance_of(changed)
        for other_ref, other in self._by_namespace[namespace].items():
            if other is None or other_ref == ref:
                continue
            needed = changed is not None and other.status.path == changed.status.parent
            if other.status.phase not in FINISHED or needed or ref.name in other.status.children:
                self._wakes.backup(other_ref)
        for schedule in self._schedules_in[namespace]:
            self._wakes.schedule(schedule)
        self._wake_restoring(namespace)

    def _wake_restoring(self, namespace: str) -> None:
        for key in self._restoring(namespace):
            self._wakes.instance(key)

    def _worker_changed(self, key: Key | None, fact: WorkerFact) -> None:
        if key is None:
            return
        storage = self.storage(key)
        if storage is not None and storage.metadata.uid == fact.owner_uid:
            self._wakes.storage(key)
        else:
            self._wakes.backup(key)


class SecretReader:
    """Reads the Secrets of a storage by name."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api

    async def fact(self, namespace: str, spec: BackupStorageSpec) -> SecretsFact:
        """What is to be known of them. Raises the errors of KubeApi."""
        found, versions = await self.read(namespace, spec)
        revision = naming.short_hash("/".join(versions), 16)
        try:
            return SecretsFact(revision, open_secrets(spec, found).current_key)
        except UserError as error:
            return SecretsFact(revision, error=error)

    async def read(
        self, namespace: str, spec: BackupStorageSpec
    ) -> tuple[dict[str, SecretData | None], list[str]]:
        """Their data by name, and of each uid and version. Raises the errors of KubeApi."""
        found: dict[str, SecretData | None] = {}
        versions: list[str] = []
        for name in secret_names(spec):
            try:
                secret = await self._api.get(SECRET, namespace, name)
            except NotFoundError:
                found[name] = None
                versions.append(f"{name}=")
                continue
            metadata = secret["metadata"]
            found[name] = secret.get("data") or {}
            versions.append(f"{name}={metadata.get('uid')}:{metadata['resourceVersion']}")
        return found, versions


def _is_going(backup: Backup) -> bool:
    return backup.metadata.deletion_timestamp is not None


def _storage(obj: project.Json) -> tuple[BackupStorage | None, Key]:
    return project.resource(BackupStorage, obj), ref_of(obj)


def _backup(obj: project.Json) -> tuple[Backup | None, Key]:
    return project.resource(Backup, obj), ref_of(obj)


def _schedule(obj: project.Json) -> tuple[BackupSchedule | None, Key]:
    return project.resource(BackupSchedule, obj), ref_of(obj)


def _schedule_mark(schedule: BackupSchedule | None) -> Mark[str] | None:
    """By namespace."""
    return Mark(schedule.metadata.namespace or "") if schedule is not None else None


def _storage_mark(storage: BackupStorage | None) -> Mark[Key] | None:
    """By its own name; what counts is whether it can be used."""
    if storage is None:
        return None
    metadata = storage.metadata
    ready = by_type(storage.status.conditions).get("Ready")
    facts = (
        metadata.uid,
        metadata.generation,
        ready.status if ready is not None else None,
        ready.observed_generation if ready is not None else None,
    )
    return Mark(Key(metadata.namespace or "", metadata.name), facts)


def _instance_mark(backup: Backup | None) -> Mark[Key] | None:
    """By the instance that it names."""
    if backup is None or backup.spec.instance_ref is None:
        return None
    return Mark(Key(backup.metadata.namespace or "", backup.spec.instance_ref.name))


def _backup_mark(backup: Backup | None) -> Mark[str] | None:
    """By namespace; what counts is what others depend on."""
    if backup is None:
        return None
    status = backup.status
    facts = (
        backup.metadata.uid,
        status.phase,
        status.path,
        status.parent,
        _is_going(backup),
        backup.spec.keep,
        status.verified.time if status.verified is not None else None,
        bool(status.children),
    )
    return Mark(backup.metadata.namespace or "", facts)
