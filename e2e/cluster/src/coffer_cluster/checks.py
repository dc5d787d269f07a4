"""Is the cluster fit for use? Asked the way its users will: from the machine and from pods."""

import datetime
import http.client
import urllib.parse
from typing import Any

from coffer_cluster import images
from coffer_cluster.addresses import S3_PORT
from coffer_cluster.api import Api, ApiError
from coffer_cluster.binaries import PROBE
from coffer_cluster.errors import ClusterError
from coffer_cluster.layout import Layout
from coffer_cluster.node import Node
from coffer_cluster.objects import CSI_DRIVER
from coffer_cluster.waiting import wait_for

NAMESPACE = "kube-system"
PROBE_PORT = 8080
READY_TIMEOUT_S = 60
CONNECT_TIMEOUT_S = 60
HTTP_TIMEOUT_S = 5


def wait_for_nodes(
    layout: Layout, nodes: list[Node], since: datetime.datetime | None = None
) -> None:
    """Until each node is Ready, can hold volumes, and pods may be made.

    With `since`, its kubelet must have been heard of after that: "Ready" is what it said last.
    """
    api = Api.direct(layout)
    for node in nodes:
        if since is not None:
            _wait_for_word(api, node, since)
        _wait_for_node(api, node)
    for namespace in ("default", NAMESPACE):
        _wait_for_account(api, namespace)


def _wait_for_node(api: Api, node: Node) -> None:
    wait_for(
        f"node {node.name} to be Ready",
        lambda: _node_ready(api, node.name),
        READY_TIMEOUT_S,
        detail=lambda: node.sandbox.log_tail("kubelet"),
    )
    wait_for(
        f"the storage driver on {node.name}",
        lambda: _has_driver(api, node.name),
        READY_TIMEOUT_S,
        detail=lambda: node.sandbox.log_tail("csi"),
    )


def _wait_for_word(api: Api, node: Node, since: datetime.datetime) -> None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{node.name}"

    def heard_of() -> bool:
        renewed = ((api.find(path) or {}).get("spec") or {}).get("renewTime")
        return renewed is not None and datetime.datetime.fromisoformat(renewed) > since

    wait_for(
        f"word of {node.name}",
        heard_of,
        READY_TIMEOUT_S,
        detail=lambda: node.sandbox.log_tail("kubelet"),
    )


def _wait_for_account(api: Api, namespace: str) -> None:
    """A pod made before its namespace has a service account is refused."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
    wait_for(f"the service account of {namespace}", lambda: api.find(path), READY_TIMEOUT_S)


def _node_ready(api: Api, name: str) -> bool:
    node = api.find(f"/api/v1/nodes/{name}")
    if node is None:
        return False
    conditions = {c["type"]: c["status"] for c in node["status"].get("conditions", [])}
    # Its taint is taken away a moment after it is Ready; until then no pod is put there.
    tainted = any(
        t["key"] == "node.kubernetes.io/not-ready" for t in node["spec"].get("taints", [])
    )
    return conditions.get("Ready") == "True" and not tainted


def _has_driver(api: Api, name: str) -> bool:
    found = api.find(f"/apis/storage.k8s.io/v1/csinodes/{name}")
    drivers = (found or {}).get("spec", {}).get("drivers") or []
    return any(driver["name"] == CSI_DRIVER for driver in drivers)


def wait_for_connections(layout: Layout, nodes: list[Node]) -> None:
    """Until a ClusterIP answers from the machine, the control plane, and a pod of each node."""
    service = Api.through_service(layout)
    wait_for("ClusterIPs from the machine", lambda: service.ready, CONNECT_TIMEOUT_S)
    url = f"https://{layout.plan.api_service}/livez"
    wait_for(
        "ClusterIPs from the control plane",
        lambda: _fetches(layout, url),
        CONNECT_TIMEOUT_S,
        detail=lambda: layout.control_plane.log_tail("kube-proxy"),
    )
    api = Api.direct(layout)
    for node in nodes:
        _create_probe(api, node)
    try:
        for node in nodes:
            _check_from_pod(api, node)
    finally:
        for node in nodes:
            _delete_probe(api, node)


def _fetches(layout: Layout, url: str) -> bool:
    try:
        layout.control_plane.execute([PROBE.path, "get", url])
    except ClusterError:
        return False
    return True


def _probe_name(node: Node) -> str:
    return f"cluster-check-{node.name}"


def _create_probe(api: Api, node: Node) -> None:
    _delete_probe(api, node)
    container = {
        "name": "probe",
        "image": images.probe_image(),
        "args": ["serve", f":{PROBE_PORT}"],
        "imagePullPolicy": "Never",
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": _probe_name(node)},
        "spec": {
            "nodeName": node.name,
            "containers": [container],
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
        },
    }
    wait_for(
        f"the check pod of {node.name} to be accepted",
        lambda: _created(api, pod),
        CONNECT_TIMEOUT_S,
    )


def _created(api: Api, pod: dict[str, Any]) -> bool:
    try:
        api.request("POST", f"/api/v1/namespaces/{NAMESPACE}/pods", pod)
    except ApiError as error:
        if error.status == http.HTTPStatus.CONFLICT:
            return False  # the one of an earlier check is still being deleted
        raise
    return True


def _delete_probe(api: Api, node: Node) -> None:
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{_probe_name(node)}?gracePeriodSeconds=0"
    try:
        api.request("DELETE", path)
    except ApiError as error:
        if error.status != http.HTTPStatus.NOT_FOUND:
            raise


def _check_from_pod(api: Api, node: Node) -> None:
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{_probe_name(node)}"
    address = wait_for(
        f"a pod to run on {node.name}",
        lambda: _running_address(api.find(path)),
        READY_TIMEOUT_S,
        detail=lambda: node.sandbox.log_tail("kubelet"),
    )
    # By name: this asks the cluster's DNS as well.
    for url in ("https://kubernetes.default.svc/livez", f"http://s3.default:{S3_PORT}/"):
        _wait_for_fetch(node, address, url)


def _wait_for_fetch(node: Node, address: str, url: str) -> None:
    wait_for(
        f"{url} from a pod on {node.name}",
        lambda: _fetched_by(address, url),
        CONNECT_TIMEOUT_S,
        every_s=0.1,
    )


def _running_address(pod: Any | None) -> str | None:
    status = (pod or {}).get("status", {})
    return status.get("podIP") if status.get("phase") == "Running" else None


def _fetched_by(address: str, url: str) -> bool:
    """Ask the probe in a pod, from the machine, to fetch the URL."""
    connection = http.client.HTTPConnection(address, PROBE_PORT, timeout=HTTP_TIMEOUT_S)
    try:
        connection.request("GET", f"/fetch?{urllib.parse.urlencode({'url': url})}")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
