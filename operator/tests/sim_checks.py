"""What must hold of one instance in the end.

Pure reading of the simulated cluster; each function gives lines that say what is wrong.
"""

import base64
import json
from collections.abc import Iterator
from typing import Final

from coffer_common import naming
from coffer_common.quantity import parse_bytes
from coffer_operator.kube.api import (
    CONFIG_MAP,
    ENDPOINT_SLICE,
    EVENT,
    FLAVOR,
    INSTANCE,
    NETWORK_POLICY,
    OPERATION,
    POD,
    PVC,
    ROLE,
    ROLE_BINDING,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
    Object,
)
from sim_apiserver import NAMESPACE
from sim_checks_configuration import misconfigured, pending
from sim_disks import Disk
from sim_user import Wish
from sim_world import World

_NOTHING: Final[Object] = {}


def unfulfilled(world: World, wish: Wish) -> list[str]:
    """What is not yet as the wish has it."""
    check = {
        "active": _active,
        "stalled": _stalled,
        "error": _error,
        "unschedulable": _unschedulable,
        "gone": _gone,
        "namespace-gone": _namespace_gone,
    }[wish.end]
    return [
        f"{wish.label} ({wish.end}): {line}" for line in (*check(world, wish), *_ops(world, wish))
    ]


def _condition(instance: Object, kind: str) -> Object:
    conditions = (instance.get("status") or {}).get("conditions") or []
    return next((c for c in conditions if c["type"] == kind), _NOTHING)


def _status(world: World, wish: Wish) -> tuple[Object, Object]:
    instance = world.server.peek(INSTANCE, wish.namespace, wish.name) or _NOTHING
    return instance, instance.get("status") or {}


def _shown(instance: Object) -> str:
    status = instance.get("status") or {}
    conditions = [
        f"{c['type']}={c['status']}/{c['reason']} ({c.get('message', '')})"
        for c in status.get("conditions", ())
    ]
    return f"phase {status.get('phase')}; {'; '.join(conditions)}"


def _current(instance: Object) -> bool:
    status = instance.get("status") or {}
    return bool(instance) and status.get("observedGeneration") == instance["metadata"]["generation"]


def _active(world: World, wish: Wish) -> Iterator[str]:
    instance, status = _status(world, wish)
    if not (
        _current(instance)
        and status.get("phase") == ("RestartRequired" if pending(world, wish) else "Active")
        and _condition(instance, "Ready").get("status") == "True"
        and _condition(instance, "Available").get("status") == "True"
        and not _condition(instance, "Stalled")
        and not _condition(instance, "Reconciling")
    ):
        yield _shown(instance)
        return
    pod = world.server.peek(POD, wish.namespace, naming.pod(wish.name))
    if pod is None:
        yield "there is no pod"
        return
    yield from _children(world, wish, instance)
    yield from _pod(world, wish, instance, pod)
    yield from _volume(world, wish, instance)
    yield from misconfigured(world, wish, instance)


def _children(world: World, wish: Wish, instance: Object) -> Iterator[str]:
    """Every child is there, and none is as somebody else would have it."""
    group, name = instance["status"].get("group", ""), wish.name
    wanted = [
        (SERVICE, name),
        (SERVICE, naming.read_write_service(group)),
        (SERVICE, naming.read_only_service(group)),
        (CONFIG_MAP, naming.agent_config(name)),
        (ENDPOINT_SLICE, naming.read_write_slice(group)),
        (NETWORK_POLICY, name),
        (SERVICE_ACCOUNT, naming.agent_config(name)),
        (ROLE, naming.agent_config(name)),
        (ROLE_BINDING, naming.agent_config(name)),
    ]  # Secrets are not watched
    for kind, child in wanted:
        found = world.server.peek(kind, wish.namespace, child)
        if found is None:
            yield f"{kind.kind} {child} is missing"
        elif found["metadata"]["labels"].get(naming.LABEL_GROUP, group) != group:
            yield f"{kind.kind} {child} was edited and not mended"


def _pod(world: World, wish: Wish, instance: Object, pod: Object) -> Iterator[str]:
    owner = world.server.peek(STATEFUL_SET, wish.namespace, wish.name) or _NOTHING
    annotation = naming.ANNOTATION_TEMPLATE_HASH
    template = owner.get("spec", {}).get("template", {}).get("metadata", {}).get("annotations", {})
    if pod["metadata"]["annotations"].get(annotation) != template.get(annotation):
        yield "the pod is not of the StatefulSet's template"
    flavor = world.server.peek(FLAVOR, None, instance["spec"]["flavor"]) or _NOTHING
    limits = pod["spec"]["containers"][0]["resources"]["limits"]
    if parse_bytes(limits["memory"]) != parse_bytes(flavor["spec"]["ram"]):
        yield f"the pod has {limits['memory']}, not what {instance['spec']['flavor']} says"
    group = instance["status"].get("group")
    found = world.server.peek(ENDPOINT_SLICE, wish.namespace, f"{group}-rw") or _NOTHING
    addresses = [a for e in found.get("endpoints") or () for a in e["addresses"]]
    if addresses != [pod["status"].get("podIP")]:
        yield f"-rw leads to {addresses}, the pod has {pod['status'].get('podIP')}"


def disk_of(world: World, wish: Wish) -> Disk | None:
    """The disk behind the instance's claim."""
    claim = world.server.peek(PVC, wish.namespace, naming.data_volume(wish.name))
    return world.disks.of(claim["metadata"]["uid"]) if claim is not None else None


