"""Carries out errands: for BackupStorages, Backups, their verifications and schedules.

Owns the making of storage workers and scratch instances, and the tasks that agents are asked for.
Decides nothing.
"""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from coffer_common import naming
from coffer_common.errors import Transient
from coffer_common.resources.base import Metadata, Resource
from coffer_operator.act.failure import StepError
from coffer_operator.act.journal import Writes
from coffer_operator.act.report import Reporter
from coffer_operator.act.step import Steps
from coffer_operator.act.tasks import call_task
from coffer_operator.build.listing import MAX_LOG_BYTES, listing_config_map
from coffer_operator.build.worker import CONTAINER, WorkerOrder, worker_pod
from coffer_operator.guest.api import AgentAddress, AgentClient, AgentUnreachableError
from coffer_operator.kube.api import (
    BACKUP,
    CONFIG_MAP,
    INSTANCE,
    OPERATION,
    POD,
    ConflictError,
    Key,
    Kind,
    KubeApi,
    NotFoundError,
    UnavailableError,
)
from coffer_operator.plan.errand import Collection, Errand, Removal, Verdict
from coffer_operator.plan.model import CancelTask, Delete, PutTask
from coffer_operator.plan.wording import name_taken
from coffer_operator.plan.world import PodFact

log = logging.getLogger(__name__)

_MADE: Final = {kind.kind: kind for kind in (INSTANCE, BACKUP, OPERATION)}  # their events wake


