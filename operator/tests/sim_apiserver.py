"""An API server in memory: one store, resourceVersions, watches, server-side apply, deletion.

Every request is one step without an await, so the store is always consistent; latency and faults
are the client's (`sim_client`), garbage collection and all controllers are `sim_cluster`'s.
Stored objects are never changed in place, and what a method gives back is for reading; clients
copy it.
"""

import marshal
import random
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from coffer_operator.kube.api import (
    NAMESPACE_TERMINATING,
    ConflictError,
    ForbiddenError,
    InvalidError,
    Kind,
    NotFoundError,
    Object,
    Page,
)
from sim_managers import applied, updated
from sim_requests import merge_patched, selects
from sim_shapes import canonical, crd_schema
from sim_validate import structural, validate
from sim_watch import Change, History

Key = tuple[str | None, str]  # namespace, name
Listener = Callable[[Kind, Change], None]
Propagation = Literal["Background", "Foreground", "Orphan"]

NAMESPACE: Final = Kind("", "v1", "Namespace", "namespaces", False)
FOREGROUND: Final = "foregroundDeletion"
PVC_PROTECTION: Final = "kubernetes.io/pvc-protection"
_WITH_GENERATION: Final = frozenset({"StatefulSet", "NetworkPolicy", "EndpointSlice", "Pod"})
_WITH_STATUS: Final = frozenset(
    {"StatefulSet", "Pod", "PersistentVolumeClaim", "Service", "Namespace", "Node"}
)


def copied(value: Any) -> Any:
    """A deep copy of plain data."""
    return marshal.loads(marshal.dumps(value))


@dataclass(frozen=True)
class Deletion:
    """The options of a deletion."""

    uid: str | None = None
    grace_period_s: int | None = None
    propagation: Propagation = "Background"


