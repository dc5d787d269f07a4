"""What is kept of each object: pure functions from the API's JSON to the World's facts.

The whole object is never kept, and its managedFields end here, in a digest.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from sys import intern
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from coffer_common import naming, quantity
from coffer_common.resources.base import Resource
from coffer_operator.build.digest import live_digest
from coffer_operator.kube.api import Key
from coffer_operator.plan.world import (
    Child,
    ContainerFact,
    PodFact,
    SliceFact,
    StatefulSetFact,
    StorageClassFact,
    VolumeFact,
)

log = logging.getLogger(__name__)

Json = Mapping[str, Any]
Fact = StatefulSetFact | PodFact | VolumeFact | SliceFact


@dataclass(frozen=True, slots=True)
class Seen:
    """A child and, for the kinds that have one, its fact."""

    child: Child
    fact: Fact | None = None


def child(kind: str, obj: Json) -> tuple[Seen, Key | None]:
    """Projection of an object that Coffer applies, and the instance it belongs to.

    The kind is told, since the items of a list do not bear it.
    """
    metadata = obj["metadata"]
    labels = metadata.get("labels") or {}
    instance = labels.get(naming.LABEL_INSTANCE)
    ours = labels.get(naming.LABEL_MANAGED_BY) == naming.MANAGED_BY and instance is not None
    kept = Child(
        kind=kind,
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        resource_version=metadata.get("resourceVersion", ""),
        digest=live_digest(obj, naming.FIELD_MANAGER),
        ours=ours,
        deleting="deletionTimestamp" in metadata,
        annotations=_own_annotations(metadata),
        owner_uid=_controller_uid(metadata),
    )
    fact = _FACTS[kind](obj) if kind in _FACTS else None
    return Seen(kept, fact), Key(metadata.get("namespace", ""), str(instance)) if ours else None


R = TypeVar("R", bound=Resource)


def resource(model: type[R], obj: Json) -> R | None:
    """An object of ours as its model; None where it is not one (an older or newer schema)."""
    try:
        return model.model_validate(obj)
    except ValidationError as error:
        name = obj.get("metadata", {}).get("name")
        log.warning("%s %s is not readable: %s", obj.get("kind"), name, _first_problem(error))
        return None


def is_ours(obj: Json, key: Key) -> bool:
    """Whether an object bears the labels of this instance."""
    labels = obj["metadata"].get("labels") or {}
    return (
        labels.get(naming.LABEL_MANAGED_BY) == naming.MANAGED_BY
        and labels.get(naming.LABEL_INSTANCE) == key.name
    )


def storage_class(obj: Json) -> StorageClassFact:
    annotations = obj["metadata"].get("annotations") or {}
    default = annotations.get("storageclass.kubernetes.io/is-default-class") == "true"
    return StorageClassFact(obj["metadata"]["name"], default)


@dataclass(frozen=True, slots=True)
class NodeSeen:
    """What is kept of a node: whether its kubelet reports; None: nobody has said yet."""

    name: str
    ready: bool | None


def node(obj: Json) -> NodeSeen:
    """A kubelet that fell silent has the status Unknown: the node does not report."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    ready = next((c["status"] for c in conditions if c["type"] == "Ready"), None)
    return NodeSeen(intern(obj["metadata"]["name"]), None if ready is None else ready == "True")


def timestamp(text: str | None) -> datetime | None:
    """A time of the API server (RFC 3339), aware."""
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"


def _own_annotations(metadata: Json) -> dict[str, str]:
    annotations = metadata.get("annotations") or {}
    return {k: v for k, v in annotations.items() if k.startswith(f"{naming.GROUP}/")}


def _controller_uid(metadata: Json) -> str | None:
    for reference in metadata.get("ownerReferences") or ():
        if reference.get("controller"):
            return str(reference["uid"])
    return None


def _template_hash(metadata: Json) -> str | None:
    value = (metadata.get("annotations") or {}).get(naming.ANNOTATION_TEMPLATE_HASH)
    return str(value) if value is not None else None


