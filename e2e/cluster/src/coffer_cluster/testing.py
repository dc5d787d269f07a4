"""What tests in the cluster need again and again: a namespace of their own, probe pods, waits.

A `Bench` is one namespace. It speaks to the API server, by kubectl where that does something of
its own, and waits on what the API server says; it never looks behind it.
"""

import http
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from coffer_cluster.api import Api, ApiError
from coffer_cluster.cluster import Cluster
from coffer_cluster.waiting import wait_for

POD_TIMEOUT_S = 90
GONE_TIMEOUT_S = 90
#: A user and a group that nothing else has.
NON_ROOT_ID = 1999
DATA = "/data"
#: The kinds that tests here deal with, and where the API has them.
PLACES = {
    "configmap": "/api/v1/namespaces/{}/configmaps",
    "node": "/api/v1/nodes",
    "persistentvolume": "/api/v1/persistentvolumes",
    "persistentvolumeclaim": "/api/v1/namespaces/{}/persistentvolumeclaims",
    "pod": "/api/v1/namespaces/{}/pods",
    "service": "/api/v1/namespaces/{}/services",
    "storageclass": "/apis/storage.k8s.io/v1/storageclasses",
}


class Bench:
    """One namespace of a cluster, and what a test does in it."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.api = Api.direct(cluster.layout)

    def kubectl(self, *args: str, stdin: str | None = None, timeout_s: float = 60) -> str:
        return self.cluster.run_kubectl(
            f"--namespace={self.namespace}", *args, stdin=stdin, timeout_s=timeout_s
        )

    def _path(self, kind: str, name: str) -> str:
        return f"{PLACES[kind].format(self.namespace)}/{name}"

    def apply(self, *objects: dict[str, Any]) -> None:
        for content in objects:
            path = self._path(content["kind"].lower(), content["metadata"]["name"])
            self.api.apply(path, content)

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """The object, or None where there is none."""
        try:
            found: dict[str, Any] = self.api.get(self._path(kind, name))
        except ApiError as error:
            if error.status == http.HTTPStatus.NOT_FOUND:
                return None
            raise
        return found

    def delete(self, kind: str, name: str, *, force: bool = False) -> None:
        """Ask for the deletion; forced, nobody waits for the node's word."""
        query = "?gracePeriodSeconds=0" if force else ""
        self.api.request("DELETE", f"{self._path(kind, name)}{query}")

    def execute(self, pod: str, *argv: str) -> str:
        """Run the probe program in a pod, and return what it prints."""
        return self.kubectl("exec", pod, "--", "/probe", *argv)

    def find_pod(self, name: str) -> dict[str, Any] | None:
        found = self.api.find(self._path("pod", name))
        return found if isinstance(found, dict) else None

    def wait_for_pod(self, name: str, timeout_s: float = POD_TIMEOUT_S) -> str:
        """Until the pod is Ready; return its address."""
        return wait_for(
            f"pod {name} to be Ready",
            lambda: ready_address(self.find_pod(name)),
            timeout_s,
            detail=lambda: "; ".join(self.events_of(name)) or str(self.find_pod(name)),
        )

    def wait_gone(self, name: str, timeout_s: float = GONE_TIMEOUT_S) -> None:
        wait_for(f"pod {name} to be gone", lambda: self.find_pod(name) is None, timeout_s)

    def events_of(self, name: str) -> list[str]:
        """The messages of the events about the object of that name."""
        query = f"fieldSelector=involvedObject.name%3D{name}"
        events = self.api.get(f"/api/v1/namespaces/{self.namespace}/events?{query}")
        return [f"{item['reason']}: {item['message']}" for item in events["items"]]

    def run_probe(self, name: str, *args: str, **options: Any) -> str:
        """Make a probe pod, wait for it, and return its address."""
        self.apply(self.probe(name, *args, **options))
        return self.wait_for_pod(name)

    def probe(
        self,
        name: str,
        *args: str,
        node: str | None = None,
        claim: str | None = None,
        image: str | None = None,
    ) -> dict[str, Any]:
        """The manifest of a pod that runs the probe program, by default only waiting.

        With a claim it mounts that volume at /data, as a user that is not root.
        """
        container: dict[str, Any] = {
            "name": "probe",
            "image": image or self.cluster.probe_image,
            "args": list(args) or ["wait"],
        }
        spec: dict[str, Any] = {"containers": [container], "terminationGracePeriodSeconds": 2}
        if node:
            spec["nodeSelector"] = {"kubernetes.io/hostname": node}
        if claim:
            container["volumeMounts"] = [{"name": "data", "mountPath": DATA}]
            spec["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]
            spec["securityContext"] = {
                "runAsNonRoot": True,
                "runAsUser": NON_ROOT_ID,
                "runAsGroup": NON_ROOT_ID,
                "fsGroup": NON_ROOT_ID,
            }
        metadata = {"name": name, "labels": {"app": name}}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}

    def claim(
        self, name: str, size: str, *, storage_class: str | None = None, mode: str = "ReadWriteOnce"
    ) -> dict[str, Any]:
        spec: dict[str, Any] = {"accessModes": [mode], "resources": {"requests": {"storage": size}}}
        if storage_class:
            spec["storageClassName"] = storage_class
        return {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name},
            "spec": spec,
        }

    def service(self, name: str, app: str, port: int, *, headless: bool = False) -> dict[str, Any]:
        spec: dict[str, Any] = {"selector": {"app": app}, "ports": [{"port": port}]}
        if headless:
            spec["clusterIP"] = "None"
        return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def ready_address(pod: dict[str, Any] | None) -> str | None:
    """The pod's address if the pod is Ready and not about to go."""
    if pod is None or "deletionTimestamp" in pod["metadata"]:
        return None
    status = pod.get("status", {})
    conditions = {c["type"]: c["status"] for c in status.get("conditions", [])}
    return status.get("podIP") if conditions.get("Ready") == "True" else None


def new_bench(cluster: Cluster, prefix: str = "test") -> Bench:
    """A bench in a new namespace, which stays."""
    made = Bench(cluster, f"{prefix}-{secrets.token_hex(4)}")
    cluster.run_kubectl("create", "namespace", made.namespace)
    account = f"/api/v1/namespaces/{made.namespace}/serviceaccounts/default"
    wait_for("the service account of a new namespace", lambda: made.api.find(account), 30)
    return made


@contextmanager
def bench(cluster: Cluster, prefix: str = "test") -> Iterator[Bench]:
    """A bench in a new namespace, which is deleted again in the background."""
    made = new_bench(cluster, prefix)
    try:
        yield made
    finally:
        cluster.run_kubectl("delete", "namespace", made.namespace, "--wait=false")