def _volume(world: World, wish: Wish, instance: Object) -> Iterator[str]:
    disk = disk_of(world, wish)
    claim = world.server.peek(PVC, wish.namespace, naming.data_volume(wish.name))
    if disk is None or claim is None:
        yield "there is no volume"
        return
    if wish.data_id is not None and disk.data_id != wish.data_id:
        yield f"the data are {disk.data_id}, they were {wish.data_id}"
    annotations = claim["metadata"].get("annotations") or {}
    file = naming.INSTANCE_FILE.rsplit("/", 1)[1]
    config = world.server.peek(CONFIG_MAP, wish.namespace, naming.agent_config(wish.name))
    told = json.loads(config["data"][file]).get("data_id") if config is not None else None
    recorded = (instance["status"].get("dataId"), annotations.get(naming.ANNOTATION_DATA_ID), told)
    if set(recorded) != {disk.data_id}:
        yield f"data id {disk.data_id} is recorded as {recorded}"
    owners = [owner["uid"] for owner in claim["metadata"].get("ownerReferences", ())]
    wanted = [instance["metadata"]["uid"]] if _deletes(instance) else []
    if owners != wanted:
        yield f"the claim's owners are {owners}, wanted: {wanted}"
    yield from _accounts(world, wish, instance, disk)


def _deletes(instance: Object) -> bool:
    return bool(instance["spec"].get("deletionPolicy") == "Delete")


def _accounts(world: World, wish: Wish, instance: Object, disk: Disk) -> Iterator[str]:
    for entry in instance["spec"].get("databases", ()):
        if entry["name"] not in disk.databases:
            yield f"database {entry['name']} is missing"
    bindings = {b["user"]: b["name"] for b in instance["status"].get("bindingSecrets", ())}
    for entry in instance["spec"].get("users", ()):
        password = disk.users.get(f"{entry['name']}@{entry.get('host', '%')}")
        secret = world.server.peek(SECRET, wish.namespace, bindings.get(entry["name"], "")) or {}
        told = base64.b64decode((secret.get("data") or {}).get("password", "")).decode()
        if password is None or told != password:
            yield f"user {entry['name']}: on the engine: {password is not None}, Secret fits: False"


def _stalled(world: World, wish: Wish) -> Iterator[str]:
    instance, status = _status(world, wish)
    stalled = _condition(instance, "Stalled")
    if not _current(instance) or stalled.get("status") != "True":
        yield _shown(instance)
    elif stalled["reason"] not in wish.reasons:
        yield f"the reason is {stalled['reason']}, not one of {wish.reasons}"
    elif wish.data_id is not None and (
        status["phase"] != "Active" or _condition(instance, "Available").get("status") != "True"
    ):
        yield f"it no longer runs: {_shown(instance)}"
    elif wish.data_id is None and world.server.peek(POD, wish.namespace, naming.pod(wish.name)):
        yield "something half-made runs"


def _error(world: World, wish: Wish) -> Iterator[str]:
    instance, status = _status(world, wish)
    reasons = {c["reason"] for c in status.get("conditions", ())}
    if not _current(instance) or status.get("phase") != "Error":
        yield _shown(instance)
    elif not reasons & set(wish.reasons):
        yield f"the reasons are {reasons}, none of {wish.reasons}"


def _unschedulable(world: World, wish: Wish) -> Iterator[str]:
    """The deadline of the wait has passed, and the instance says so."""
    instance, status = _status(world, wish)
    stalled = _condition(instance, "Stalled")
    said = stalled.get("status") == "True" and stalled.get("reason") in wish.reasons
    if not _current(instance) or not said or status.get("phase") != "Error":
        yield _shown(instance)


def _gone(world: World, wish: Wish) -> Iterator[str]:
    for kind, obj in world.server.everything():
        metadata = obj["metadata"]
        labels = metadata.get("labels") or {}
        if metadata.get("namespace") != wish.namespace or kind in (EVENT, OPERATION):
            continue
        if labels.get(naming.LABEL_INSTANCE) != wish.name and (kind, metadata["name"]) != (
            INSTANCE,
            wish.name,
        ):
            continue
        if kind != PVC or not wish.keeps_volume:
            yield f"{kind.kind} {metadata['name']} is still there"


def _namespace_gone(world: World, wish: Wish) -> Iterator[str]:
    if world.server.peek(NAMESPACE, None, wish.namespace) is not None:
        yield "the namespace is still there"


def _foreign(world: World, wish: Wish) -> Iterator[str]:
    """What is somebody else's is as it was."""
    if wish.foreign is None:
        return
    kind, name = wish.foreign
    found = world.server.peek(kind, wish.namespace, name)
    if found is None:
        yield f"somebody else's {kind.kind} {name} is gone"
    elif any(entry["manager"] == "coffer" for entry in found["metadata"]["managedFields"]):
        yield f"somebody else's {kind.kind} {name} was taken over"


def _ops(world: World, wish: Wish) -> Iterator[str]:
    """Operations have ended, and each restarted the engine at most once."""
    for name in wish.operations:
        operation = world.server.peek(OPERATION, wish.namespace, name)
        if operation is None:
            continue  # its time to live was over
        status = operation.get("status") or {}
        phase = status.get("phase")
        if phase not in ("Completed", "Failed", "Expired"):
            yield f"Operation {name} is {phase}: {status.get('message')}"
        uid = operation["metadata"]["uid"]
        done = sum(disk.tokens.count(uid) for disk in world.disks.all)
        if done > 1:
            yield f"Operation {name} restarted the engine {done} times"
        if phase == "Completed" and status.get("step") == "RestartEngine" and done != 1:
            yield f"Operation {name} is Completed and restarted the engine {done} times"
