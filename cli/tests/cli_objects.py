"""Objects of the command line's tests, as the operator would have them."""

from collections.abc import Callable
from typing import Any

from click.testing import Result

Object = dict[str, Any]
Run = Callable[..., Result]  # the fixture `run`: the program with these arguments

INSTANCES = "/apis/coffer.dev/v1alpha1/namespaces/shop/databaseinstances"
OPERATIONS = "/apis/coffer.dev/v1alpha1/namespaces/shop/operations"
GROUPS = "/apis/coffer.dev/v1alpha1/namespaces/shop/configurationgroups"
BACKUPS = "/apis/coffer.dev/v1alpha1/namespaces/shop/backups"
STORAGES = "/apis/coffer.dev/v1alpha1/namespaces/shop/backupstorages"
SCHEDULES = "/apis/coffer.dev/v1alpha1/namespaces/shop/backupschedules"
CONFIG_MAPS = "/api/v1/namespaces/shop/configmaps"
DATASTORES = "/apis/coffer.dev/v1alpha1/datastoreversions"
FLAVORS = "/apis/coffer.dev/v1alpha1/flavors"
SECRETS = "/api/v1/namespaces/shop/secrets"
PODS = "/api/v1/namespaces/shop/pods"
EVENTS = "/api/v1/namespaces/shop/events"
DEPLOYMENTS = "/apis/apps/v1/namespaces/coffer-system/deployments"


def condition(kind: str, value: str, message: str = "", generation: int = 1) -> Object:
    return {
        "type": kind,
        "status": value,
        "reason": "Because",
        "message": message,
        "observedGeneration": generation,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }


def ready_status(name: str = "orders") -> Object:
    return {
        "phase": "Active",
        "observedGeneration": 1,
        "conditions": [
            condition("Ready", "True", "serving"),
            condition("Available", "True", "accepts connections"),
        ],
        "role": "standalone",
        "group": name,
        "endpoints": {
            "host": f"{name}-rw.shop.svc",
            "port": 3306,
            "readOnlyHost": f"{name}-ro.shop.svc",
        },
        "bindingSecrets": [{"user": "app", "host": "%", "name": f"{name}-app"}],
        "datastore": {"type": "mariadb", "version": "10.11", "name": "mariadb-10.11"},
        "volume": {"size": "10Gi", "usedBytes": 1610612736, "usedPercent": 15},
    }


def building_status(message: str) -> Object:
    return {
        "phase": "Building",
        "observedGeneration": 1,
        "conditions": [
            condition("Ready", "False", message),
            condition("Reconciling", "True", message),
        ],
    }


def stalled_status(message: str) -> Object:
    return {
        "phase": "Error",
        "observedGeneration": 1,
        "conditions": [condition("Ready", "False", message), condition("Stalled", "True", message)],
    }


def instance(name: str = "orders", *, namespace: str = "shop", **spec: Any) -> Object:
    return {
        "apiVersion": "coffer.dev/v1alpha1",
        "kind": "DatabaseInstance",
        "metadata": {"name": name, "namespace": namespace, "managedFields": [{"manager": "x"}]},
        "spec": {
            "datastore": {"type": "mariadb"},
            "flavor": "small",
            "volume": {"size": "10Gi"},
            "databases": [{"name": "shop"}],
            "users": [{"name": "app", "databases": ["shop"]}],
            **spec,
        },
        "status": ready_status(name),
    }


def group(name: str = "conf", values: Object | None = None, **status: Any) -> Object:
    """A configuration group for MariaDB, seen and valid."""
    return {
        "apiVersion": "coffer.dev/v1alpha1",
        "kind": "ConfigurationGroup",
        "metadata": {"name": name, "namespace": "shop", "managedFields": [{"manager": "x"}]},
        "spec": {
            "datastore": {"type": "mariadb", "version": "10.11"},
            "values": {} if values is None else values,
        },
        "status": group_status(1, **status),
    }


def group_status(generation: int, *members: Object, **more: Any) -> Object:
    """Ready where no member is on its way."""
    applied = [one for one in members if one["state"] == "Applied"]
    settled = ("Applied", "PendingRestart", "Unreachable")
    ready = "True" if all(one["state"] in settled for one in members) else "False"
    return {
        "observedGeneration": generation,
        "conditions": [condition("Ready", ready, "the values are valid", generation)],
        "attached": len(members),
        "applied": len(applied),
        "instances": list(members),
        **more,
    }


def member(name: str, state: str = "Applied", **more: Any) -> Object:
    """An instance attached to a group, as the group's status has it."""
    return {"name": name, "state": state, **more}


def datastore_version(datastore: str = "mariadb", version: str = "10.11", **spec: Any) -> Object:
    return {
        "metadata": {"name": f"{datastore}-{version}"},
        "spec": {"datastore": datastore, "version": version, "default": True, **spec},
    }


def backup(name: str = "sunday", status: Object | None = None, **spec: Any) -> Object:
    """A Backup of `orders`, as it is begun."""
    return {
        "apiVersion": "coffer.dev/v1alpha1",
        "kind": "Backup",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"instanceRef": {"name": "orders"}, "storageRef": {"name": "store"}, **spec},
        "status": status or {},
    }


def taken(path: str = "u-1/base/b-1", **more: Any) -> Object:
    """The status of a Backup that is completed."""
    return {
        "phase": "Completed",
        "message": "full backup of 17MiB, 753KiB stored",
        "path": path,
        "location": f"s3://backups/{path}",
        "type": "full",
        "strategy": "MariaBackup",
        "datastore": "mariadb",
        "engineVersion": "10.11.6-MariaDB",
        "sizeBytes": 771502,
        "rawBytes": 17600000,
        "durationSeconds": 16,
        "startedAt": "2026-01-01T00:00:00Z",
        "finishedAt": "2026-01-01T00:00:16Z",
        "progress": {"bytesDone": 17600000, "bytesTotal": 17600000, "percent": 100},
        **more,
    }


def storage(name: str = "store") -> Object:
    """A BackupStorage that is Ready."""
    return {
        "apiVersion": "coffer.dev/v1alpha1",
        "kind": "BackupStorage",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"s3": {"bucket": "backups"}},
        "status": {"conditions": [condition("Ready", "True", "it was written to")]},
    }


def schedule(name: str = "nightly", status: Object | None = None, **spec: Any) -> Object:
    return {
        "apiVersion": "coffer.dev/v1alpha1",
        "kind": "BackupSchedule",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "instanceRef": {"name": "orders"},
            "storageRef": {"name": "store"},
            "full": {"cron": "0 2 * * 0"},
            **spec,
        },
        "status": status or {},
    }
