"""What the end-to-end tests say to a cluster: kubectl, waits on conditions, a database client.

Owns no cluster and makes no decision; every wait has a deadline and says what it last saw.
"""

import base64
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import pymysql
import yaml

from coffer_cluster.api import Api, ApiError

Object = dict[str, Any]
T = TypeVar("T")
NOT_FOUND = 404
_CORE = "/api/v1/{}/"
_OURS = "/apis/coffer.dev/v1alpha1/{}/"
PATHS = {
    "databaseinstance": _OURS + "databaseinstances",
    "configurationgroup": _OURS + "configurationgroups",
    "operation": _OURS + "operations",
    "backup": _OURS + "backups",
    "backupschedule": _OURS + "backupschedules",
    "backupstorage": _OURS + "backupstorages",
    "datastoreversion": "/apis/coffer.dev/v1alpha1/datastoreversions",
    "flavor": "/apis/coffer.dev/v1alpha1/flavors",
    "namespace": "/api/v1/namespaces",
    "pod": _CORE + "pods",
    "service": _CORE + "services",
    "configmap": _CORE + "configmaps",
    "secret": _CORE + "secrets",
    "persistentvolumeclaim": _CORE + "persistentvolumeclaims",
    "serviceaccount": _CORE + "serviceaccounts",
    "event": _CORE + "events",
    "statefulset": "/apis/apps/v1/{}/statefulsets",
    "endpointslice": "/apis/discovery.k8s.io/v1/{}/endpointslices",
    "networkpolicy": "/apis/networking.k8s.io/v1/{}/networkpolicies",
    "role": "/apis/rbac.authorization.k8s.io/v1/{}/roles",
    "rolebinding": "/apis/rbac.authorization.k8s.io/v1/{}/rolebindings",
    "webhook": "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
}
CLUSTER_WIDE = ("datastoreversion", "flavor", "namespace", "webhook")
WRITE_S = 60.0  # as long as for kubectl: nobody sends a write again, and webhooks may be slow
PATIENCE = 2  # times every limit: clusters share the machine, and a limit only ends what hangs
_POLL_S, _LONG_POLL_S, _POLL_PART = 0.05, 0.25, 0.05  # a twentieth of the time waited so far


class Refused(AssertionError):
    """kubectl or the API server would not; the text is what it said."""


