"""Worlds for the tests of plan: catalogue, instances, edits, and Worlds at an end."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from coffer_common.resources.catalogue import DatastoreVersion, Flavor
from coffer_common.resources.instance import DatabaseInstance
from coffer_common.resources.operation import Operation
from coffer_common.rules import Parameter, Rules
from coffer_operator.plan.world import (
    Catalogue,
    StorageClassFact,
    World,
)

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
UID = "5f0c7f0e-0001"
GIB = 1024**3

NAMES = {
    "databaseNames": {
        "pattern": "[A-Za-z0-9_-]{2,64}",
        "allowed": "letters, digits, _ and -",
        "maxLength": 64,
        "reserved": ["mysql", "sys"],
    },
    "userNames": {
        "pattern": "[A-Za-z0-9_]{1,80}",
        "allowed": "letters, digits and _",
        "maxLength": 80,
        "reserved": ["root"],
    },
    "userHosts": {
        "pattern": "[0-9.%]+",
        "allowed": "% or an address or a pattern",
        "maxLength": 60,
    },
}


def datastore_version(name: str = "mariadb-10.11", **spec: Any) -> DatastoreVersion:
    datastore, version = name.split("-", 1)
    content: dict[str, Any] = {
        "datastore": datastore,
        "version": version,
        "manager": datastore,
        "image": f"registry.test/{name}:1",
        "port": 3306,
        "default": True,
        "minVolumeSize": "1Gi",
    }
    content |= NAMES if datastore == "mariadb" else {"userNames": NAMES["userNames"]}
    return DatastoreVersion.model_validate({"metadata": {"name": name}, "spec": content | spec})


def parameter(name: str, **fields: Any) -> Parameter:
    plain = {"name": name, "type": "integer", "description": "x", "restart_required": False}
    return Parameter.model_validate(plain | fields)


RULES = Rules(
    {
        p.name: p
        for p in (
            parameter("max_connections", min=1, max=1000),
            parameter("wait_timeout", min=1, max=10**6),
            parameter("slow_query_log", type="boolean"),
            parameter("sort_buffer_size", type="size", min=1024, max=GIB),
            parameter("innodb_log_buffer_size", type="size", max=GIB, restart_required=True),
            parameter("port", min=1024, max=65535, restart_required=True),
            parameter("datadir", type="string", restart_required=True, read_only=True),
        )
    }
)


def flavor(name: str, vcpus: str, ram: str) -> Flavor:
    return Flavor.model_validate({"metadata": {"name": name}, "spec": {"vcpus": vcpus, "ram": ram}})


def catalogue(*versions: DatastoreVersion) -> Catalogue:
    entries = versions or (
        datastore_version(),
        datastore_version("redis-7.0", port=6379, minVolumeSize="256Mi"),
    )
    return Catalogue(
        datastore_versions={v.metadata.name: v for v in entries},
        flavors={
            f.metadata.name: f
            for f in (flavor("tiny", "0.25", "512Mi"), flavor("small", "1", "1Gi"))
        },
        storage_classes={
            "fast": StorageClassFact("fast", default=True),
            "slow": StorageClassFact("slow", default=False),
        },
        rules={v.metadata.name: RULES for v in entries},
    )


def instance_obj(name: str = "shop", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "namespace": "prod",
            "uid": UID,
            "generation": 1,
            "creationTimestamp": "2026-11-22T11:59:59Z",
        },
        "spec": {
            "datastore": {"type": "mariadb"},
            "flavor": "tiny",
            "volume": {"size": "1Gi"},
        }
        | spec,
    }


def instance(name: str = "shop", **spec: Any) -> DatabaseInstance:
    return DatabaseInstance.model_validate(instance_obj(name, **spec))


def world(subject: DatabaseInstance | None = None, **facts: Any) -> World:
    plain = World(
        now=NOW,
        instance=subject or instance(),
        catalogue=catalogue(),
        certificate_known=True,
        ca_fingerprint="ca1",
        operator_namespace="coffer-system",
    )
    return replace(plain, **facts)


def edited(before: World, **spec: Any) -> World:
    """The World after the user changed fields of the spec."""
    content = before.instance.model_dump(by_alias=True, mode="json")
    content["spec"] |= spec
    content["metadata"]["generation"] += 1
    return replace(before, instance=DatabaseInstance.model_validate(content))


def with_status(before: World, status: Mapping[str, Any] | None) -> World:
    content = before.instance.model_dump(by_alias=True, mode="json")
    content["status"] = dict(status or {})
    return replace(before, instance=DatabaseInstance.model_validate(content))


def later(before: World, seconds: float) -> World:
    return replace(before, now=before.now + timedelta(seconds=seconds))


def operation(name: str = "op", kind: str = "Restart", **extra: Any) -> Operation:
    status = extra.pop("status", {})
    created = extra.pop("created", "2026-11-22T12:00:00Z")
    return Operation.model_validate(
        {
            "metadata": {"name": name, "uid": f"uid-{name}", "creationTimestamp": created},
            "spec": {"instanceRef": {"name": "shop"}, "type": kind} | extra,
            "status": status,
        }
    )
