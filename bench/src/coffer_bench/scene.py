"""The stage of all benchmarks: a cluster of their own with Coffer installed, and a client."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from coffer_bench import creation
from coffer_bench.processes import Usage, process_ids, usage
from coffer_cluster.cluster import Cluster
from coffer_cluster.target import Kind as ClusterKind
from coffer_cluster.target import Target as Wanted
from coffer_demo.install import Installed, install, reach
from coffer_demo.progress import Steps
from coffer_demo.target import NAMESPACE
from coffer_operator.kube.api import POD, KubeApi
from coffer_operator.kube.client import connect

TAG = "bench"
OPERATOR_ACCOUNT = f"system:serviceaccount:{NAMESPACE}:coffer"
_OPERATOR_LABELS = "app.kubernetes.io/component=operator"

Object = dict[str, Any]


@dataclass(frozen=True)
class Scene:
    """What a benchmark works with."""

    cluster: Cluster
    api: KubeApi
    installed: Installed

    @property
    def image(self) -> str:
        return self.installed.images["guest-mariadb"]

    def audit_position(self) -> int:
        """Where the audit log ends now, in bytes."""
        return self.cluster.layout.audit_log.stat().st_size

    async def operator_usage(self) -> Usage:
        """Memory and CPU of the operator's process."""
        pods = (await self.api.list_page(POD, label_selector=_OPERATOR_LABELS)).items
        (pod,) = [p for p in pods if "deletionTimestamp" not in p["metadata"]]
        return usage(process_ids(pod, "operator")[0])

    async def agent_usage(self, namespace: str, instance: str) -> Usage:
        """Memory and CPU of an instance's agent."""
        pod = await self.api.get(POD, namespace, f"{instance}-0")
        return usage(process_ids(pod, "guest")[0])


@asynccontextmanager
async def scene(*, keep: bool) -> AsyncIterator[Scene]:
    """A new cluster with Coffer, taken down at the end unless `keep`."""
    cluster = Cluster(TAG)
    installed = await asyncio.to_thread(_set, cluster)
    client = await connect(random.Random(), kubeconfig=str(cluster.kubeconfig))
    try:
        await creation.prepare(client)
        yield Scene(cluster, client, installed)
    finally:
        await client.close()
        if not keep:
            await asyncio.to_thread(cluster.down)


def _set(cluster: Cluster) -> Installed:
    cluster.down()
    wanted = Wanted(ClusterKind.EMBEDDED, TAG, str(cluster.kubeconfig))
    steps = Steps()
    target, _ = reach(wanted, steps)
    return install(target, wanted, steps)
