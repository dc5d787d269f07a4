"""Tasks of agents, and the StorageAccess that goes into their requests and nowhere else."""

from collections.abc import Mapping

from coffer_common.resources.backup_storage import (
    BackupStorageSpec,
)
from coffer_common.wire import StorageAccess, TaskRequest
from coffer_operator.guest.api import AgentAddress, AgentClient
from coffer_operator.kube.api import SECRET, KubeApi, NotFoundError
from coffer_operator.plan.model import CancelTask, PutTask
from coffer_operator.plan.storage_secrets import (
    SecretData,
    open_secrets,
    secret_names,
    whole_access,
)


async def storage_access(api: KubeApi, namespace: str, spec: BackupStorageSpec) -> StorageAccess:
    """With credentials and keys as the Secrets hold them now.

    Raises UserError where they do not hold what they must, and the errors of KubeApi.
    """
    found: dict[str, SecretData | None] = {}
    for name in secret_names(spec):
        found[name] = await _data(api, namespace, name)
    return whole_access(spec, open_secrets(spec, found))


async def call_task(
    api: KubeApi, agents: AgentClient, at: AgentAddress, namespace: str, call: PutTask | CancelTask
) -> None:
    """Ask an agent for a task, or for the end of one.

    Raises UserError where the storage's Secrets cannot be used, the errors of agents and KubeApi.
    """
    if isinstance(call, CancelTask):
        await agents.cancel_task(at, call.id)
        return
    payload = dict(call.payload)
    if call.storage is not None:
        access = await storage_access(api, namespace, call.storage)
        payload["storage"] = access.model_dump(mode="json")
    await agents.put_task(at, call.id, TaskRequest(kind=call.kind, payload=payload))


async def _data(api: KubeApi, namespace: str, name: str) -> Mapping[str, str] | None:
    try:
        return (await api.get(SECRET, namespace, name)).get("data") or {}
    except NotFoundError:
        return None
