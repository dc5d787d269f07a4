"""How a simulated agent writes the -rw slice of its group."""

from dataclasses import dataclass
from typing import Any

from coffer_common import naming
from coffer_common.errors import CofferError
from coffer_operator.kube.api import ENDPOINT_SLICE
from sim_apiserver import ApiServer


@dataclass(frozen=True)
class PodIdentity:
    """Which pod a guest runs in."""

    namespace: str
    name: str
    uid: str
    node: str
    ip: str


@dataclass(frozen=True)
class SliceAddress:
    """Which slice, and the port that stands in it."""

    name: str
    port: int


def write_slice(
    server: ApiServer, pod: PodIdentity, at: SliceAddress, addresses: list[str]
) -> bool:
    """One checked patch; False where it has to be tried again."""
    live = server.peek(ENDPOINT_SLICE, pod.namespace, at.name)
    if live is None:
        return False
    endpoints = live.get("endpoints") or []
    target = (endpoints[0].get("targetRef") or {}).get("uid") if endpoints else None
    if not addresses and target != pod.uid:
        return True  # another pod's already
    patch = {
        "metadata": {
            "resourceVersion": live["metadata"]["resourceVersion"],
            "annotations": {naming.ANNOTATION_EPOCH: "0"},
        },
        "endpoints": [_endpoint(pod, address) for address in addresses],
        "ports": [{"name": "engine", "port": at.port, "protocol": "TCP"}],
    }
    try:
        server.patch(ENDPOINT_SLICE, pod.namespace, at.name, patch, manager="coffer-guest")
    except CofferError:
        return False
    return True


def _endpoint(pod: PodIdentity, address: str) -> dict[str, Any]:
    return {
        "addresses": [address],
        "conditions": {"ready": True},
        "nodeName": pod.node,
        "targetRef": {
            "kind": "Pod",
            "name": pod.name,
            "namespace": pod.namespace,
            "uid": pod.uid,
        },
    }
