"""Configuration groups: from an edit to the value in the engine, and what that costs.

The engines are asked by connections that are open already, so that nothing but the edit is timed.
"""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import pymysql

from coffer_bench import cost, creation
from coffer_bench.report import Figure, spread
from coffer_bench.requests import count
from coffer_bench.scene import OPERATOR_ACCOUNT, Scene
from coffer_common import rules
from coffer_operator.kube.api import CONFIGURATION_GROUP, KubeApi

TWENTY: Final = 20
GROUP_NAME: Final = "conf"
VARIABLE: Final = "max_connections"
FIRST_VALUE: Final = 200
LIVE_LIMIT_S: Final = 1.0
LIVE_TIMEOUT_S: Final = 60.0
POLL_S: Final = 0.005
SETTLE_S: Final = 3.0
VALUES: Final = 200
VALIDATIONS: Final = 50
VALIDATION_LIMIT_MS: Final = 5.0


def group(value: int) -> dict[str, Any]:
    return {
        "apiVersion": "coffer.dev/v1alpha1",
        "kind": "ConfigurationGroup",
        "metadata": {"name": GROUP_NAME},
        "spec": {
            "datastore": {"type": "mariadb", "version": "10.11"},
            "values": {VARIABLE: value},
            "rollout": {"maxConcurrent": 5},
        },
    }


async def edit_to_live(stage: Scene, runs: int) -> list[Figure]:
    """One instance of a group, then twenty: seconds until the last engine has the edited value."""
    namespace = await creation.new_namespace(stage.api, "configuration")
    try:
        await _put_group(stage.api, namespace, FIRST_VALUE)
        first = ["db0"]
        await _create(stage, namespace, first)
        figures = await _edits(stage, namespace, first, runs, LIVE_LIMIT_S)
        rest = [f"db{i}" for i in range(1, TWENTY)]
        for begin in range(0, len(rest), 5):  # two cores do not start twenty engines at once
            await _create(stage, namespace, rest[begin : begin + 5])
        figures += await _edits(stage, namespace, first + rest, runs, None)
    finally:
        await creation.remove_namespace(stage.api, namespace)
    return [*figures, validation()]


def validation() -> Figure:
    """A group with as many values as there are parameters, up to 200: milliseconds per check."""
    checker = rules.load("mariadb", "10.11")
    names = [n for n, p in checker.parameters.items() if not p.read_only and p.default is not None]
    values: dict[str, object] = {}
    for name in names[:VALUES]:
        values[name] = checker.parameters[name].default
    taken_ms = []
    for _ in range(VALIDATIONS):
        begin = time.perf_counter()
        checker.check(values)
        taken_ms.append((time.perf_counter() - begin) * 1000 * VALUES / len(values))
    found = spread(taken_ms)
    return Figure(
        f"validation of {VALUES} values (from {len(values)})",
        found[1],
        "ms",
        VALIDATION_LIMIT_MS,
        found,
    )


async def _edits(
    stage: Scene, namespace: str, names: list[str], runs: int, limit_s: float | None
) -> list[Figure]:
    hosts = [await creation.service_address(stage.api, namespace, f"{n}-rw") for n in names]
    begin, taken = stage.audit_position(), []
    with _connections(hosts) as connections:
        value = await asyncio.to_thread(_value, connections[0])
        for _ in range(runs):
            value += 1
            started = time.monotonic()
            await _put_group(stage.api, namespace, value)
            await asyncio.to_thread(_wait_all, connections, value)
            taken.append(time.monotonic() - started)
            await asyncio.sleep(SETTLE_S)  # what follows belongs to the edit, too
    sent = count(stage.cluster.layout.audit_log, begin, OPERATOR_ACCOUNT)
    found = spread(taken)
    what = f"{len(names)} instance{'s' if len(names) > 1 else ''} of a group"
    return [
        Figure(f"edit to live, {what}", found[1], "s", limit_s, found),
        Figure(f"operator requests per edit, {what}", sent.operator / runs, ""),
    ]


async def _create(stage: Scene, namespace: str, names: list[str]) -> None:
    await cost.create(stage, namespace, names, configurationRef={"name": GROUP_NAME})


async def _put_group(api: KubeApi, namespace: str, value: int) -> None:
    obj = group(value)
    obj["metadata"]["namespace"] = namespace
    await api.apply(CONFIGURATION_GROUP, obj)


@contextmanager
def _connections(hosts: list[str]) -> "Iterator[list[pymysql.Connection[Any]]]":
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                pymysql.connect(
                    host=host,
                    user=creation.USER,
                    password=creation.PASSWORD,
                    connect_timeout=10,
                    read_timeout=10,
                    autocommit=True,
                )
            )
            for host in hosts
        ]


def _value(connection: "pymysql.Connection[Any]") -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT @@GLOBAL.{VARIABLE}")
        row = cursor.fetchone()
    return int(row[0]) if row else 0


def _wait_all(connections: "list[pymysql.Connection[Any]]", value: int) -> None:
    with ThreadPoolExecutor(len(connections)) as pool:
        list(pool.map(lambda connection: _wait(connection, value), connections))


def _wait(connection: "pymysql.Connection[Any]", value: int) -> None:
    deadline = time.monotonic() + LIVE_TIMEOUT_S
    while _value(connection) != value:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{VARIABLE} is not {value} after {LIVE_TIMEOUT_S:g} s")
        time.sleep(POLL_S)
