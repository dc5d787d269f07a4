"""What is kept of a storage worker's pod. Pure."""

from typing import Any

from coffer_common import naming
from coffer_operator.build.worker import ANNOTATION_TASK, CONTAINER
from coffer_operator.kube.api import Key
from coffer_operator.observe.project import Json, timestamp
from coffer_operator.plan.backup_world import WorkerFact


def worker(obj: Json) -> tuple[WorkerFact, Key | None]:
    """The fact, and the name of the object that the worker works for (of either kind)."""
    metadata, status = obj["metadata"], obj.get("status") or {}
    owner: Json = next(
        (r for r in metadata.get("ownerReferences") or () if r.get("controller")), {}
    )
    state = _state(status)
    ended = state.get("terminated") or {}
    fact = WorkerFact(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        task=(metadata.get("annotations") or {}).get(ANNOTATION_TASK, ""),
        owner_uid=owner.get("uid", ""),
        phase=status.get("phase", "Unknown"),
        deleting="deletionTimestamp" in metadata,
        said=ended.get("message"),
        how=_how(ended, status),
        waiting=_waiting(state, status),
        created_at=timestamp(metadata.get("creationTimestamp")),
    )
    ours = owner.get("apiVersion", "").startswith(f"{naming.GROUP}/")
    return fact, Key(metadata.get("namespace", ""), str(owner["name"])) if ours else None


def _state(status: Json) -> dict[str, Any]:
    for container in status.get("containerStatuses") or ():
        if container.get("name") == CONTAINER:
            return dict(container.get("state") or {})
    return {}


def _how(ended: dict[str, Any], status: Json) -> str | None:
    if status.get("phase") == "Failed" and status.get("reason"):
        return str(status["reason"])  # DeadlineExceeded, Evicted: of the whole pod
    if not ended:
        return None
    reason = ended.get("reason")
    return str(reason) if reason == "OOMKilled" else f"exit {ended.get('exitCode', 0)}"


def _waiting(state: dict[str, Any], status: Json) -> str | None:
    scheduled: Json = next(
        (c for c in status.get("conditions") or () if c.get("type") == "PodScheduled"), {}
    )
    if scheduled.get("status") == "False":
        return str(scheduled.get("message") or "no node fits")
    waits = state.get("waiting") or {}
    reason = waits.get("reason")
    if reason in (None, "ContainerCreating", "PodInitializing"):
        return None
    return f"{reason}: {waits['message']}" if waits.get("message") else str(reason)
