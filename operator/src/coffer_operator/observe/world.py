"""Assembles the World of one instance, or of one ConfigurationGroup, from the caches.

Reads the API server by name alone: Secrets that it has not looked at, a claim that informers do
not show though there was one, and what a watch may be behind with. Decides nothing.
"""

import asyncio
import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Protocol

from coffer_common import naming
from coffer_common.resources.backup import Backup
from coffer_common.resources.instance import DatabaseInstance
from coffer_common.resources.schedule import BackupSchedule
from coffer_operator.kube.api import (
    CONFIGURATION_GROUP,
    ENDPOINT_SLICE,
    INSTANCE,
    PVC,
    SECRET,
    STATEFUL_SET,
    Key,
    Kind,
    KubeApi,
    NotFoundError,
    Object,
)
from coffer_operator.observe import project
from coffer_operator.observe.agents import Agents
from coffer_operator.observe.cache import Cache, Memory
from coffer_operator.observe.project import Seen
from coffer_operator.observe.reread import reread
from coffer_operator.plan.world import (
    AgentFact,
    CertificateFact,
    GroupWorld,
    RestoreSource,
    SliceFact,
    StatefulSetFact,
    VolumeFact,
    World,
)

CERTIFICATE_FOR_S: Final = 120.0  # how long its Secret is believed to be there


class CertificateReader(Protocol):
    """What is to be known of certificates to see them; the issuer implements it."""

    @property
    def fingerprint(self) -> str:
        """Of the installation's CA."""
        ...

    def read(self, certificate: bytes, authority: bytes) -> CertificateFact | None:
        """The fact behind tls.crt and ca.crt (PEM); None if they are none."""
        ...


class BackupSources(Protocol):
    """What an instance is restored from, what its Operations load, and its own Backups."""

    def restore_source(self, instance: DatabaseInstance) -> RestoreSource | None: ...

    def source(self, key: Key) -> RestoreSource: ...

    def backups_of(self, instance: Key) -> tuple[Backup, ...]: ...

    def schedules_of(self, instance: Key) -> tuple[BackupSchedule, ...]: ...


@dataclass(frozen=True)
class Deployed:
    """What is known of the operator's own deployment."""

    operator_namespace: str
    pull_secrets: tuple[str, ...] = ()  # for guest images, by name in each namespace