class ErrandRunner:
    """Carries out errands."""

    def __init__(
        self,
        api: KubeApi,
        agents: AgentClient,
        journal: Writes,
        reporter: Reporter,
        steps: Steps,
        *,
        pull_secrets: Sequence[str] = (),
    ) -> None:
        """`pull_secrets` are for the image of storage workers, by name in each namespace."""
        self._pull_secrets = tuple(pull_secrets)
        self._api = api
        self._agents = agents
        self._journal = journal
        self._reporter = reporter
        self._step = steps.step

    async def act(
        self, kind: Kind, about: Metadata, errand: Errand, at: tuple[str, PodFact | None]
    ) -> None:
        """Everything before the reports. `at`: instance and pod that calls go to.

        Events come before finalizers: without them the object may be gone. Raises StepError.
        """
        key = Key(about.namespace or "", about.name)
        if errand.finalizers is not None:
            await self._announce_if_possible(kind, about, errand)
            keep = partial(self._keep_finalizers, kind, about, errand.finalizers)
            await self._step("finalizers", keep, (kind, about.name))
        if errand.worker is not None:
            order = errand.worker
            await self._step(f"storage worker {order.name}", partial(self._employ, key, order))
        for obj in errand.creates:
            step = f"create {obj['kind']} {obj['metadata']['name']}"
            await self._step(step, partial(self._make, obj))
        for removal in errand.removals:
            remove = partial(self._remove, key.namespace, removal)
            await self._step(f"delete Backup {removal.name}", remove)
            tell = partial(self._reporter.announce, kind, about, removal.note)
            await self._step("event", tell)
        if errand.scratch is not None:
            name = errand.scratch["metadata"]["name"]
            await self._step(f"create DatabaseInstance {name}", partial(self._make, errand.scratch))
        if errand.unwanted is not None:
            gone = errand.unwanted
            await self._step(f"delete {gone.kind} {gone.name}", partial(self._unmake, key, gone))
        for call in errand.calls:
            step = f"task {call.kind}" if isinstance(call, PutTask) else "cancel task"
            await self._step(step, partial(self._call, key.namespace, call, at))
        if errand.verdict is not None:
            await self._pronounce(key.namespace, errand.verdict)
        if errand.collection is not None:
            collect = partial(self._collect, about, errand.collection)
            await self._step("keep the list", collect)

    async def _pronounce(self, namespace: str, verdict: Verdict) -> None:
        """The Event first: its name follows from the version that it speaks of."""
        about, present = verdict.backup.metadata, verdict.backup.status
        announce = partial(self._reporter.announce, BACKUP, about, verdict.note)
        await self._step("event", announce)
        key = Key(namespace, about.name)
        write = partial(self._reporter.patch_status, key, BACKUP, about, present, verdict.status)
        await self._step(f"verdict on Backup {about.name}", write, (BACKUP, about.name))

    async def report(self, kind: Kind, about: Metadata, present: Resource, errand: Errand) -> None:
        """Status, Events; then the workers whose answer the status holds. Raises StepError."""
        key = Key(about.namespace or "", about.name)
        if errand.status is not None:
            write = partial(self._reporter.patch_status, key, kind, about, present, errand.status)
            await self._step("status", write, (kind, about.name))
        await self._announce(kind, about, errand)
        for name, uid in errand.spent_workers:
            await self._step(f"delete Pod {name}", partial(self._dismiss, key, name, uid))
        if errand.expired:
            remove = partial(self._api.delete, kind, key.namespace, about.name, uid=about.uid)
            await self._step(f"delete {kind.kind} {about.name}", remove)

    async def _announce_if_possible(self, kind: Kind, about: Metadata, errand: Errand) -> None:
        """A namespace that is being deleted takes no Events, and must not wait for them."""
        try:
            await self._announce(kind, about, errand)
        except StepError as error:
            if not error.permanent:
                raise
            log.info("%s/%s: %s", about.namespace, about.name, error)

    async def _announce(self, kind: Kind, about: Metadata, errand: Errand) -> None:
        for note in errand.events:
            await self._step("event", partial(self._reporter.announce, kind, about, note))

    async def _keep_finalizers(
        self, kind: Kind, about: Metadata, finalizers: tuple[str, ...]
    ) -> None:
        """Only on the very version that the decision was taken from."""
        metadata: dict[str, Any] = {
            "resourceVersion": about.resource_version,
            "uid": about.uid,
            "finalizers": list(finalizers),
        }
        key = Key(about.namespace or "", about.name)
        try:
            live = await self._api.patch(kind, key.namespace, key.name, {"metadata": metadata})
        except NotFoundError:
            self._journal.gone(key, kind, about.name, about.uid)
            return
        self._journal.wrote(key, kind, live)

    async def _employ(self, key: Key, order: WorkerOrder) -> None:
        """The pod is made once; one that is there already is the same."""
        try:
            live = await self._api.create(POD, worker_pod(order, self._pull_secrets))
        except ConflictError:
            return  # the caches are behind: its event will come
        self._journal.wrote(key, POD, live)

    async def _make(self, obj: Mapping[str, Any]) -> None:
        """Made once; whose the one is that is there already, its event will tell."""
        try:
            await self._api.create(_MADE[obj["kind"]], dict(obj))
        except ConflictError:
            return

    async def _remove(self, namespace: str, removal: Removal) -> None:
        """Asks first: what keeps a Backup may have come since, and it cannot be taken back.

        The caches are not told: its event is what wakes the Backup. Raises Transient.
        """
        try:
            live = await self._api.get(BACKUP, namespace, removal.name)
        except NotFoundError:
            return
        if "deletionTimestamp" in live["metadata"]:
            return
        if live["metadata"]["resourceVersion"] != removal.resource_version:
            raise Transient(f"the Backup {removal.name} is another than it was")
        await self._api.delete(BACKUP, namespace, removal.name, uid=removal.uid)

    async def _collect(self, about: Metadata, collection: Collection) -> None:
        """What a worker has written, in a ConfigMap of the storage's."""
        namespace = about.namespace or ""
        try:
            text = await self._api.log(
                namespace, collection.worker, CONTAINER, limit_bytes=MAX_LOG_BYTES
            )
        except NotFoundError as error:
            raise UnavailableError(str(error)) from error  # another worker is going to be made
        wanted = listing_config_map(about, collection.request, text)
        try:
            await self._api.create(CONFIG_MAP, wanted)
        except ConflictError:
            name = wanted["metadata"]["name"]
            found = await self._api.get(CONFIG_MAP, namespace, name)
            owners = found["metadata"].get("ownerReferences") or ()
            if all(owner.get("uid") != about.uid for owner in owners):
                raise name_taken("ConfigMap", name) from None
            patch = {"metadata": {"uid": found["metadata"]["uid"]}, "data": wanted["data"]}
            await self._api.patch(CONFIG_MAP, namespace, name, patch)

    async def _unmake(self, key: Key, gone: Delete) -> None:
        await self._api.delete(INSTANCE, key.namespace, gone.name, uid=gone.uid)

    async def _dismiss(self, key: Key, name: str, uid: str) -> None:
        await self._api.delete(POD, key.namespace, name, uid=uid)

    async def _call(
        self, namespace: str, call: PutTask | CancelTask, at: tuple[str, PodFact | None]
    ) -> None:
        instance, pod = at
        if pod is None or pod.ip is None:
            raise AgentUnreachableError("the pod has no address")
        address = AgentAddress(pod.ip, naming.agent_host(instance, namespace))
        await call_task(self._api, self._agents, address, namespace, call)