class ApiServer:
    """The store and what the API server makes of each request."""

    def __init__(self, rng: random.Random, clock: Callable[[], datetime]) -> None:
        self._rng = rng
        self._clock = clock
        self._objects: dict[Kind, dict[Key, Object]] = {}
        self._pages: dict[str, tuple[list[Key], str]] = {}
        self._addresses = 0
        self.history = History(clock)
        self.listeners: list[Listener] = []

    # --- reading ---------------------------------------------------------------------------------

    def peek(self, kind: Kind, namespace: str | None, name: str) -> Object | None:
        """The stored object itself, for reading only."""
        return self._objects.get(kind, {}).get((namespace if kind.namespaced else None, name))

    def every(self, kind: Kind, namespace: str | None = None) -> list[Object]:
        """All stored objects of a kind, for reading only."""
        return [
            obj
            for (place, _), obj in self._objects.get(kind, {}).items()
            if namespace is None or place == namespace
        ]

    def everything(self) -> Iterator[tuple[Kind, Object]]:
        """All stored objects, for reading only."""
        for kind, objects in list(self._objects.items()):
            for obj in list(objects.values()):
                yield kind, obj

    def get(self, kind: Kind, namespace: str | None, name: str) -> Object:
        found = self.peek(kind, namespace, name)
        if found is None:
            raise NotFoundError(f'{kind.plural} "{name}" not found')
        return found

    def list_page(
        self, kind: Kind, label_selector: str, limit: int, continue_token: str | None
    ) -> Page:
        """A page; all pages of one list have the resourceVersion of the first one."""
        if continue_token is None:
            keys = sorted(self._objects.get(kind, {}), key=lambda key: (key[0] or "", key[1]))
            snapshot = [
                key
                for key in keys
                if selects(label_selector, self._labels(self._objects[kind][key]))
            ]
            version = str(self.history.version)
        else:
            if continue_token not in self._pages:
                raise self.history.gone("The provided continue parameter is too old")
            snapshot, version = self._pages[continue_token]
        chosen, rest = snapshot[:limit], snapshot[limit:]
        token = None
        if rest:
            token = f"page-{len(self._pages)}-{version}"
            self._pages[token] = (rest, version)
        objects = self._objects.get(kind, {})
        items = tuple(objects[key] for key in chosen if key in objects)
        return Page(items, version, token)

    def forget_pages(self) -> None:
        """Let every continue token expire."""
        self._pages.clear()

    @staticmethod
    def _labels(obj: Object) -> Mapping[str, str]:
        return obj["metadata"].get("labels") or {}

    # --- writing ---------------------------------------------------------------------------------

    def create(self, kind: Kind, obj: Object, manager: str = "unknown") -> Object:
        obj = copied(obj)
        metadata = obj.setdefault("metadata", {})
        if "name" not in metadata and "generateName" in metadata:
            metadata["name"] = f"{metadata['generateName']}{self._rng.getrandbits(32):08x}"
        namespace, name = self._address(kind, obj)
        if self.peek(kind, namespace, name) is not None:
            raise ConflictError(f'{kind.plural} "{name}" already exists')
        stored = self._begin(kind, obj)
        return self._store(kind, None, updated({"metadata": {}}, stored, manager, ""))

    def apply(self, kind: Kind, obj: Object, manager: str = "coffer") -> Object:
        """Server-side apply, forced."""
        config = copied(obj)
        namespace, name = self._address(kind, config)
        metadata = config["metadata"]
        if metadata.get("managedFields"):
            raise InvalidError("metadata.managedFields must be nil")
        config.pop("status", None) if self._has_status(kind) else None
        live = self.peek(kind, namespace, name)
        if live is None:
            if metadata.get("uid"):
                raise ConflictError("uid mismatch: no existing object was found")
            stored = self._begin(kind, config)
            claimed = applied({"metadata": {}}, config, manager)["metadata"]["managedFields"]
            stored["metadata"]["managedFields"] = claimed
            return self._store(kind, None, stored)
        self._check_version(live, metadata)
        return self._store(kind, live, applied(live, config, manager))

    def patch(
        self,
        kind: Kind,
        namespace: str | None,
        name: str,
        patch: Mapping[str, Any],
        *,
        subresource: str = "",
        manager: str = "unknown",
    ) -> Object:
        """JSON merge patch."""
        live = self._existing(kind, namespace, name)
        self._check_version(live, patch.get("metadata") or {})
        after = canonical(kind.kind, merge_patched(live, copied(dict(patch))))
        for field in ("name", "namespace", "uid", "creationTimestamp"):
            if after["metadata"].get(field) != live["metadata"].get(field):
                raise InvalidError(f"metadata.{field}: field is immutable")
        if subresource == "status":
            after = {**live, "status": after.get("status", {})}
        elif self._has_status(kind):
            after.pop("status", None)
            if "status" in live:
                after["status"] = live["status"]
        return self._write(kind, live, after, manager, subresource)

    def replace(self, kind: Kind, after: Object, manager: str = "unknown", sub: str = "") -> Object:
        """What the simulated controllers write, status included; `after` is not changed."""
        metadata = after["metadata"]
        live = self._existing(kind, metadata.get("namespace"), metadata["name"])
        return self._write(kind, live, after, manager, sub)

    def _write(
        self, kind: Kind, live: Object, after: Object, manager: str, subresource: str
    ) -> Object:
        """Ownership is kept only where somebody applied: nobody asks for the rest."""
        if subresource != "status" and any(
            entry["operation"] == "Apply" for entry in live["metadata"].get("managedFields", ())
        ):
            after = updated(live, after, manager, subresource)
        return self._store(kind, live, after)

    def delete(
        self, kind: Kind, namespace: str | None, name: str, options: Deletion = Deletion()
    ) -> None:
        """Delete, or mark as being deleted; NotFoundError if there is nothing."""
        live = self._existing(kind, namespace, name)
        metadata = live["metadata"]
        if options.uid is not None and options.uid != metadata["uid"]:
            raise ConflictError(f"the UID in the precondition ({options.uid}) does not match")
        marked = dict(metadata)
        grace_s = self._grace_s(kind, live, options.grace_period_s)
        finalizers = list(metadata.get("finalizers", ()))
        if options.propagation == "Foreground" and FOREGROUND not in finalizers:
            finalizers.append(FOREGROUND)
            marked["finalizers"] = finalizers
        if not finalizers and grace_s == 0:
            self._remove(kind, live)
            return
        before_s = metadata.get("deletionGracePeriodSeconds")
        if before_s is None or grace_s < before_s:
            moment = self._clock() + timedelta(seconds=grace_s)
            if "deletionTimestamp" not in metadata and "generation" in metadata:
                marked["generation"] = metadata["generation"] + 1
            marked["deletionTimestamp"] = _rfc3339(moment)
            marked["deletionGracePeriodSeconds"] = grace_s
        self._store(kind, live, {**live, "metadata": marked})

    @staticmethod
    def _grace_s(kind: Kind, live: Object, asked_s: int | None) -> int:
        if kind.kind != "Pod" or not live["spec"].get("nodeName"):
            return 0
        if live.get("status", {}).get("phase") in ("Succeeded", "Failed"):
            return 0
        if asked_s is not None:
            return asked_s
        return int(live["spec"].get("terminationGracePeriodSeconds", 30))

    # --- the steps of a write --------------------------------------------------------------------

    def _existing(self, kind: Kind, namespace: str | None, name: str) -> Object:
        live = self.peek(kind, namespace, name)
        if live is None:
            raise NotFoundError(f'{kind.plural} "{name}" not found')
        return live

    @staticmethod
    def _check_version(live: Object, metadata: Mapping[str, Any]) -> None:
        wanted = metadata.get("resourceVersion")
        if wanted is not None and wanted != live["metadata"]["resourceVersion"]:
            raise ConflictError(
                f"Operation cannot be fulfilled on {live['metadata']['name']}: "
                f"the object has been modified (resourceVersion {wanted})"
            )
        uid = metadata.get("uid")
        if uid is not None and uid != live["metadata"]["uid"]:
            raise InvalidError(f"metadata.uid: Invalid value: {uid!r}: field is immutable")

    @staticmethod
    def _has_status(kind: Kind) -> bool:
        return kind.kind in _WITH_STATUS or crd_schema(kind.kind) is not None

    def _address(self, kind: Kind, obj: Object) -> Key:
        if obj.get("apiVersion") != kind.api_version or obj.get("kind") != kind.kind:
            raise InvalidError(f"the object is no {kind.api_version} {kind.kind}")
        metadata = obj["metadata"]
        if not kind.namespaced:
            return None, metadata["name"]
        namespace = metadata.get("namespace")
        if not namespace:
            raise InvalidError("an empty namespace may not be set during creation")
        return namespace, metadata["name"]

    def _begin(self, kind: Kind, obj: Object) -> Object:
        """What the server adds to a new object."""
        namespace = obj["metadata"].get("namespace")
        if kind.namespaced:
            home = self.peek(NAMESPACE, None, namespace)
            if home is None:
                raise NotFoundError(f'namespaces "{namespace}" not found')
            if "deletionTimestamp" in home["metadata"]:
                raise ForbiddenError(
                    f"unable to create new content in namespace {namespace} "
                    "because it is being terminated",
                    cause=NAMESPACE_TERMINATING,
                )
        stored = canonical(kind.kind, copied(obj))
        for ours in ("resourceVersion", "managedFields", "selfLink", "deletionTimestamp"):
            stored["metadata"].pop(ours, None)
        stored["metadata"] |= {
            "uid": str(uuid.UUID(int=self._rng.getrandbits(128), version=4)),
            "creationTimestamp": _rfc3339(self._clock()),
        }
        if crd_schema(kind.kind) is not None or kind.kind in _WITH_GENERATION:
            stored["metadata"]["generation"] = 1
        if self._has_status(kind):
            stored.pop("status", None)
        self._fill(kind, stored)
        return stored

    def _fill(self, kind: Kind, stored: Object) -> None:
        if kind.kind == "PersistentVolumeClaim":
            stored["metadata"]["finalizers"] = [
                *stored["metadata"].get("finalizers", []),
                PVC_PROTECTION,
            ]
            stored["status"] = {"phase": "Pending"}
        elif kind.kind == "Pod":
            stored["status"] = {"phase": "Pending", "conditions": []}
        elif kind.kind == "Service" and stored["spec"].get("clusterIP") != "None":
            self._addresses += 1
            address = f"10.96.{self._addresses // 250}.{self._addresses % 250 + 1}"
            stored["spec"] |= {"clusterIP": address, "clusterIPs": [address]}

    def _store(self, kind: Kind, live: Object | None, after: Object) -> Object:
        after = structural(kind.kind, after)
        if live is not None:
            if after == live:
                return live
            if "generation" in live["metadata"] and _spec(after) != _spec(live):
                generation = live["metadata"]["generation"] + 1
                after = {**after, "metadata": {**after["metadata"], "generation": generation}}
        validate(kind.kind, after, live)
        metadata = after["metadata"]
        going = "deletionTimestamp" in metadata and not metadata.get("finalizers")
        if going and metadata.get("deletionGracePeriodSeconds", 0) == 0 and live is not None:
            self._remove(kind, after)
            return after
        after = self.history.versioned(after)
        key = (metadata.get("namespace") if kind.namespaced else None, metadata["name"])
        self._objects.setdefault(kind, {})[key] = after
        self._tell(kind, Change(live, after))
        return after

    def _remove(self, kind: Kind, last: Object) -> None:
        metadata = last["metadata"]
        key = (metadata.get("namespace") if kind.namespaced else None, metadata["name"])
        before = self._objects[kind].pop(key)
        self._tell(kind, Change(before, None, self.history.versioned(last)))

    def _tell(self, kind: Kind, change: Change) -> None:
        self.history.add(kind, change)
        for listener in self.listeners:
            listener(kind, change)


def _spec(obj: Object) -> Object:
    return {name: part for name, part in obj.items() if name not in ("metadata", "status")}


def _rfc3339(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
