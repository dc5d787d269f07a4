"""Storage workers in memory: pods of that component, run on their node, with an answer at the end.

What kubelet and the program in the pod do, in one. A node that is cut off reports nothing.
"""

import asyncio
import json
import random
from collections.abc import Callable
from typing import Any, Final

from coffer_common import naming
from coffer_operator.build.worker import ANNOTATION_REQUEST, COMPONENT, CONTAINER
from coffer_operator.kube.api import POD, SECRET, ConflictError, Kind, NotFoundError, Object
from sim_apiserver import ApiServer, Deletion
from sim_tasks import Bucket
from sim_watch import Change

_AGAIN_S: Final = 2.0


def is_worker(pod: Object) -> bool:
    labels = pod["metadata"].get("labels") or {}
    return labels.get(naming.LABEL_COMPONENT) == COMPONENT


class SimWorkers:
    """All of them. `connected` says whether a node reports."""

    def __init__(
        self,
        server: ApiServer,
        bucket: Bucket,
        connected: Callable[[str], bool],
        rng: random.Random,
    ) -> None:
        self._server = server
        self._bucket = bucket
        self._connected = connected
        self._rng = rng
        self._seen: set[str] = set()
        self._ending: set[str] = set()
        server.listeners.append(self._heard)

    def _heard(self, kind: Kind, change: Change) -> None:
        pod = change.after
        if kind != POD or pod is None or not is_worker(pod) or "nodeName" not in pod["spec"]:
            return
        uid = pod["metadata"]["uid"]
        if "deletionTimestamp" in pod["metadata"]:
            if uid not in self._ending:
                self._ending.add(uid)
                self._later(0.5, self._remove, pod)
        elif uid not in self._seen:
            self._seen.add(uid)
            self._later(self._rng.choice((0.5, 5.0, 60.0)) * self._rng.random(), self._run, pod)

    def _later(self, delay_s: float, act: Callable[[Object], None], pod: Object) -> None:
        asyncio.get_running_loop().call_later(delay_s, act, pod)

    def _present(self, pod: Object) -> Object | None:
        metadata = pod["metadata"]
        found = self._server.peek(POD, metadata["namespace"], metadata["name"])
        return found if found is not None and found["metadata"]["uid"] == metadata["uid"] else None

    def _run(self, pod: Object) -> None:
        found = self._present(pod)
        if found is None or "deletionTimestamp" in found["metadata"]:
            return
        if not self._connected(found["spec"]["nodeName"]) or self._lacks_secret(found):
            self._later(_AGAIN_S, self._run, pod)
            return
        answer = self._answer(json.loads(found["metadata"]["annotations"][ANNOTATION_REQUEST]))
        good = answer.get("result") is not None
        ended = {"exitCode": 0 if good else 1, "message": json.dumps(answer)}
        status = {
            **found["status"],
            "phase": "Succeeded" if good else "Failed",
            "containerStatuses": [{"name": CONTAINER, "state": {"terminated": ended}}],
        }
        self._server.replace(POD, {**found, "status": status}, "kubelet", "status")

    def _lacks_secret(self, pod: Object) -> bool:
        namespace = pod["metadata"]["namespace"]
        names = [v["secret"]["secretName"] for v in pod["spec"]["volumes"] if "secret" in v]
        return any(self._server.peek(SECRET, namespace, name) is None for name in names)

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._bucket.away or self._rng.random() < self._bucket.failing:
            return {"message": "the store does not answer", "reason": "StoreUnavailable"}
        if request["operation"] == "delete":
            self._bucket.backups.pop(request["path"], None)
            self._bucket.proofs.pop(request["path"], None)
        return {"result": {"path": request["path"]}}

    def _remove(self, pod: Object) -> None:
        found = self._present(pod)
        if found is None:
            return
        if not self._connected(found["spec"]["nodeName"]):
            self._later(_AGAIN_S, self._remove, pod)
            return
        metadata = found["metadata"]
        try:
            self._server.delete(
                POD, metadata["namespace"], metadata["name"], Deletion(metadata["uid"], 0)
            )
        except (NotFoundError, ConflictError):
            return