class Observer:
    """Makes Worlds."""

    def __init__(
        self,
        api: KubeApi,
        cache: Cache,
        agents: Agents,
        certificates: CertificateReader,
        *,
        now: Callable[[], datetime],
        deployed: Deployed,
        backups: "BackupSources",
    ) -> None:
        self._api = api
        self._cache = cache
        self._agents = agents
        self._certificates = certificates
        self._now = now
        self._deployed = deployed
        self._backups = backups

    async def world(self, key: Key) -> World | None:
        """The World of an instance; None if there is no such instance (or none we can read).

        Raises the errors of KubeApi, from reading Secrets.
        """
        instance = self._cache.instance(key)
        if instance is None:
            return None
        memory = self._cache.memory_of(key, instance.metadata.uid)
        if instance.status.phase is None and not any(self._children(key)):
            self._looked_at_certificate(memory)  # new: there is none, or making one will tell
        if not memory.certificate_known or self._may_be_gone(key, memory):
            await self._look_at_certificate(key, memory)
        if instance.status.data_id is not None:
            await self._look_for_volume(key)
        return self._assemble(key, memory, instance, self._agents.fact(key))

    def group_world(self, key: Key) -> GroupWorld | None:
        """The World of a ConfigurationGroup; None if there is none (or none we can read)."""
        group = self._cache.group(key)
        if group is None:
            return None
        return GroupWorld(
            now=self._now(),
            group=group,
            catalogue=self._cache.catalogue(),
            members=self._cache.cohorts.members(key),
        )

    async def confirm(self, key: Key) -> bool:
        """Read the instance anew; whether it still is as the cache has it.

        A watch can lag, or have missed a deletion. Raises the errors of KubeApi.
        """
        same = await self.reread(INSTANCE, key)
        if self._cache.instances.knows(*key):
            self._cache.confirm(key)
        return same

    async def confirm_group(self, key: Key) -> bool:
        """The same for a ConfigurationGroup; whoever is concerned by a difference is woken."""
        if await self.reread(CONFIGURATION_GROUP, key):
            self._cache.confirm_group(key)
            return True
        self._cache.group_is_news(key)
        return False

    async def reread(self, kind: Kind, key: Key) -> bool:
        """Read a watched object anew into its cache; whether it is there and as it was.

        Raises the errors of KubeApi.
        """
        return await reread(self._api, self._cache.store(kind), kind, key)

    def forget(self, key: Key) -> None:
        """The instance is gone."""
        self._cache.forget(key)
        if self._cache.pod(key) is None:
            self._agents.forget(key)

    def _may_be_gone(self, key: Key, memory: Memory) -> bool:
        """Secrets are not watched: a pod on a node may be not ready for want of this one.

        A deleted namesake's goes by garbage collection, and takes the certificate with it.
        """
        secret = memory.certificate_secret
        if secret is not None and secret.child.owner_uid not in (None, memory.uid):
            return True
        pod = self._cache.pod(key)
        if pod is None or pod.node is None or pod.ready:
            return False
        age_s = asyncio.get_running_loop().time() - memory.certificate_read_at
        return age_s > CERTIFICATE_FOR_S

    def wrote_secret(self, key: Key, obj: Object) -> None:
        """The Secret with the agent's certificate, as it was read or written."""
        data = obj.get("data") or {}
        memory = self._cache.memory(key)
        self._looked_at_certificate(memory)
        memory.certificate_secret = project.child(SECRET.kind, obj)[0]
        memory.certificate = self._certificates.read(
            base64.b64decode(data.get("tls.crt", "")), base64.b64decode(data.get("ca.crt", ""))
        )

    @staticmethod
    def _looked_at_certificate(memory: Memory) -> None:
        memory.certificate_known = True
        memory.certificate_read_at = asyncio.get_running_loop().time()

    async def _look_at_certificate(self, key: Key, memory: Memory) -> None:
        try:
            found = await self._api.get(SECRET, key.namespace, naming.agent_tls(key.name))
        except NotFoundError:
            self._looked_at_certificate(memory)
            memory.certificate = memory.certificate_secret = None
            return
        if project.is_ours(found, key):
            self.wrote_secret(key, found)
        else:
            self._cache.found_foreign(key, SECRET.kind, found)
            self._looked_at_certificate(memory)
            memory.certificate = None

    async def _look_for_volume(self, key: Key) -> None:
        """A claim that had its labels taken off is not watched any more, and is not gone."""
        name = naming.data_volume(key.name)
        known = self._cache.children[PVC.kind].of(key)
        if name in known or (PVC.kind, name) in self._cache.foreign(key):
            return
        try:
            found = await self._api.get(PVC, key.namespace, name)
        except NotFoundError:
            return
        if project.is_ours(found, key):
            self._cache.children[PVC.kind].wrote(found)
        else:
            self._cache.found_foreign(key, PVC.kind, found)

    def _assemble(
        self, key: Key, memory: Memory, instance: DatabaseInstance, agent: AgentFact | None
    ) -> World:
        found = dict(self._children(key))
        if memory.certificate_secret is not None:
            found[SECRET.kind, naming.agent_tls(key.name)] = memory.certificate_secret
        found.update(self._cache.foreign(key))
        group = instance.status.group or key.name
        reference = instance.spec.configuration_ref
        stateful_set = _fact(found, STATEFUL_SET.kind, key.name)
        volume = _fact(found, PVC.kind, naming.data_volume(key.name))
        read_write = _fact(found, ENDPOINT_SLICE.kind, naming.read_write_slice(group))
        operations = tuple(
            sorted(
                (o for o in self._cache.operations.of(key).values() if o is not None),
                key=lambda o: (o.metadata.creation_timestamp or "", o.metadata.name),
            )
        )
        return World(
            now=self._now(),
            instance=instance,
            catalogue=self._cache.catalogue(),
            children={name: seen.child for name, seen in found.items()},
            stateful_set=stateful_set if isinstance(stateful_set, StatefulSetFact) else None,
            pod=self._cache.pod(key),
            volume=volume if isinstance(volume, VolumeFact) else None,
            read_write=read_write if isinstance(read_write, SliceFact) else None,
            agent=agent,
            certificate=memory.certificate,
            certificate_known=memory.certificate_known,
            ca_fingerprint=self._certificates.fingerprint,
            node_ready=self._cache.node_ready(key),
            operations=operations,
            configuration_group=self._cache.group(Key(key.namespace, reference.name))
            if reference is not None
            else None,
            cohort=self._cache.cohorts.cohort(key, instance),
            restore_source=self._backups.restore_source(instance),
            backup_sources={
                o.spec.backup_ref.name: self._backups.source(
                    Key(key.namespace, o.spec.backup_ref.name)
                )
                for o in operations
                if o.spec.backup_ref is not None and o.status.finished_at is None
            },
            backups=self._backups.backups_of(key),
            backup_schedules=self._backups.schedules_of(key),
            namespace_terminating=memory.namespace_terminating,
            failure=memory.failure,
            ensured_users=frozenset(memory.ensured_users),
            operator_namespace=self._deployed.operator_namespace,
            pull_secrets=self._deployed.pull_secrets,
        )

    def _children(self, key: Key) -> Iterator[tuple[tuple[str, str], Seen]]:
        for kind, store in self._cache.children.items():
            for name, seen in store.of(key).items():
                yield (kind, name), seen


def _fact(found: Mapping[tuple[str, str], Seen], kind: str, name: str) -> object:
    """The fact of a child; one that is not ours says so."""
    seen: Seen | None = found.get((kind, name))
    if seen is None:
        return None
    if isinstance(seen.fact, VolumeFact):
        return replace(seen.fact, ours=seen.child.ours)
    return seen.fact
