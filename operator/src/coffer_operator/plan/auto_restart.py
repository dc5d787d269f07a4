"""The restart that Coffer does by itself in a maintenance window, as an Operation.

Pure. The Operation's name follows from what it brings into force, so that there is one for each
change, whoever asks for it and how often.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from coffer_common import naming
from coffer_common.resources.operation import OperationPhase, OperationType
from coffer_operator.build.identity import Identity
from coffer_operator.plan.clock import to_text
from coffer_operator.plan.conditions import by_type, since
from coffer_operator.plan.maintenance import opening
from coffer_operator.plan.model import StartOperation
from coffer_operator.plan.rollout import restart_moment
from coffer_operator.plan.world import Member, World

TTL_S: Final = 86400
_FINISHED: Final = (OperationPhase.COMPLETED, OperationPhase.FAILED, OperationPhase.EXPIRED)


@dataclass(frozen=True)
class AutoRestart:
    """The Operation to start now, or when to look again."""

    start: StartOperation | None = None
    wake_at: datetime | None = None


def plan_auto_restart(
    world: World,
    identity: Identity,
    change: str,
    cohort: tuple[Member, ...],
    max_concurrent: int,
) -> AutoRestart:
    """What to do for an instance that needs a restart.

    `change`: what the restart brings into force, in any form; `cohort`: those of its wave.
    """
    maintenance = world.instance.spec.maintenance
    if maintenance is None or not maintenance.auto_restart:
        return AutoRestart()
    found = opening(maintenance.window, world.now)
    if found is None or any(o.status.phase not in _FINISHED for o in world.operations):
        return AutoRestart()  # an Operation that is at work, or next, plans anew at its end
    if not found.holds(world.now):
        return AutoRestart(wake_at=found.begins)
    known = by_type(world.instance.status.conditions).get("RestartRequired")
    begins = max(found.begins, min(since(known, world.now), world.now))
    me = (identity.namespace, identity.name)
    moment = restart_moment(cohort, me, begins, max_concurrent)
    if moment > world.now:
        return AutoRestart(wake_at=moment)
    name = _name(world, identity, change)
    if any(o.metadata.name == name for o in world.operations):
        return AutoRestart()
    return AutoRestart(StartOperation(_operation(identity, name, found.ends)))


def _name(world: World, identity: Identity, change: str) -> str:
    """One that was never begun does not count: the next window has another."""
    expired = {
        o.metadata.name for o in world.operations if o.status.phase is OperationPhase.EXPIRED
    }
    text = f"{identity.uid} {change}"
    while (name := f"{identity.name}-auto-{naming.short_hash(text)}") in expired:
        text += " again"
    return name


def _operation(identity: Identity, name: str, ends: datetime) -> dict[str, Any]:
    return {
        "apiVersion": naming.API_VERSION,
        "kind": "Operation",
        "metadata": {
            "name": name,
            "namespace": identity.namespace,
            "labels": identity.labels,
            "ownerReferences": [identity.owner_reference],
        },
        "spec": {
            "instanceRef": {"name": identity.name},
            "type": OperationType.RESTART.value,
            "notAfter": to_text(ends),
            "ttlSecondsAfterFinished": TTL_S,
        },
    }
