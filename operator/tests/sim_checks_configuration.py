"""What must hold of configurations in the end: in the engines, and in what is told of them.

Pure reading of the simulated cluster; each function gives lines that say what is wrong.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from coffer_common import naming
from coffer_operator.kube.api import (
    CONFIGURATION_GROUP,
    ENDPOINT_SLICE,
    INSTANCE,
    POD,
    SERVICE,
    Object,
)
from sim_configuration import Configuration, effective
from sim_user import GroupWish, Wish
from sim_world import World

_NOTHING: Final[Object] = {}
_STOPPED: Final = ("Refused", "RolledBack", "RolloutStopped", "Applied", "PendingRestart")


def configuration_of(world: World, wish: Wish) -> Configuration | None:
    """The configuration of the instance's running pod."""
    pod = world.server.peek(POD, wish.namespace, naming.pod(wish.name)) or _NOTHING
    uid = pod.get("metadata", _NOTHING).get("uid")
    found = (g.configuration for g in world.kubelets.guests() if g.pod.uid == uid)
    return next(found, None)


def pending(world: World, wish: Wish) -> tuple[str, ...]:
    """Parameters that wait for a restart."""
    found = configuration_of(world, wish)
    return found.status().pending_restart if found is not None else ()


def misconfigured(world: World, wish: Wish, instance: Object) -> Iterator[str]:
    """What of an instance that serves is not as its group has it."""
    found = configuration_of(world, wish)
    if found is None:
        yield "there is no agent with a configuration"
        return
    said, told = found.status(), instance["status"].get("configuration") or {}
    if found.in_progress():
        yield f"{said.accepted} is still being applied"
    elif told.get("hash") != said.live:
        yield f"status tells of {told.get('hash')}, in force is {said.live}"
    if tuple(told.get("pendingRestart", ())) != said.pending_restart:
        yield f"pending are {said.pending_restart}, told is {told.get('pendingRestart')}"
    if wish.group is None or wish.group.end != "stopped":
        yield from _values(world, wish, instance, found)
    reason = _reason(instance)
    if reason not in _reasons(wish, found):
        yield f"ConfigurationApplied is {reason}, wanted is one of {_reasons(wish, found)}"
    maintenance = instance["spec"].get("maintenance") or {}
    if maintenance.get("autoRestart") and said.pending_restart:
        yield f"{said.pending_restart} wait for a restart in an open window"
    yield from _ports(world, wish, instance, found)


def _values(world: World, wish: Wish, instance: Object, found: Configuration) -> Iterator[str]:
    values: Mapping[str, Any] = wish.group.values if wish.group is not None else {}
    mariadb = instance["spec"]["datastore"]["type"] == "mariadb"
    defaults: Mapping[str, Any] = world.defaults if mariadb else {}
    request = found.disk.request
    if request is None:
        if wish.group is not None or defaults:
            yield "the agent has no values"
        return
    name = wish.group.name if wish.group is not None else None
    has = (request.group, request.values, request.defaults)
    if has != (name, values, defaults):
        yield f"the agent has {has}, wanted is {(name, values, defaults)}"
    waiting = found.status().pending_restart
    wanted = effective(request)
    for parameter in sorted(wanted.keys() | found.engine.values.keys()):
        is_value = found.engine.values.get(parameter)
        if parameter not in waiting and is_value != wanted.get(parameter):
            yield f"{parameter} is {is_value} in the engine, wanted is {wanted.get(parameter)}"


def _reason(instance: Object) -> str | None:
    conditions = instance["status"].get("conditions") or ()
    found = (c["reason"] for c in conditions if c["type"] == "ConfigurationApplied")
    return next(found, None)


def _reasons(wish: Wish, found: Configuration) -> Sequence[str]:
    if wish.group is not None and wish.group.end == "stopped":
        return _STOPPED
    if wish.group is not None and wish.group.end == "invalid":
        return ("ConfigurationInvalid",)
    return ("PendingRestart",) if found.status().pending_restart else ("Applied",)


def _ports(world: World, wish: Wish, instance: Object, found: Configuration) -> Iterator[str]:
    """Addresses lead to the port that the engine listens on."""
    port = found.port
    group = instance["status"].get("group", "")
    service = world.server.peek(SERVICE, wish.namespace, naming.read_write_service(group))
    ports = [entry["port"] for entry in (service or _NOTHING).get("spec", {}).get("ports", ())]
    if ports != [port]:
        yield f"the Service has {ports}, the engine listens on {port}"
    read_write = world.server.peek(ENDPOINT_SLICE, wish.namespace, f"{group}-rw") or _NOTHING
    ports = [entry["port"] for entry in read_write.get("ports") or ()]
    if ports != [port]:
        yield f"-rw leads to {ports}, the engine listens on {port}"
    if (instance["status"].get("endpoints") or {}).get("port") != port:
        yield f"status tells of another port than {port}"


# --- groups --------------------------------------------------------------------------------------


def untold(world: World, group: GroupWish, wishes: Sequence[Wish]) -> list[str]:
    """What a group does not tell as it is."""
    return [f"{group.label} ({group.end}): {line}" for line in _untold(world, group, wishes)]


def _untold(world: World, group: GroupWish, wishes: Sequence[Wish]) -> Iterator[str]:
    found = world.server.peek(CONFIGURATION_GROUP, group.namespace, group.name)
    if group.end == "gone":
        if found is not None:
            yield "it is still there"
        return
    if found is None:
        yield "it is gone"
        return
    status = found.get("status") or {}
    if status.get("observedGeneration") != found["metadata"]["generation"]:
        yield "its status is of an older generation"
        return
    named = [
        wish
        for wish in wishes
        if wish.group is group and world.server.peek(INSTANCE, wish.namespace, wish.name)
    ]
    told = {entry["name"]: entry["state"] for entry in status.get("instances", ())}
    if set(told) != {wish.name for wish in named}:
        yield f"it tells of {sorted(told)}, attached are {sorted(w.name for w in named)}"
    if status.get("attached", 0) != len(named):
        yield f"{len(named)} are attached, told is {status.get('attached')}"
    yield from _said(group, status, told)
    if group.end == "ready":
        waiting = [wish.name for wish in named if pending(world, wish)]
        wrong = {
            name: state
            for name, state in told.items()
            if state != ("PendingRestart" if name in waiting else "Applied")
        }
        if wrong:
            yield f"told is {wrong}, and {waiting} wait for a restart"


def _said(group: GroupWish, status: Object, told: Mapping[str, str]) -> Iterator[str]:
    conditions = {c["type"]: c for c in status.get("conditions", ())}
    shown = {name: (c["status"], c["reason"]) for name, c in conditions.items()}
    if group.end == "ready":
        if shown.get("Ready", ("",))[0] != "True" or len(shown) != 1:
            yield f"conditions are {shown}"
    elif "Stalled" not in shown or shown["Ready"][0] != "False":
        yield f"conditions are {shown}"
    if group.end == "stopped" and not {"Refused", "RolledBack"} & set(told.values()):
        yield f"nobody refused anything: {told}"
