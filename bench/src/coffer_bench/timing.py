"""Moments after an apply: when an object was Ready, when the first query was answered.

Times are seconds on the monotonic clock. Readiness comes from watches, so that measuring adds no
load of its own; queries come from threads that try again at once.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pymysql

from coffer_operator.kube.api import Kind, KubeApi

RETRY_S = 0.02
QUERY_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Login:
    """Where and as whom to send SELECT 1."""

    host: str
    port: int
    user: str
    password: str


def is_ready(obj: Mapping[str, Any]) -> bool:
    """The Ready condition of a pod or of a DatabaseInstance."""
    conditions = obj.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


async def ready_moments(
    api: KubeApi, kind: Kind, namespace: str, names: Sequence[str], since: str
) -> dict[str, float]:
    """When each of `names` was first seen Ready, from resourceVersion `since` on."""
    moments: dict[str, float] = {}
    async for event in api.watch(kind, resource_version=since):
        now = time.monotonic()
        meta = event.object.get("metadata", {})
        name = meta.get("name")
        if meta.get("namespace") == namespace and name in names and is_ready(event.object):
            moments.setdefault(name, now)
        if len(moments) == len(names):
            return moments
    raise RuntimeError(f"the watch of {kind.plural} ended early")


async def version_now(api: KubeApi, kind: Kind) -> str:
    return (await api.list_page(kind, limit=1)).resource_version


def _answered(login: Login, deadline: float) -> float:
    while True:
        try:
            with pymysql.connect(
                host=login.host,
                port=login.port,
                user=login.user,
                password=login.password,
                connect_timeout=1,
                read_timeout=1,
            ) as connection:
                with connection.cursor() as cursor:
                    cursor.execute("SELECT 1")
                return time.monotonic()
        except pymysql.MySQLError as error:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{login.user} at {login.host}: no answer: {error}") from error
            time.sleep(RETRY_S)


async def first_answer(login: Login) -> float:
    """When SELECT 1 was first answered."""
    return await asyncio.to_thread(_answered, login, time.monotonic() + QUERY_TIMEOUT_S)
