"""What tests in the cluster need again and again: a namespace of their own, probe pods, waits.

A `Bench` is one namespace. It speaks through kubectl, as people do, and waits on what the API
server says; it never looks behind it.
"""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from coffer_cluster.api import Api
from coffer_cluster.cluster import Cluster
from coffer_cluster.waiting import wait_for

POD_TIMEOUT_S = 40
GONE_TIMEOUT_S = 40
#: A user and a group that nothing else has.
NON_ROOT_ID = 1999
DATA = "/data"


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

    def apply(self, *objects: dict[str, Any]) -> None:
        document = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "-f", "-", stdin=json.dumps(document))

    def get(self, resource: str, name: str) -> dict[str, Any] | None:
        """The object, or None where there is none."""
        output = self.kubectl("get", resource, name, "--ignore-not-found", "-o", "json")
        return json.loads(output) if output else None

    def delete(self, resource: str, name: str, *, force: bool = False) -> None:
        options = ["--grace-period=0", "--force"] if force else []
        self.kubectl("delete", resource, name, "--ignore-not-found", "--wait=false", *options)

    def execute(self, pod: str, *argv: str) -> str:
        """Run the probe program in a pod, and return what it prints."""
        return self.kubectl("exec", pod, "--", "/probe", *argv)

    def find_pod(self, name: str) -> dict[str, Any] | None:
        found = self.api.find(f"/api/v1/namespaces/{self.namespace}/pods/{name}")
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
        output = self.kubectl(
            "get", "events", f"--field-selector=involvedObject.name={name}", "-o", "json"
        )
        return [f"{item['reason']}: {item['message']}" for item in json.loads(output)["items"]]

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


@contextmanager
def bench(cluster: Cluster, prefix: str = "test") -> Iterator[Bench]:
    """A bench in a new namespace, which is deleted again in the background."""
    made = Bench(cluster, f"{prefix}-{secrets.token_hex(4)}")
    cluster.run_kubectl("create", "namespace", made.namespace)
    account = f"/api/v1/namespaces/{made.namespace}/serviceaccounts/default"
    wait_for("the service account of a new namespace", lambda: made.api.find(account), 30)
    try:
        yield made
    finally:
        delete = ["delete", "namespace", made.namespace, "--wait=false"]
        cluster.run_kubectl(*delete)
