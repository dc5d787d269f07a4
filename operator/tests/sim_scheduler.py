"""The scheduler: gives pods a node that is ready, matches and has the memory."""

import functools

from coffer_common.quantity import parse_bytes
from coffer_operator.kube.api import NODE, POD, PVC, Kind, Object
from sim_control import Controller, claims_of
from sim_watch import Change

_size_bytes = functools.cache(parse_bytes)


def memory_bytes(pod: Object) -> int:
    """What a pod requests of memory; sidecars add up with the containers."""
    containers = [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]
    return sum(
        _size_bytes(container.get("resources", {}).get("requests", {}).get("memory", "0"))
        for container in containers
    )


class Scheduler(Controller):
    """Schedules; tells a pod why not in its condition."""

    def heard(self, kind: Kind, change: Change) -> None:
        if kind == POD and change.after is not None:
            if "nodeName" not in change.after["spec"]:
                metadata = change.after["metadata"]
                self.poke(metadata["namespace"], metadata["name"])
        elif kind in (POD, NODE, PVC):
            for pod in self.server.every(POD):
                if "nodeName" not in pod["spec"]:
                    self.poke(pod["metadata"]["namespace"], pod["metadata"]["name"])

    def reconcile(self, namespace: str, name: str) -> None:
        pod = self.server.peek(POD, namespace, name)
        if pod is None or "nodeName" in pod["spec"] or "deletionTimestamp" in pod["metadata"]:
            return
        node, why = self._choose(pod)
        condition = {"type": "PodScheduled", "status": "True"}
        spec = pod["spec"]
        if node is None:
            condition |= {"status": "False", "reason": "Unschedulable", "message": why}
        else:
            spec = {**spec, "nodeName": node}
        status = {**pod["status"], "conditions": [condition]}
        self.server.replace(POD, {**pod, "spec": spec, "status": status}, "kube-scheduler")

    def _choose(self, pod: Object) -> tuple[str | None, str]:
        namespace = pod["metadata"]["namespace"]
        for name in claims_of(pod):
            claim = self.server.peek(PVC, namespace, name)
            if claim is None:
                return None, f'persistentvolumeclaim "{name}" not found'
            if "deletionTimestamp" in claim["metadata"]:
                return None, f'persistentvolumeclaim "{name}" is being deleted'
            if claim["status"].get("phase") != "Bound":
                return None, f'persistentvolumeclaim "{name}" is not bound'
        fitting = [node for node in self.server.every(NODE) if self._fits(node, pod)]
        if not fitting:
            return None, "0/3 nodes are available: 3 Insufficient memory or no match"
        freest = max(fitting, key=lambda node: (self._free(node), node["metadata"]["name"]))
        return str(freest["metadata"]["name"]), ""

    def _fits(self, node: Object, pod: Object) -> bool:
        labels = node["metadata"].get("labels", {})
        ready = any(c["status"] == "True" for c in node["status"]["conditions"])
        matches = (pod["spec"].get("nodeSelector") or {}).items() <= labels.items()
        cordoned = node["spec"].get("unschedulable", False)
        return ready and matches and not cordoned and self._free(node) >= memory_bytes(pod)

    def _free(self, node: Object) -> int:
        name = node["metadata"]["name"]
        used = sum(
            memory_bytes(pod)
            for pod in self.server.every(POD)
            if pod["spec"].get("nodeName") == name
            and pod["status"]["phase"] not in ("Succeeded", "Failed")
        )
        return _size_bytes(node["metadata"]["annotations"]["memory"]) - used
