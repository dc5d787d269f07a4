"""Backups on a cluster: how long they take, what they cost the engine's clients, what is uploaded.

The data path itself is measured beside its floor by `backup_pipeline`, without a cluster.
"""

import asyncio
import base64
import secrets
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import boto3
import pymysql
from botocore.config import Config

from coffer_bench import backup_data, creation
from coffer_bench.processes import process_ids, usage
from coffer_bench.report import Figure, spread
from coffer_bench.scene import Scene
from coffer_cluster.cluster import Cluster
from coffer_operator.kube.api import (
    BACKUP,
    BACKUP_STORAGE,
    FLAVOR,
    INSTANCE,
    POD,
    SECRET,
    Kind,
    KubeApi,
)

SCALE: Final = 1.4  # 1.5 GB
SHARE: Final = 0.01
CHANGES: Final = {  # in columns that no index orders: the rows' own pages change
    "customers": "note = UPPER(note)",
    "orders": "total = total + 1",
    "events": "body = UPPER(body)",
}
SCATTERED: Final = {"orders": "state = UPPER(state)"}  # an index holds these rows all over itself
INCREMENT_LIMIT: Final = 0.05  # of the full's bytes in the bucket
MEMORY_LIMIT_MIB: Final = 320.0  # by TLS
FLAVOR_NAME: Final = "bench-backups"
STORE: Final = "store"
POLL_S: Final = 0.1
FILL_TIMEOUT_S: Final = 900
TIMEOUT_S: Final = 600.0
LATENCY_S: Final = 10.0

Object = dict[str, Any]


async def full_increment_restore(stage: Scene, runs: int) -> list[Figure]:
    """Full backups, an increment after one row in a hundred changed, and restores of the full."""
    namespace = await creation.new_namespace(stage.api, "backups")
    try:
        await _prepare(stage, namespace)
        await _make_instance(stage.api, namespace, "db0")
        host = await creation.service_address(stage.api, namespace, "db0-rw")
        await asyncio.to_thread(_fill, host)
        fulls, latencies, peak_mib = await _fulls(stage, namespace, host, runs)
        increment = await _increment(stage.api, namespace, host, "increment", CHANGES)
        scattered = await _increment(stage.api, namespace, host, "scattered", SCATTERED)
        restores = [await _restore(stage.api, namespace, f"r{run}", "full0") for run in range(runs)]
    finally:
        await creation.remove_namespace(stage.api, namespace)
    full = fulls[0][0]
    taken = [seconds for _, seconds in fulls]
    raw_mb = full["rawBytes"] / 1e6
    share, spread_out = (one["sizeBytes"] / full["sizeBytes"] for one in (increment, scattered))
    return [
        Figure(
            f"full backup of {raw_mb:.0f} MB by TLS",
            statistics.median(taken),
            "s",
            None,
            spread(taken),
        ),
        Figure("  per second", raw_mb / statistics.median(taken), "MB/s"),
        Figure("  its bytes in the bucket", full["sizeBytes"] / full["rawBytes"], "x plain"),
        Figure("  agent and tool at their peak", peak_mib, "MiB", MEMORY_LIMIT_MIB),
        *latencies,
        Figure("increment after 1 % changed, its bytes", share, "x full", INCREMENT_LIMIT),
        Figure("  in a column with an index", spread_out, "x full", INCREMENT_LIMIT),
        Figure("restore, apply to Ready", statistics.median(restores), "s", None, spread(restores)),
    ]


# --- set-up ---------------------------------------------------------------------------------------
async def _prepare(stage: Scene, namespace: str) -> None:
    """A bucket with its storage, and a Flavor that holds the data's indexes."""
    access, bucket = stage.cluster.s3, f"bench-{secrets.token_hex(4)}"
    await asyncio.to_thread(_make_bucket, stage.cluster, bucket)
    spec = {"vcpus": "2", "ram": "2Gi", "cpuRequestPercent": 1}
    await stage.api.apply(FLAVOR, _object("Flavor", FLAVOR_NAME, spec))
    entries = {
        "credentials": {"accessKeyId": access.access_key, "secretAccessKey": access.secret_key},
        "authority": {"ca.crt": access.ca_file.read_text()},
        "key": {"current": "k", "k": base64.b64encode(secrets.token_bytes(32)).decode()},
    }
    for name, content in entries.items():
        await _apply(stage.api, SECRET, namespace, _secret(name, content))
    s3 = {
        "endpoint": access.service_tls_endpoint,
        "bucket": bucket,
        "credentialsSecretRef": {"name": "credentials"},
        "caSecretRef": {"name": "authority"},
    }
    storage = {"s3": s3, "encryption": {"keySecretRef": {"name": "key"}}}
    await _apply(stage.api, BACKUP_STORAGE, namespace, _object("BackupStorage", STORE, storage))
    await _until(stage.api, BACKUP_STORAGE, namespace, STORE, _is_ready)


def _make_bucket(cluster: Cluster, name: str) -> None:
    access = cluster.s3
    client = boto3.client(
        "s3",
        endpoint_url=access.endpoint,
        aws_access_key_id=access.access_key,
        aws_secret_access_key=access.secret_key,
        region_name=access.region,
        config=Config(s3={"addressing_style": "path"}),
    )
    client.create_bucket(Bucket=name)


def _object(kind: str, name: str, spec: Object) -> Object:
    return {
        "apiVersion": "coffer.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }


def _secret(name: str, entries: dict[str, str]) -> Object:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in entries.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}


async def _apply(api: KubeApi, kind: Kind, namespace: str, obj: Object) -> None:
    await api.apply(kind, {**obj, "metadata": {**obj["metadata"], "namespace": namespace}})


