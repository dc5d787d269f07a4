"""Creation: apply → Ready and apply → first query, Coffer and the floor in turns.

Each run has a namespace of its own; runs of the two sides alternate, so that what else the machine
does falls on both.
"""

import asyncio
import base64
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from coffer_bench import floor
from coffer_bench.timing import Login, first_answer, ready_moments, version_now
from coffer_operator.kube.api import (
    CONFIG_MAP,
    FLAVOR,
    INSTANCE,
    POD,
    PVC,
    SECRET,
    SERVICE,
    STATEFUL_SET,
    Kind,
    KubeApi,
    NotFoundError,
)

NAMESPACE_KIND = Kind("", "v1", "Namespace", "namespaces", namespaced=False)
KINDS = {k.kind: k for k in (CONFIG_MAP, SECRET, SERVICE, STATEFUL_SET, INSTANCE, PVC)}
RUN_TIMEOUT_S = 180.0
REMOVE_TIMEOUT_S = 300.0
REMOVAL_POLL_S = 0.5  # a watch that begins before a thousand deletions is too old after them
FLAVOR_NAME = "bench"
USER = "app"
PASSWORD = "bench"

Object = dict[str, Any]


@dataclass
class Samples:
    """Seconds after apply: until all were Ready, until all answered."""

    ready: list[float] = field(default_factory=list)
    query: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Side:
    """One of the two that are compared: what to apply, what to watch, whom to ask."""

    name: str
    watched: Kind
    ready_name: str  # of the watched object, by instance
    service: str
    password: str
    port: int = 3306

    def manifests(self, instance: str, image: str) -> list[Object]:
        if self.name == "floor":
            return floor.objects(instance, image)
        return [password_secret(), coffer_instance(instance)]


FLOOR = Side("floor", POD, "{}-0", "{}", floor.PASSWORD)
COFFER = Side("coffer", INSTANCE, "{}", "{}-rw", PASSWORD)


def flavor() -> Object:
    """As large as the floor: 512 MiB and two processors."""
    return {
        "apiVersion": "coffer.dev/v1alpha1",
        "kind": "Flavor",
        "metadata": {"name": FLAVOR_NAME},
        "spec": {"vcpus": "2", "ram": "512Mi", "cpuRequestPercent": 1},
    }


def password_secret() -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "app-password"},
        "data": {"password": base64.b64encode(PASSWORD.encode()).decode()},
    }


def coffer_instance(name: str, **spec: Any) -> Object:
    return {
        "apiVersion": "coffer.dev/v1alpha1",
        "kind": "DatabaseInstance",
        "metadata": {"name": name},
        "spec": {
            "datastore": {"type": "mariadb"},
            "flavor": FLAVOR_NAME,
            "volume": {"size": "1Gi"},
            "databases": [{"name": floor.DATABASE}],
            "users": [
                {
                    "name": USER,
                    "passwordSecretRef": {"name": "app-password"},
                    "databases": [floor.DATABASE],
                }
            ],
            "deletionPolicy": "Delete",
            **spec,
        },
    }


async def apply_all(api: KubeApi, namespace: str, objects: Sequence[Object]) -> None:
    for obj in objects:
        placed = {**obj, "metadata": {**obj["metadata"], "namespace": namespace}}
        await api.apply(KINDS[obj["kind"]], placed)


async def new_namespace(api: KubeApi, side: str) -> str:
    name = f"bench-{side}-{secrets.token_hex(4)}"
    await api.create(
        NAMESPACE_KIND, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    )
    return name


async def remove_namespace(api: KubeApi, name: str, timeout_s: float = REMOVE_TIMEOUT_S) -> None:
    """Delete a namespace and wait until it is gone with all in it: the next run starts even.

    Pods first: Kubernetes looks again at a namespace with pods only after half the time that they
    may take to end, which is minutes for a database.
    """
    async with asyncio.timeout(timeout_s):
        for kind in (INSTANCE, STATEFUL_SET):
            for obj in await _within(api, kind, name):
                await _delete(api, kind, name, obj["metadata"]["name"])
        while await _within(api, POD, name):  # noqa: ASYNC110 - another process's pods
            await asyncio.sleep(REMOVAL_POLL_S)
        await api.delete(NAMESPACE_KIND, None, name)
        while await _exists(api, name):  # noqa: ASYNC110 - as above
            await asyncio.sleep(REMOVAL_POLL_S)


async def _exists(api: KubeApi, namespace: str) -> bool:
    listed = (await api.list_page(NAMESPACE_KIND)).items
    return any(obj["metadata"]["name"] == namespace for obj in listed)


async def _within(api: KubeApi, kind: Kind, namespace: str) -> list[Object]:
    listed = (await api.list_page(kind, limit=5000)).items
    return [dict(obj) for obj in listed if obj["metadata"]["namespace"] == namespace]


async def _delete(api: KubeApi, kind: Kind, namespace: str, name: str) -> None:
    with suppress(NotFoundError):
        await api.delete(kind, namespace, name)


async def service_address(api: KubeApi, namespace: str, name: str) -> str:
    """The ClusterIP, as soon as the Service exists."""
    listed = await api.list_page(SERVICE)
    for item in listed.items:
        if (item["metadata"]["namespace"], item["metadata"]["name"]) == (namespace, name):
            return str(item["spec"]["clusterIP"])
    async for event in api.watch(SERVICE, resource_version=listed.resource_version):
        meta = event.object["metadata"]
        if (meta.get("namespace"), meta.get("name")) == (namespace, name):
            return str(event.object["spec"]["clusterIP"])
    raise RuntimeError("the watch of Services ended early")


async def run_once(api: KubeApi, side: Side, count: int, image: str, samples: Samples) -> None:
    """Apply `count` instances at once, and note when all were Ready and had answered."""
    namespace = await new_namespace(api, side.name)
    names = [f"db{i}" for i in range(count)]
    watched = [side.ready_name.format(name) for name in names]
    since = await version_now(api, side.watched)
    objects = [obj for name in names for obj in side.manifests(name, image)]
    try:
        async with asyncio.timeout(RUN_TIMEOUT_S), asyncio.TaskGroup() as group:
            begin = time.monotonic()
            ready = group.create_task(ready_moments(api, side.watched, namespace, watched, since))
            group.create_task(apply_all(api, namespace, objects))
            answers = [group.create_task(answer(api, side, namespace, name)) for name in names]
        samples.ready.append(max(ready.result().values()) - begin)
        samples.query.append(max(task.result() for task in answers) - begin)
    finally:
        await remove_namespace(api, namespace)


async def answer(api: KubeApi, side: Side, namespace: str, name: str) -> float:
    """When the instance answered its first query through its Service."""
    host = await service_address(api, namespace, side.service.format(name))
    return await first_answer(Login(host, side.port, USER, side.password))


async def prepare(api: KubeApi) -> None:
    await api.apply(FLAVOR, flavor())


async def compare(api: KubeApi, count: int, image: str, runs: int) -> tuple[Samples, Samples]:
    """Floor and Coffer in turns; an extra first run of each warms caches and is not counted."""
    floor_samples, coffer_samples = Samples(), Samples()
    await run_once(api, FLOOR, count, image, Samples())
    await run_once(api, COFFER, count, image, Samples())
    for _ in range(runs):
        await run_once(api, FLOOR, count, image, floor_samples)
        await run_once(api, COFFER, count, image, coffer_samples)
    return floor_samples, coffer_samples
