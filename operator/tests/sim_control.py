"""The controllers of Kubernetes that a database's objects meet, in virtual time.

Each is level-triggered: a change of what it watches pokes a key, and after a delay the key is
reconciled from what is stored then. Only the StatefulSet controller looks at what it saw a while
ago, as the real one does from its cache.
"""

import asyncio
import hashlib
from collections.abc import Callable
from typing import Final

from coffer_operator.kube.api import (
    EVENT,
    NODE,
    POD,
    PVC,
    STATEFUL_SET,
    STORAGE_CLASS,
    ConflictError,
    Kind,
    Object,
)
from sim_apiserver import NAMESPACE, PVC_PROTECTION, ApiServer, Deletion
from sim_disks import Disks
from sim_watch import Change

Key = tuple[str, str]  # namespace, name
Delay = Callable[[], float]

NAMESPACE_FINALIZER: Final = "kubernetes"
_MANAGER: Final = "kube-controller-manager"


class Controller:
    """Keys that were poked, each reconciled once after a delay."""

    def __init__(self, server: ApiServer, delay_s: Delay) -> None:
        self.server = server
        self._delay_s = delay_s
        self._poked: set[Key] = set()
        server.listeners.append(self.heard)

    def heard(self, kind: Kind, change: Change) -> None:
        raise NotImplementedError

    def reconcile(self, namespace: str, name: str) -> None:
        raise NotImplementedError

    def poke(self, namespace: str, name: str, delay_s: float | None = None) -> None:
        key = (namespace, name)
        if key not in self._poked:
            self._poked.add(key)
            wait_s = self._delay_s() if delay_s is None else delay_s
            asyncio.get_running_loop().call_later(wait_s, self._run, key)

    def _run(self, key: Key) -> None:
        self._poked.discard(key)
        self.reconcile(*key)


class StatefulSets(Controller):
    """One pod per StatefulSet, never replaced because of its template (OnDelete)."""

    def __init__(self, server: ApiServer, delay_s: Delay) -> None:
        super().__init__(server, delay_s)
        self._seen: dict[Key, Object] = {}

    def heard(self, kind: Kind, change: Change) -> None:
        metadata = change.shown["metadata"]
        if kind == STATEFUL_SET:
            key = (metadata["namespace"], metadata["name"])
            loop = asyncio.get_running_loop()
            loop.call_later(self._delay_s(), self._saw, key, change.shown, change.after is None)
        elif kind == POD:
            for owner in metadata.get("ownerReferences", ()):
                if owner["kind"] == "StatefulSet":
                    self.poke(metadata["namespace"], owner["name"])

    def _saw(self, key: Key, obj: Object, gone: bool) -> None:
        known = self._seen.get(key)
        if known is not None and _version(known) > _version(obj):
            return
        if gone:
            self._seen.pop(key, None)
        else:
            self._seen[key] = obj
            self.reconcile(*key)

    def reconcile(self, namespace: str, name: str) -> None:
        wanted = self._seen.get((namespace, name))
        live = self.server.peek(STATEFUL_SET, namespace, name)
        if wanted is None or live is None or "deletionTimestamp" in live["metadata"]:
            return
        if live["metadata"]["uid"] != wanted["metadata"]["uid"]:
            return
        pod = self.server.peek(POD, namespace, f"{name}-0")
        if wanted["spec"]["replicas"] == 0:
            if pod is not None and "deletionTimestamp" not in pod["metadata"]:
                self.server.delete(POD, namespace, f"{name}-0")
        elif pod is None:
            self._make_pod(wanted)
        elif pod["status"]["phase"] in ("Failed", "Succeeded"):
            self.server.delete(POD, namespace, f"{name}-0")
        self._write_status(live, wanted)

    def _make_pod(self, owner: Object) -> None:
        template, metadata = owner["spec"]["template"], owner["metadata"]
        name = f"{metadata['name']}-0"
        own = template.get("metadata") or {}
        try:
            self.server.create(
                POD,
                {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": {
                        "name": name,
                        "namespace": metadata["namespace"],
                        "labels": {
                            **(own.get("labels") or {}),
                            "controller-revision-hash": _revision(owner),
                            "statefulset.kubernetes.io/pod-name": name,
                        },
                        "annotations": own.get("annotations") or {},
                        "ownerReferences": [
                            {
                                "apiVersion": "apps/v1",
                                "kind": "StatefulSet",
                                "name": metadata["name"],
                                "uid": metadata["uid"],
                                "controller": True,
                                "blockOwnerDeletion": True,
                            }
                        ],
                    },
                    "spec": template["spec"],
                },
                _MANAGER,
            )
        except ConflictError:
            return  # it is there: the event that says so is on its way

    def _write_status(self, live: Object, wanted: Object) -> None:
        pod = self.server.peek(POD, live["metadata"]["namespace"], f"{live['metadata']['name']}-0")
        ready = pod is not None and _is_ready(pod)
        status = {
            "observedGeneration": wanted["metadata"]["generation"],
            "replicas": int(pod is not None),
            "readyReplicas": int(ready),
            "availableReplicas": int(ready),
            "updateRevision": _revision(wanted),
            "currentRevision": (live.get("status") or {}).get("currentRevision")
            or _revision(wanted),
            "collisionCount": 0,
        }
        self.server.replace(STATEFUL_SET, {**live, "status": status}, _MANAGER, "status")


def _version(obj: Object) -> int:
    return int(obj["metadata"]["resourceVersion"])


def _is_ready(pod: Object) -> bool:
    return any(
        c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ())
    )


def _revision(owner: Object) -> str:
    annotations = owner["spec"]["template"]["metadata"].get("annotations", {})
    text = repr(sorted(annotations.items()))  # where Coffer has the template's hash
    return f"{owner['metadata']['name']}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