def _stateful_set(obj: Json) -> StatefulSetFact:
    status = obj.get("status") or {}
    return StatefulSetFact(
        generation=obj["metadata"].get("generation", 0),
        observed_generation=status.get("observedGeneration", 0),
        replicas=obj["spec"].get("replicas", 1),
        template_hash=_template_hash(obj["spec"]["template"].get("metadata") or {}),
    )


def _pod(obj: Json) -> PodFact:
    metadata, status = obj["metadata"], obj.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    scheduled = conditions.get("PodScheduled", {})
    unschedulable = (
        scheduled.get("message", "no node fits")
        if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
        else None
    )
    return PodFact(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        phase=intern(status.get("phase", "Unknown")),
        ip=status.get("podIP"),
        node=(obj.get("spec") or {}).get("nodeName"),
        ready=conditions.get("Ready", {}).get("status") == "True",
        deleting="deletionTimestamp" in metadata,
        template_hash=_template_hash(metadata),
        unschedulable=unschedulable,
        guest=_container(status.get("initContainerStatuses"), naming.GUEST_CONTAINER),
        database=_container(status.get("containerStatuses"), naming.DATABASE_CONTAINER),
        labels=metadata.get("labels") or {},
        created_at=timestamp(metadata.get("creationTimestamp")),
        scheduled_at=(
            timestamp(scheduled.get("lastTransitionTime"))
            if scheduled.get("status") == "True"
            else None
        ),
    )


def _container(statuses: Any, name: str) -> ContainerFact | None:
    for status in statuses or ():
        if status.get("name") == name:
            waiting = (status.get("state") or {}).get("waiting") or {}
            return ContainerFact(
                name=name,
                running="running" in (status.get("state") or {}),
                ready=bool(status.get("ready")),
                restarts=status.get("restartCount", 0),
                waiting_reason=waiting.get("reason"),
                waiting_message=waiting.get("message"),
                last_exit=_last_exit(status),
            )
    return None


def _last_exit(status: Json) -> str | None:
    ended = (status.get("state") or {}).get("terminated") or (status.get("lastState") or {}).get(
        "terminated"
    )
    if not ended:
        return None
    if ended.get("reason") == "OOMKilled":
        return "OOMKilled"
    code = ended.get("exitCode", 0)
    signal = ended.get("signal") or (code - 128 if code > 128 else 0)
    return f"signal {signal}" if signal else f"exit {code}"


def _volume(obj: Json) -> VolumeFact:
    metadata, status = obj["metadata"], obj.get("status") or {}
    annotations = metadata.get("annotations") or {}
    capacity = (status.get("capacity") or {}).get("storage")
    labels = metadata.get("labels") or {}
    return VolumeFact(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        bound=status.get("phase") == "Bound",
        deleting="deletionTimestamp" in metadata,
        lost=status.get("phase") == "Lost",
        size_bytes=quantity.parse_bytes(capacity) if capacity else None,
        storage_class=(obj.get("spec") or {}).get("storageClassName"),
        data_id=annotations.get(naming.ANNOTATION_DATA_ID),
        datastore_version=annotations.get(naming.ANNOTATION_RESOLVED),
        group=annotations.get(naming.ANNOTATION_GROUP),
        role=annotations.get(naming.ANNOTATION_ROLE),
        ours=naming.LABEL_INSTANCE in labels,
        owner_uids=tuple(r["uid"] for r in metadata.get("ownerReferences") or ()),
    )


def _slice(obj: Json) -> SliceFact:
    metadata = obj["metadata"]
    endpoints = obj.get("endpoints") or ()
    target = (endpoints[0].get("targetRef") or {}) if endpoints else {}
    epoch = (metadata.get("annotations") or {}).get(naming.ANNOTATION_EPOCH, "0")
    return SliceFact(
        addresses=tuple(a for endpoint in endpoints for a in endpoint.get("addresses") or ()),
        target_pod_uid=target.get("uid"),
        epoch=int(epoch) if epoch.isdecimal() else 0,
        resource_version=metadata.get("resourceVersion", ""),
    )


_FACTS: Final[Mapping[str, Callable[[Json], Fact]]] = {
    "StatefulSet": _stateful_set,
    "Pod": _pod,
    "PersistentVolumeClaim": _volume,
    "EndpointSlice": _slice,
}
