"""The engine killed: how long until it serves again, beside the floor's engine killed alike.

The floor here is the same program on the same kind of volume under a shell loop that starts it
again at once: the engine's own recovery, and nothing else.
"""

import asyncio
import os
import signal
import time
from typing import Any

from coffer_bench import creation, floor
from coffer_bench.processes import named
from coffer_bench.report import Figure, ratio
from coffer_bench.scene import Scene
from coffer_bench.timing import Login, first_answer, ready_moments, version_now
from coffer_operator.kube.api import INSTANCE, POD

KILLS = 3  # in a row: kubelet's back-off would show from the second on
LIMIT = 1.2
READY_TIMEOUT_S = 120.0


async def killed_until_serving(pod: dict[str, Any], login: Login) -> float:
    """Seconds from kill -9 of the engine to the next answered query."""
    pid = named(pod, "database", "mariadbd")
    begin = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    return await first_answer(login) - begin


async def killed_engines(stage: Scene, runs: int) -> list[Figure]:
    """Three kills in a row of a floor engine and of an instance's."""
    del runs
    namespace = await creation.new_namespace(stage.api, "recovery")
    try:
        await _prepare(stage, namespace)
        sides = {
            "floor": Login(await _address(stage, namespace, "floor"), 3306, "app", floor.PASSWORD),
            "db": Login(await _address(stage, namespace, "db-rw"), 3306, "app", creation.PASSWORD),
        }
        taken: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(KILLS):
            for name, login in sides.items():
                pod = await stage.api.get(POD, namespace, f"{name}-0")
                taken[name].append(await killed_until_serving(pod, login))
        return [
            ratio("engine killed to serving, median", taken["db"], taken["floor"], LIMIT),
            ratio("engine killed to serving, third", taken["db"][-1:], taken["floor"][-1:], LIMIT),
        ]
    finally:
        await creation.remove_namespace(stage.api, namespace)


async def _prepare(stage: Scene, namespace: str) -> None:
    """One of each, Ready and answering."""
    api = stage.api
    ours, pods = await version_now(api, INSTANCE), await version_now(api, POD)
    objects = [creation.password_secret(), creation.coffer_instance("db")]
    objects += floor.objects("floor", stage.image, loop=True)
    async with asyncio.timeout(READY_TIMEOUT_S):
        await creation.apply_all(api, namespace, objects)
        await ready_moments(api, INSTANCE, namespace, ["db"], ours)
        await ready_moments(api, POD, namespace, ["floor-0"], pods)


async def _address(stage: Scene, namespace: str, service: str) -> str:
    return await creation.service_address(stage.api, namespace, service)