class Claims(Controller):
    """Binds volume claims to new disks, and holds them while a pod uses them."""

    def __init__(self, server: ApiServer, delay_s: Delay, disks: Disks) -> None:
        super().__init__(server, delay_s)
        self._disks = disks

    def heard(self, kind: Kind, change: Change) -> None:
        metadata = change.shown["metadata"]
        if kind == PVC:
            if change.after is None:
                self._disks.claim_deleted(metadata["uid"])
            else:
                self.poke(metadata["namespace"], metadata["name"])
        elif kind == POD:
            for claim in claims_of(change.shown):
                self.poke(metadata["namespace"], claim)

    def reconcile(self, namespace: str, name: str) -> None:
        claim = self.server.peek(PVC, namespace, name)
        if claim is None:
            return
        if "deletionTimestamp" in claim["metadata"]:
            self._release(claim)
        elif claim["status"].get("phase") == "Pending":
            self._bind(claim)

    def _bind(self, claim: Object) -> None:
        storage_class = claim["spec"].get("storageClassName") or self._default_class()
        if storage_class is None or self.server.peek(STORAGE_CLASS, None, storage_class) is None:
            self.poke(claim["metadata"]["namespace"], claim["metadata"]["name"], 30.0)
            return
        disk = self._disks.new(claim["metadata"]["uid"])
        spec = {**claim["spec"], "storageClassName": storage_class, "volumeName": disk.name}
        status = {
            "phase": "Bound",
            "accessModes": claim["spec"]["accessModes"],
            "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
        }
        self.server.replace(PVC, {**claim, "spec": spec, "status": status}, _MANAGER)

    def _default_class(self) -> str | None:
        for found in self.server.every(STORAGE_CLASS):
            annotations = found["metadata"].get("annotations") or {}
            if annotations.get("storageclass.kubernetes.io/is-default-class") == "true":
                return str(found["metadata"]["name"])
        return None

    def _release(self, claim: Object) -> None:
        metadata = claim["metadata"]
        used = any(
            "nodeName" in pod["spec"] and metadata["name"] in claims_of(pod)
            for pod in self.server.every(POD, metadata["namespace"])
        )
        finalizers = [f for f in metadata.get("finalizers", ()) if f != PVC_PROTECTION]
        if not used and len(finalizers) < len(metadata.get("finalizers", ())):
            after = {**claim, "metadata": {**metadata, "finalizers": finalizers}}
            self.server.replace(PVC, after, _MANAGER)


def claims_of(pod: Object) -> list[str]:
    """Names of the volume claims that a pod uses."""
    return [
        volume["persistentVolumeClaim"]["claimName"]
        for volume in pod["spec"].get("volumes", ())
        if "persistentVolumeClaim" in volume
    ]


class Namespaces(Controller):
    """Empties namespaces that are being deleted, and lets them go."""

    def heard(self, kind: Kind, change: Change) -> None:
        metadata = change.shown["metadata"]
        name = metadata["name"] if kind == NAMESPACE else metadata.get("namespace")
        home = self.server.peek(NAMESPACE, None, name) if name else None
        if home is not None and "deletionTimestamp" in home["metadata"]:
            self.poke("", name)

    def reconcile(self, namespace: str, name: str) -> None:
        home = self.server.peek(NAMESPACE, None, name)
        if home is None:
            return
        left = [
            (kind, obj)
            for kind, obj in self.server.everything()
            if kind.namespaced and obj["metadata"].get("namespace") == name and kind != EVENT
        ]
        for kind, obj in left:
            metadata = obj["metadata"]
            if "deletionTimestamp" not in metadata:
                self.server.delete(kind, name, metadata["name"], Deletion(uid=metadata["uid"]))
        if not left:
            self.server.replace(
                NAMESPACE, {**home, "metadata": {**home["metadata"], "finalizers": []}}
            )


class NodeLifecycle:
    """Marks nodes that are silent, and later deletes their pods (which then wait for the node)."""

    GRACE_S: Final = 40.0
    TOLERATION_S: Final = 300.0

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._silent: dict[str, asyncio.TimerHandle] = {}

    def lost(self, node: str) -> None:
        """The node's kubelet reports no more."""
        self.back(node, report=False)
        loop = asyncio.get_running_loop()
        self._silent[node] = loop.call_later(self.GRACE_S, self._not_ready, node)

    def back(self, node: str, *, report: bool = True) -> None:
        """The node's kubelet reports again."""
        timer = self._silent.pop(node, None)
        if timer is not None:
            timer.cancel()
        if report:
            self._condition(node, "True")

    def _not_ready(self, node: str) -> None:
        self._condition(node, "Unknown")
        for pod in self._pods(node):
            conditions = [
                {**c, "status": "False"} if c["type"] == "Ready" else c
                for c in pod["status"].get("conditions", ())
            ]
            status = {**pod["status"], "conditions": conditions}
            self._server.replace(POD, {**pod, "status": status}, _MANAGER, "status")
        loop = asyncio.get_running_loop()
        self._silent[node] = loop.call_later(self.TOLERATION_S, self._evict, node)

    def _evict(self, node: str) -> None:
        for pod in self._pods(node):
            if "deletionTimestamp" not in pod["metadata"]:
                self._server.delete(POD, pod["metadata"]["namespace"], pod["metadata"]["name"])

    def _pods(self, node: str) -> list[Object]:
        return [pod for pod in self._server.every(POD) if pod["spec"].get("nodeName") == node]

    def _condition(self, node: str, status: str) -> None:
        obj = self._server.peek(NODE, None, node)
        if obj is not None:
            conditions = [{"type": "Ready", "status": status, "reason": "Simulated"}]
            self._server.replace(NODE, {**obj, "status": {"conditions": conditions}}, _MANAGER)
