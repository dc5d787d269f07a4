"""What Coffer costs: requests to the API server, memory, CPU; created, idle, and in masses."""

import asyncio
from typing import Any

from coffer_bench import creation
from coffer_bench.processes import Usage
from coffer_bench.report import Figure, spread
from coffer_bench.requests import Sender, count
from coffer_bench.scene import OPERATOR_ACCOUNT, Scene
from coffer_bench.timing import ready_moments, version_now
from coffer_operator.kube.api import INSTANCE, POD

TEN = 10
THOUSAND = 1000
IDLE_S = 60.0
SETTLE_S = 10.0
READY_TIMEOUT_S = 300.0


async def requests_and_memory(stage: Scene, runs: int) -> list[Figure]:
    """At 0, 1 and 10 instances; `runs` is not used: counts do not vary with the clock."""
    del runs
    figures = [_memory("operator memory, 0 instances", await stage.operator_usage(), 90)]
    namespace = await creation.new_namespace(stage.api, "cost")
    try:
        figures += await _grow(stage, namespace, 0, 1, 91)
        figures += await _grow(stage, namespace, 1, TEN, 95)
        figures += await _idle(stage, namespace)
    finally:
        await creation.remove_namespace(stage.api, namespace)
    return figures


async def _grow(
    stage: Scene, namespace: str, have: int, want: int, limit_mib: float
) -> list[Figure]:
    names = [f"db{i}" for i in range(have, want)]
    begin, before = stage.audit_position(), await stage.operator_usage()
    await create(stage, namespace, names)
    await asyncio.sleep(SETTLE_S)  # what follows Ready belongs to a creation, too
    sent = _sent(stage, begin)
    after = await stage.operator_usage()
    made = len(names)
    return [
        Figure(f"operator requests per instance, {made} at once", sent.operator / made, "", 40),
        Figure(f"agents' requests per instance, {made} at once", sent.agents / made, ""),
        Figure(
            f"operator CPU per instance, {made} at once", (after.cpu_s - before.cpu_s) / made, "s"
        ),
        _memory(f"operator memory, {want} instances", after, limit_mib),
    ]


async def create(stage: Scene, namespace: str, names: list[str], **spec: Any) -> None:
    """Apply instances, with these fields of their spec, and wait until all are Ready."""
    since = await version_now(stage.api, INSTANCE)
    objects = [creation.password_secret()]
    objects += [creation.coffer_instance(name, **spec) for name in names]
    async with asyncio.timeout(READY_TIMEOUT_S):
        await creation.apply_all(stage.api, namespace, objects)
        await ready_moments(stage.api, INSTANCE, namespace, names, since)


async def _idle(stage: Scene, namespace: str) -> list[Figure]:
    begin, before = stage.audit_position(), await stage.operator_usage()
    await asyncio.sleep(IDLE_S)
    sent, after = _sent(stage, begin), await stage.operator_usage()
    agents = [await stage.agent_usage(namespace, f"db{i}") for i in range(TEN)]
    resident = spread([agent.resident_mib for agent in agents])
    anonymous = spread([agent.anonymous_mib for agent in agents])
    return [
        Figure("requests in an idle minute, 10 instances", sent.operator + sent.agents, "", 0),
        Figure("operator CPU in an idle minute, 10 instances", after.cpu_s - before.cpu_s, "s"),
        Figure("agent memory, idle", resident[1], "MiB", 58, resident),
        Figure("agent memory, idle, anonymous", anonymous[1], "MiB", 35, anonymous),
    ]


async def a_thousand_objects(stage: Scene, runs: int) -> list[Figure]:
    """Instances whose pods no node takes: objects and informers, without engines."""
    del runs
    namespace = await creation.new_namespace(stage.api, "scale")
    nowhere = {"scheduling": {"nodeSelector": {"coffer.dev/nowhere": "true"}}}
    names = [f"db{i}" for i in range(THOUSAND)]
    objects = [creation.password_secret()]
    objects += [creation.coffer_instance(name, **nowhere) for name in names]
    try:
        await creation.apply_all(stage.api, namespace, objects)
        await _pods(stage, namespace, THOUSAND)
        await asyncio.sleep(SETTLE_S)
        begin = stage.audit_position()
        await asyncio.sleep(IDLE_S)
        sent, used = _sent(stage, begin), await stage.operator_usage()
    finally:
        await creation.remove_namespace(stage.api, namespace, timeout_s=1800)
    return [
        _memory("operator memory, 1,000 instances that are not scheduled", used, 150),
        Figure("requests in an idle minute, 1,000 not scheduled", sent.operator, "", 0),
    ]


async def _pods(stage: Scene, namespace: str, wanted: int) -> None:
    """Until so many pods exist."""
    listed = await stage.api.list_page(POD, limit=2 * wanted)
    names = {p["metadata"]["name"] for p in listed.items if p["metadata"]["namespace"] == namespace}
    async with asyncio.timeout(READY_TIMEOUT_S * 4):
        async for event in stage.api.watch(POD, resource_version=listed.resource_version):
            if event.object["metadata"].get("namespace") == namespace:
                names.add(event.object["metadata"]["name"])
            if len(names) >= wanted:
                return


def _sent(stage: Scene, begin: int) -> Sender:
    return count(stage.cluster.layout.audit_log, begin, OPERATOR_ACCOUNT)


def _memory(name: str, used: Usage, limit_mib: float) -> Figure:
    return Figure(name, used.resident_mib, "MiB", limit_mib)