@dataclass(frozen=True)
class Kube:
    """One cluster: kubectl for what people type, its API for what tests say again and again."""

    kubectl: Path
    kubeconfig: Path
    api: Api

    def run(self, *args: str, stdin: str | None = None, timeout_s: float = 60) -> str:
        """Output of `kubectl args`; Refused with its message where it fails."""
        done = subprocess.run(
            [str(self.kubectl), "--kubeconfig", str(self.kubeconfig), *args],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if done.returncode:
            raise Refused(done.stderr.strip() or done.stdout.strip())
        return done.stdout

    def kubectl_apply(self, *objects: Mapping[str, Any], namespace: str | None = None) -> str:
        """As people do it, with what they get to read."""
        where = ["-n", namespace] if namespace else []
        text = yaml.safe_dump_all([dict(o) for o in objects])
        return self.run("apply", *where, "-f", "-", stdin=text)

    def apply(self, *objects: Mapping[str, Any], namespace: str = "") -> None:
        """Server-side apply, as GitOps tools do it; Refused where the API server would not."""
        for obj in objects:
            where = collection(obj["kind"].lower(), namespace)
            name = obj["metadata"]["name"]
            query = "fieldManager=e2e&force=true&fieldValidation=Strict"
            self._send("PATCH", f"{where}/{name}?{query}", obj, "application/apply-patch+yaml")

    def create(self, obj: Mapping[str, Any], namespace: str = "", *, dry: bool = False) -> Object:
        """The object as stored, or as it would be; Refused where the API server would not."""
        query = "fieldValidation=Strict" + dry * "&dryRun=All"
        made = self._send("POST", f"{collection(obj['kind'].lower(), namespace)}?{query}", obj)
        return dict(made)

    def patch(
        self, kind: str, name: str, namespace: str, content: Any, *, dry: bool = False
    ) -> None:
        """A merge patch, or a JSON patch where the content is a list of changes."""
        how = "json-patch" if isinstance(content, list) else "merge-patch"
        query = "?dryRun=All" if dry else ""
        where = f"{collection(kind, namespace)}/{name}{query}"
        self._send("PATCH", where, content, f"application/{how}+json")

    def delete(self, kind: str, name: str, namespace: str = "") -> None:
        """Begin a deletion in the background; Refused where the API server would not."""
        where = f"{collection(kind, namespace)}/{name}?propagationPolicy=Background"
        self._send("DELETE", where)

    def _send(
        self, method: str, path: str, content: Any = None, content_type: str = "application/json"
    ) -> Object:
        try:
            answer: Object = self.api.request(method, path, content, content_type, WRITE_S)
        except ApiError as error:
            if error.status == 0:
                raise
            raise Refused(str(error)) from None
        return answer

    def get(self, kind: str, name: str, namespace: str) -> Object | None:
        """The object, or None where there is none."""
        try:
            found: Object = self.api.get(f"{collection(kind, namespace)}/{name}")
        except ApiError as error:
            if error.status == NOT_FOUND:
                return None
            raise
        return found

    def items(self, kind: str, namespace: str, selector: str = "") -> list[Object]:
        """All objects of a kind in a namespace."""
        listed = self.api.get(f"{collection(kind, namespace)}?labelSelector={quote(selector)}")
        kind_name = str(listed["kind"]).removesuffix("List")
        return [{**item, "kind": kind_name} for item in listed["items"]]


def collection(kind: str, namespace: str) -> str:
    """The API's path of a kind's objects."""
    return PATHS[kind].format(f"namespaces/{namespace}")


def wait_until(what: str, check: Callable[[], T | None], timeout_s: float = 60) -> T:
    """The first truthy answer of `check`; AssertionError with the last one after `timeout_s`.

    `timeout_s` is what it may take on a machine that does nothing else.
    """
    began, timeout_s = time.monotonic(), timeout_s * PATIENCE
    last: object = None
    while (waited := time.monotonic() - began) < timeout_s:
        try:
            answer = check()
        except (Refused, ApiError, pymysql.MySQLError, OSError) as error:
            last = error
        else:
            if answer:
                return answer
            last = answer
        time.sleep(min(max(_POLL_S, waited * _POLL_PART), _LONG_POLL_S))
    raise AssertionError(f"not within {timeout_s:g} s: {what}; last seen: {last!r}")


def condition(obj: Object | None, kind: str) -> Object:
    """A condition of an object, {} where it has none of that type."""
    conditions = (obj or {}).get("status", {}).get("conditions", [])
    return next((c for c in conditions if c["type"] == kind), {})


OPERATOR_NAMESPACE = "coffer-system"


def operator_pods(kube: Kube) -> list[Object]:
    """Those that are not on their way out: none for a moment, between one and the next."""
    pods = kube.items("pod", OPERATOR_NAMESPACE, "app.kubernetes.io/component=operator")
    return [p for p in pods if "deletionTimestamp" not in p["metadata"]]


def operator_pod(kube: Kube) -> Object:
    """The one that there is, at a time when none is being replaced."""
    (pod,) = operator_pods(kube)
    return pod


@dataclass(frozen=True)
class Space:
    """A namespace of one test, with what the tests ask of it."""

    kube: Kube
    name: str

    def instance(self, name: str) -> Object | None:
        return self.kube.get("databaseinstance", name, self.name)

    def apply(self, *objects: Mapping[str, Any]) -> None:
        self.kube.apply(*objects, namespace=self.name)

    def kubectl(self, *args: str, stdin: str | None = None) -> str:
        """Output of kubectl in this namespace; Refused with its message where it fails."""
        return self.kube.run(*args, "-n", self.name, stdin=stdin)

    def kubectl_apply(self, *objects: Mapping[str, Any]) -> str:
        return self.kube.kubectl_apply(*objects, namespace=self.name)

    def patch(self, kind: str, name: str, content: Any) -> None:
        self.kube.patch(kind, name, self.name, content)

    def delete(self, kind: str, name: str) -> None:
        """Begin a deletion in the background."""
        self.kube.delete(kind, name, self.name)

    def delete_wait(self, kind: str, name: str, timeout_s: float = 60) -> None:
        """Delete, and wait until that one is gone, as kubectl does."""
        found = self.get(kind, name)
        assert found is not None, f"no {kind} {name}"
        uid = found["metadata"]["uid"]
        self.delete(kind, name)

        def gone() -> bool:
            now = self.get(kind, name)
            return now is None or now["metadata"]["uid"] != uid

        wait_until(f"{kind} {name} gone", gone, timeout_s)

    def get(self, kind: str, name: str) -> Object | None:
        return self.kube.get(kind, name, self.name)

    def wait_ready(self, name: str, timeout_s: float = 90) -> Object:
        """The instance, once Ready for the spec as it is now."""

        def ready() -> Object | None:
            obj = self.instance(name)
            if obj is None or condition(obj, "Ready").get("status") != "True":
                return None
            seen = obj["status"].get("observedGeneration")
            return obj if seen == obj["metadata"]["generation"] else None

        return wait_until(f"{name} Ready", ready, timeout_s)

    def wait_stalled(self, name: str, reason: str, timeout_s: float = 30) -> str:
        """The message of the Stalled condition, once it is there with that reason."""

        def stalled() -> Object | None:
            found = condition(self.instance(name), "Stalled")
            return found if found.get("reason") == reason else None

        return str(wait_until(f"{name} Stalled by {reason}", stalled, timeout_s)["message"])

    def pod_uid(self, instance: str) -> str | None:
        pod = self.get("pod", f"{instance}-0")
        return None if pod is None else str(pod["metadata"]["uid"])

    def running_pod(self, instance: str) -> Object:
        """The pod once kubelet tells that its containers run, which may be after Ready."""

        def running() -> Object | None:
            found = self.get("pod", f"{instance}-0")
            status = (found or {}).get("status", {})
            every = status.get("containerStatuses", []) + status.get("initContainerStatuses", [])
            all_run = len(every) > 1 and all("running" in one["state"] for one in every)
            return found if all_run else None

        return wait_until(f"the containers of {instance} run", running)

    def wait_new_pod(self, instance: str, old_uid: str | None) -> None:
        wait_until("a new pod", lambda: self.pod_uid(instance) not in (None, old_uid))

    def events(self, name: str) -> list[str]:
        """Reasons of the Events about an object."""
        found = self.kube.items("event", self.name)
        return [e["reason"] for e in found if e["involvedObject"]["name"] == name]

    def secret(self, name: str) -> dict[str, str]:
        obj = self.get("secret", name)
        assert obj is not None, f"no Secret {name}"
        return {k: base64.b64decode(v).decode() for k, v in obj["data"].items()}

    def service_ip(self, name: str) -> str:
        obj = self.get("service", name)
        assert obj is not None, f"no Service {name}"
        return str(obj["spec"]["clusterIP"])

    def exec(self, pod: str, container: str, *argv: str) -> str:
        return self.kube.run("exec", "-n", self.name, pod, "-c", container, "--", *argv)

    def mysql(self, instance: str, user: str) -> "pymysql.Connection[Any]":
        """A connection through <instance>-rw with the credentials of the binding Secret.

        kube-proxy takes up to a second to route to a new pod, so the first attempt may fail.
        """
        return wait_until(f"a connection to {instance}", lambda: self._mysql(instance, user), 20)

    def _mysql(self, instance: str, user: str) -> "pymysql.Connection[Any]":
        binding = self.secret(f"{instance}-{user}")
        return pymysql.connect(
            host=self.service_ip(f"{instance}-rw"),
            port=int(binding["port"]),
            user=binding["username"],
            password=binding["password"],
            database=binding["database"] or None,
            connect_timeout=5,
            autocommit=True,
        )


def query(connection: "pymysql.Connection[Any]", sql: str) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())
