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
    """Three kills in a row of a floor's engine and of an instance's, of a new pair for each run."""
    taken: dict[str, list[list[float]]] = {"floor": [], "db": []}
    for _ in range(runs):
        namespace = await creation.new_namespace(stage.api, "recovery")
        try:
            sides = await one_of_each(stage, namespace)
            for series in taken.values():
                series.append([])
            for _ in range(KILLS):
                for name, login in sides.items():
                    pod = await stage.api.get(POD, namespace, f"{name}-0")
                    taken[name][-1].append(await killed_until_serving(pod, login))
        finally:
            await creation.remove_namespace(stage.api, namespace)
    every = {name: [one for row in series for one in row] for name, series in taken.items()}
    third = {name: [row[-1] for row in series] for name, series in taken.items()}
    return [
        ratio("engine killed to serving, any of three", every["db"], every["floor"], LIMIT),
        ratio("engine killed to serving, the third", third["db"], third["floor"], LIMIT),
    ]


async def one_of_each(stage: Scene, namespace: str) -> dict[str, Login]:
    """A `floor` and an instance `db`, Ready and answering: how to log in to them."""
    api = stage.api
    ours, pods = await version_now(api, INSTANCE), await version_now(api, POD)
    objects = [creation.password_secret(), creation.coffer_instance("db")]
    objects += floor.objects("floor", stage.image, loop=True)
    async with asyncio.timeout(READY_TIMEOUT_S):
        await creation.apply_all(api, namespace, objects)
        await ready_moments(api, INSTANCE, namespace, ["db"], ours)
        await ready_moments(api, POD, namespace, ["floor-0"], pods)
    address = creation.service_address
    return {
        "floor": Login(await address(api, namespace, "floor"), 3306, "app", floor.PASSWORD),
        "db": Login(await address(api, namespace, "db-rw"), 3306, "app", creation.PASSWORD),
    }
