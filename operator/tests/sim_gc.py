"""The garbage collector: dependents go with their owners, foreground deletion included.

Works in the background of the running loop, after a delay as the real one does.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from coffer_operator.kube.api import Kind, NotFoundError, Object
from sim_apiserver import FOREGROUND, ApiServer, Deletion
from sim_watch import Change

Ref = tuple[Kind, str | None, str, str]  # kind, namespace, name, uid

_NONE: Final[Mapping[str, Any]] = {}


class GarbageCollector:
    """Watches the store and deletes what lost its owner."""

    def __init__(self, server: ApiServer, delay_s: Callable[[], float]) -> None:
        self._server = server
        self._delay_s = delay_s
        self._uids: set[str] = set()
        self._dependents: dict[str, set[Ref]] = {}  # by the owner's uid
        for kind, obj in server.everything():
            self._saw(kind, Change(None, obj))
        server.listeners.append(self._saw)

    def _saw(self, kind: Kind, change: Change) -> None:
        metadata = change.shown["metadata"]
        uid = metadata["uid"]
        ref = (kind, metadata.get("namespace"), metadata["name"], uid)
        owners = {owner["uid"] for owner in metadata.get("ownerReferences", ())}
        if change.after is None:
            self._uids.discard(uid)
            for owner in owners:
                self._dependents.get(owner, set()).discard(ref)
            for dependent in sorted(self._dependents.get(uid, ()), key=lambda r: r[1:]):
                self._later(dependent)
            return
        self._uids.add(uid)
        for owner in owners:
            self._dependents.setdefault(owner, set()).add(ref)
        if owners - self._uids:
            self._later(ref)
        if FOREGROUND in metadata.get("finalizers", ()) and "deletionTimestamp" in metadata:
            self._later(ref)

    def _later(self, ref: Ref) -> None:
        asyncio.get_running_loop().call_later(self._delay_s(), self._attempt, ref)

    def _attempt(self, ref: Ref) -> None:
        kind, namespace, name, uid = ref
        obj = self._server.peek(kind, namespace, name)
        if obj is None or obj["metadata"]["uid"] != uid:
            return
        metadata = obj["metadata"]
        if FOREGROUND in metadata.get("finalizers", ()):
            self._foreground(kind, obj)
        owners = metadata.get("ownerReferences", [])
        alive = [owner for owner in owners if owner["uid"] in self._uids]
        if not owners or len(alive) == len(owners) or "deletionTimestamp" in metadata:
            return
        if alive:
            patch = {"metadata": {"ownerReferences": alive}}
            self._server.patch(kind, namespace, name, patch, manager="gc")
            return
        try:
            self._server.delete(kind, namespace, name, Deletion(uid=uid))
        except NotFoundError:
            return

    def _foreground(self, kind: Kind, obj: Object) -> None:
        """Blocking dependents go first; without any, the owner goes."""
        metadata = obj["metadata"]
        blocking = [
            ref
            for ref in sorted(self._dependents.get(metadata["uid"], ()), key=lambda r: r[1:])
            if self._blocks(ref, metadata["uid"])
        ]
        for kind_of, namespace, name, uid in blocking:
            self._server.delete(kind_of, namespace, name, Deletion(uid=uid))
        if blocking:
            self._later((kind, metadata.get("namespace"), metadata["name"], metadata["uid"]))
            return
        finalizers = [f for f in metadata["finalizers"] if f != FOREGROUND]
        self._server.patch(
            kind,
            metadata.get("namespace"),
            metadata["name"],
            {"metadata": {"finalizers": finalizers or None}},
            manager="gc",
        )

    def _blocks(self, ref: Ref, owner_uid: str) -> bool:
        kind, namespace, name, _ = ref
        dependent = self._server.peek(kind, namespace, name) or _NONE
        owners = dependent.get("metadata", _NONE).get("ownerReferences", ())
        return any(o["uid"] == owner_uid and o.get("blockOwnerDeletion") for o in owners)
