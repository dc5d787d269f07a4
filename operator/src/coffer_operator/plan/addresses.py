"""The addresses behind `<group>-rw`: emptied when their pod is gone, refilled when they miss.

Pure. The agent of the source writes them; the operator only mends what it cannot: an agent that is
gone does not take its address out, and one that runs does not know that it was taken out.
"""

from coffer_common import naming
from coffer_operator.plan.agent import AgentView
from coffer_operator.plan.model import EmptySlice, FillSlice
from coffer_operator.plan.world import World


def plan_addresses(
    world: World, view: AgentView, group: str, port: int | None
) -> tuple[EmptySlice | FillSlice, ...]:
    """The patch of the -rw slice, checked by resourceVersion, or nothing."""
    fact, pod = world.read_write, world.pod
    name = naming.read_write_slice(group)
    if fact is None:
        return ()
    if fact.addresses:
        stale = (
            pod is None
            or pod.phase in ("Succeeded", "Failed")
            or fact.target_pod_uid not in (None, pod.uid)
            or (pod.ip is not None and pod.ip not in fact.addresses)
        )
        return (EmptySlice(name, fact.resource_version),) if stale else ()
    if pod is None or pod.deleting or not pod.ready or pod.ip is None or pod.node is None:
        return ()
    if port is None or not view.engine_answers:
        return ()
    return (
        FillSlice(
            name=name,
            resource_version=fact.resource_version,
            address=pod.ip,
            pod_name=pod.name,
            pod_uid=pod.uid,
            node=pod.node,
            port=port,
        ),
    )


def address_is_served(world: World) -> bool | None:
    """Whether -rw leads to the present pod; None: cannot tell."""
    fact, pod = world.read_write, world.pod
    if fact is None or pod is None or pod.ip is None:
        return None
    return pod.ip in fact.addresses and fact.target_pod_uid in (None, pod.uid)
