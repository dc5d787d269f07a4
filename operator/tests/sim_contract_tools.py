"""What the contract tests of the API server work with: objects, watches, waiting."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, Protocol, TypeVar

from coffer_operator.kube.api import (
    CONFIGURATION_GROUP,
    FLAVOR,
    Kind,
    KubeApi,
    NotFoundError,
    Object,
    WatchEvent,
)

T = TypeVar("T")
DEADLINE_S = 30.0
Propagation = Literal["Background", "Foreground"]


class Kubectl(Protocol):
    """Another client of the API server, with a field manager of its own."""

    async def patch(
        self,
        kind: Kind,
        namespace: str | None,
        name: str,
        patch: Mapping[str, Any],
    ) -> Object:
        """JSON merge patch."""
        ...

    async def delete(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        propagation: Propagation,
    ) -> None:
        """Delete with a propagation policy."""
        ...


async def eventually(
    attempt: Callable[[], Awaitable[T | None]], what: str, most_s: float = DEADLINE_S
) -> T:
    """The first answer that is not None; AssertionError after `most_s`."""
    deadline = asyncio.get_running_loop().time() + most_s
    while True:
        found = await attempt()
        if found is not None:
            return found
        assert asyncio.get_running_loop().time() < deadline, f"not within {most_s} s: {what}"
        await asyncio.sleep(0.02)


def config_map(namespace: str, name: str, data: Mapping[str, str], **metadata: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "data": dict(data),
    }


def service(namespace: str, name: str, ports: list[Object]) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "labels": {"a": "1"}},
        "spec": {"selector": {"app": name}, "ports": ports, "publishNotReadyAddresses": True},
    }


def stateful_set(namespace: str, name: str) -> Object:
    """One with no replicas, so that nothing comes of it, and the fields ours have."""
    mount = {"name": "run", "mountPath": "/run/coffer"}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name, "namespace": namespace, "annotations": {"coffer.dev/x": "1"}},
        "spec": {
            "replicas": 0,
            "serviceName": name,
            "selector": {"matchLabels": {"app": name}},
            "updateStrategy": {"type": "OnDelete"},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "initContainers": [
                        {
                            "name": "guest",
                            "image": "localhost/guest:1",
                            "restartPolicy": "Always",
                            "volumeMounts": [mount],
                        }
                    ],
                    "containers": [
                        {
                            "name": "database",
                            "image": "localhost/guest:1",
                            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                            "ports": [{"name": "db", "containerPort": 3306, "protocol": "TCP"}],
                            "resources": {
                                "requests": {"cpu": "25m", "memory": "512Mi"},
                                "limits": {"memory": "512Mi"},
                            },
                            "volumeMounts": [mount],
                        }
                    ],
                    "volumes": [{"name": "run", "emptyDir": {}}],
                },
            },
        },
    }


def endpoint_slice(namespace: str, name: str) -> Object:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {
                "kubernetes.io/service-name": name,
                "endpointslice.kubernetes.io/managed-by": "coffer.dev",
            },
        },
        "addressType": "IPv4",
    }


def flavor(name: str) -> Object:
    """An object of ours that nobody acts on."""
    return {
        "apiVersion": FLAVOR.api_version,
        "kind": FLAVOR.kind,
        "metadata": {"name": name},
        "spec": {"vcpus": "1", "ram": "1Gi"},
    }


def configuration_group(namespace: str, name: str, values: Mapping[str, Any]) -> Object:
    """One of no engine: an operator that runs can only say so."""
    return {
        "apiVersion": CONFIGURATION_GROUP.api_version,
        "kind": CONFIGURATION_GROUP.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"datastore": {"type": "none", "version": "1"}, "values": dict(values)},
    }


def said(reason: str) -> Object:
    """A status with one condition."""
    return {
        "conditions": [
            {
                "type": "coffer.dev/Tried",
                "status": "True",
                "reason": reason,
                "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
        ]
    }


def claim(namespace: str, name: str) -> Object:
    """In a storage class that no provisioner serves."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "nobody-serves-this",
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }


def owner(obj: Object) -> Object:
    metadata = obj["metadata"]
    return {
        "apiVersion": obj["apiVersion"],
        "kind": obj["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": False,
    }


def version(obj: Object) -> str:
    return str(obj["metadata"]["resourceVersion"])


class Stream:
    """A watch in the background, its events of one namespace collected."""

    def __init__(self, api: KubeApi, kind: Kind, namespace: str, since: str) -> None:
        self.events: list[WatchEvent] = []
        self.bookmarks: list[str] = []
        self._task = asyncio.create_task(self._run(api, kind, namespace, since))

    async def _run(self, api: KubeApi, kind: Kind, namespace: str, since: str) -> None:
        while True:  # a server ends its watches; one goes on from where it was
            async for event in api.watch(kind, resource_version=since):
                since = version(event.object)
                if event.type == "BOOKMARK":
                    self.bookmarks.append(since)
                elif event.object["metadata"].get("namespace") == namespace:
                    self.events.append(event)

    def seen(self) -> list[tuple[str, str]]:
        return [(event.type, event.object["metadata"]["name"]) for event in self.events]

    async def until(self, count: int) -> list[tuple[str, str]]:
        async def enough() -> list[tuple[str, str]] | None:
            if self._task.done():
                self._task.result()
            return self.seen() if len(self.events) >= count else None

        return await eventually(enough, f"{count} events; there are {self.seen()}")

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def current(api: KubeApi, kind: Kind) -> str:
    return (await api.list_page(kind, limit=1)).resource_version


async def missing(api: KubeApi, kind: Kind, namespace: str, name: str) -> None:
    async def gone() -> bool | None:
        try:
            await api.get(kind, namespace, name)
        except NotFoundError:
            return True
        return None

    await eventually(gone, f"{kind.kind} {name} gone")