async def _make_instance(api: KubeApi, namespace: str, name: str, **spec: Any) -> None:
    user = {
        "name": creation.USER,
        "passwordSecretRef": {"name": "app-password"},
        "databases": [backup_data.DATABASE],
    }
    obj = creation.coffer_instance(
        name,
        flavor=FLAVOR_NAME,
        volume={"size": "10Gi"},
        databases=[{"name": backup_data.DATABASE}],
        users=[user],
        **spec,
    )
    await creation.apply_all(api, namespace, [creation.password_secret(), obj])
    await _until(api, INSTANCE, namespace, name, _is_ready)


async def _until(
    api: KubeApi, kind: Kind, namespace: str, name: str, done: Callable[[Object], bool]
) -> Object:
    """The object, as soon as that is so. Raises TimeoutError."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            found = dict(await api.get(kind, namespace, name))
            if done(found):
                return found
            await asyncio.sleep(POLL_S)


def _is_ready(obj: Object) -> bool:
    conditions = obj.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _has_ended(obj: Object) -> bool:
    return obj.get("status", {}).get("phase") in ("Completed", "Failed")


# --- what is measured -----------------------------------------------------------------------------
async def _back_up(api: KubeApi, namespace: str, name: str, **spec: Any) -> tuple[Object, float]:
    """Its status, and seconds from apply to its end. Raises RuntimeError where it failed."""
    wanted = {"instanceRef": {"name": "db0"}, "storageRef": {"name": STORE}, **spec}
    begin = time.monotonic()
    await _apply(api, BACKUP, namespace, _object("Backup", name, wanted))
    status = (await _until(api, BACKUP, namespace, name, _has_ended))["status"]
    if status["phase"] != "Completed":
        raise RuntimeError(f"backup {name}: {status.get('message')}")
    return status, time.monotonic() - begin


async def _fulls(
    stage: Scene, namespace: str, host: str, runs: int
) -> tuple[list[tuple[Object, float]], list[Figure], float]:
    """Full backups, what a client's small transactions take meanwhile, and the peak of memory."""
    with _transactions(host) as alone:
        await asyncio.sleep(LATENCY_S)
    pod = dict(await stage.api.get(POD, namespace, "db0-0"))
    fulls = []
    with _transactions(host) as beside, _memory(pod) as seen_mib:
        for run in range(runs):
            fulls.append(await _back_up(stage.api, namespace, f"full{run}"))
    quiet, busy = statistics.median(alone), statistics.median(beside)
    high = statistics.quantiles(beside, n=100)[94]
    return (
        fulls,
        [
            Figure("transaction without a backup, median", quiet * 1000, "ms"),
            Figure("transaction during a backup, median", busy * 1000, "ms"),
            Figure("transaction during a backup, 95th percentile", high * 1000, "ms"),
        ],
        max(seen_mib),
    )


async def _increment(
    api: KubeApi, namespace: str, host: str, name: str, changes: Mapping[str, str]
) -> Object:
    """The status of an increment after these changes. Raises RuntimeError if it is none."""
    await asyncio.to_thread(_change, host, changes)
    status, _ = await _back_up(api, namespace, name, type="incremental")
    if status["type"] != "incremental":
        raise RuntimeError(f"no increment was taken: {status.get('message')}")
    return status


async def _restore(api: KubeApi, namespace: str, name: str, backup: str) -> float:
    begin = time.monotonic()
    await _make_instance(api, namespace, name, restoreFrom={"backupRef": {"name": backup}})
    taken = time.monotonic() - begin
    await api.delete(INSTANCE, namespace, name)
    return taken


@contextmanager
def _transactions(host: str) -> Iterator[list[float]]:
    """Seconds of each, one after the other, while the block runs."""
    taken: list[float] = []
    ended = threading.Event()

    def work() -> None:
        with _connection(host) as connection, connection.cursor() as cursor:
            while not ended.is_set():
                begin = time.monotonic()
                key = 1 + len(taken) * 7919 % 100_000
                cursor.execute("UPDATE orders SET total = total + 1 WHERE id = %s", (key,))
                taken.append(time.monotonic() - begin)
                ended.wait(0.01)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield taken
    finally:
        ended.set()
        thread.join()


@contextmanager
def _memory(pod: Object) -> Iterator[list[float]]:
    """Anonymous memory of all processes of the guest container, in MiB, while the block runs."""
    seen: list[float] = [0.0]
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(POLL_S):
            total = 0.0
            for pid in process_ids(pod, "guest"):
                try:
                    total += usage(pid).anonymous_mib
                except (FileNotFoundError, ProcessLookupError, KeyError):
                    continue  # it ended meanwhile
            seen.append(total)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


# --- rows -----------------------------------------------------------------------------------------
def _connection(host: str) -> "pymysql.Connection[Any]":
    return pymysql.connect(
        host=host,
        user=creation.USER,
        password=creation.PASSWORD,
        database=backup_data.DATABASE,
        connect_timeout=10,
        read_timeout=FILL_TIMEOUT_S,
        autocommit=True,
    )


def _fill(host: str) -> None:
    with _connection(host) as connection, connection.cursor() as cursor:
        for statement in backup_data.statements(SCALE):
            cursor.execute(statement)


def _change(host: str, changes: Mapping[str, str]) -> None:
    """One row in a hundred of each table, the newest ones."""
    with _connection(host) as connection, connection.cursor() as cursor:
        for table, change in changes.items():
            cursor.execute(f"SELECT MAX(id) FROM {table}")
            ((last,),) = cursor.fetchall()
            cursor.execute(f"UPDATE {table} SET {change} WHERE id > {int(last * (1 - SHARE))}")
