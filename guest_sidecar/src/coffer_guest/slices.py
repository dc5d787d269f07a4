"""What the EndpointSlice behind `<group>-rw` should say of this pod, and the patch that says it.

Pure; endpoints talks to the API server.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from coffer_common import naming
from coffer_common.errors import Permanent
from coffer_guest.settings import Pod

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the slice is to say of this pod: that it serves at `port`, or nothing (None)."""

    namespace: str
    name: str
    port: int | None


def patch(found: Object, wanted: Wanted, pod: Pod, epoch: int) -> Object | None:
    """The merge patch that makes the slice as wanted; None where it is so already.

    An address of another pod is replaced by ours, but only ours is taken out. Raises Permanent
    where the slice bears a higher epoch: another member is the source now.
    """
    metadata = found["metadata"]
    seen = int((metadata.get("annotations") or {}).get(naming.ANNOTATION_EPOCH) or 0)
    endpoints = found.get("endpoints") or []
    if seen > epoch:
        raise Permanent(f"the slice bears epoch {seen}, ours is {epoch}")
    change: dict[str, Any]
    if wanted.port is None:
        if not any(_uid(endpoint) == pod.uid for endpoint in endpoints):
            return None
        change = {"endpoints": []}
    else:
        change = {
            "endpoints": [_endpoint(pod, wanted.namespace)],
            "ports": [{"name": "", "port": wanted.port, "protocol": "TCP"}],
        }
        same = [_essence(endpoint) for endpoint in endpoints] == [
            _essence(endpoint) for endpoint in change["endpoints"]
        ]
        ports = [port.get("port") for port in found.get("ports") or []]
        if same and ports == [wanted.port] and seen == epoch:
            return None
    change["metadata"] = {
        "resourceVersion": metadata["resourceVersion"],
        "annotations": {naming.ANNOTATION_EPOCH: str(epoch)},
    }
    return change


def _endpoint(pod: Pod, namespace: str) -> dict[str, Any]:
    return {
        "addresses": [pod.ip],
        "conditions": {"ready": True, "serving": True, "terminating": False},
        "nodeName": pod.node,
        "targetRef": {"kind": "Pod", "name": pod.name, "namespace": namespace, "uid": pod.uid},
    }


def _essence(endpoint: Object) -> tuple[object, ...]:
    ready = (endpoint.get("conditions") or {}).get("ready", True)
    return endpoint.get("addresses"), _uid(endpoint), endpoint.get("nodeName"), ready


def _uid(endpoint: Object) -> object:
    return (endpoint.get("targetRef") or {}).get("uid")
