"""The CustomResourceDefinitions, made from the models. Pure.

Owns what a model cannot say: scope, short names, printer columns. The operator upgrades the
definitions of a cluster with these same ones.
"""

from dataclasses import dataclass
from typing import Any, Final

from coffer_common.naming import GROUP, VERSION
from coffer_common.resources import (
    backup,
    backup_storage,
    catalogue,
    configuration,
    instance,
    operation,
    schedule,
)
from coffer_common.resources.base import Resource
from coffer_common.resources.schema import structural_schema

MAX_CRD_BYTES: Final = 128 * 1024
PARTS: Final = ("spec", "status")  # the catalogue has no status: nothing happens to it
_CATEGORY: Final = "coffer"


@dataclass(frozen=True)
class Column:
    """A column of `kubectl get`; a wide one is shown with `-o wide` only."""

    name: str
    path: str
    description: str
    type: str = "string"
    wide: bool = False


@dataclass(frozen=True)
class Kind:
    """One kind of ours."""

    model: type[Resource]
    plural: str
    short: str
    namespaced: bool
    columns: tuple[Column, ...]
    rules: tuple[dict[str, str], ...] = ()

    @property
    def name(self) -> str:
        return self.model.__name__

    @property
    def crd_name(self) -> str:
        return f"{self.plural}.{GROUP}"


def _condition(kind: str, field: str) -> str:
    return f'.status.conditions[?(@.type=="{kind}")].{field}'


_AGE: Final = Column("Age", ".metadata.creationTimestamp", "Time since creation.", "date")
_READY: Final = Column("Ready", _condition("Ready", "status"), "Whether it is as asked for.")
_STATUS: Final = Column("Status", _condition("Ready", "message"), "What it is at, and why.")

KINDS: Final = (
    Kind(
        catalogue.DatastoreVersion,
        "datastoreversions",
        "dsv",
        False,
        (
            Column("Datastore", ".spec.datastore", "Datastore."),
            Column("Version", ".spec.version", "Version."),
            Column("Default", ".spec.default", "Used where none is named.", "boolean"),
            Column("Active", ".spec.active", "Open to new instances.", "boolean"),
            Column("Image", ".spec.image", "Guest image.", wide=True),
            _AGE,
        ),
    ),
    Kind(
        catalogue.Flavor,
        "flavors",
        "dbf",
        False,
        (
            Column("vCPUs", ".spec.vcpus", "CPU limit, in cores."),
            Column("RAM", ".spec.ram", "Memory, request and limit."),
            _AGE,
        ),
    ),
    Kind(
        instance.DatabaseInstance,
        "databaseinstances",
        "dbi",
        True,
        (
            Column("Phase", ".status.phase", "What the instance is doing."),
            _READY,
            _STATUS,
            Column("Role", ".status.role", "Part in its replication group."),
            Column("Used%", ".status.volume.usedPercent", "Share of the volume used.", "integer"),
            Column("Datastore", ".status.datastore.name", "DatastoreVersion in use.", wide=True),
            Column("Flavor", ".spec.flavor", "Flavor.", wide=True),
            Column("Volume", ".spec.volume.size", "Size of the data volume.", wide=True),
            Column("Host", ".status.endpoints.host", "Where to connect.", wide=True),
            _AGE,
        ),
        (instance.NAME_RULE,),
    ),
    Kind(
        configuration.ConfigurationGroup,
        "configurationgroups",
        "dbcfg",
        True,
        (
            Column("Datastore", ".spec.datastore.type", "Datastore."),
            Column("Version", ".spec.datastore.version", "Version."),
            _READY,
            _STATUS,
            Column("Attached", ".status.attached", "Instances that name it.", "integer"),
            Column("Applied", ".status.applied", "Of these, up to date.", "integer"),
            _AGE,
        ),
    ),
    Kind(
        operation.Operation,
        "operations",
        "dbop",
        True,
        (
            Column("Type", ".spec.type", "What to do."),
            Column("Instance", ".spec.instanceRef.name", "The instance to act on."),
            Column("Backup", ".spec.backupRef.name", "The Backup to verify.", wide=True),
            Column("Phase", ".status.phase", "Where it is in its life."),
            Column("Step", ".status.step", "The step it is at."),
            Column("Done%", ".status.progress.percent", "How far it is.", "integer", wide=True),
            Column("Status", ".status.message", "What it waits for, or why it failed."),
            Column("Ready", _READY.path, _READY.description, wide=True),
            Column("Started", ".status.startedAt", "When it began.", "date", wide=True),
            Column("Finished", ".status.finishedAt", "When it ended.", "date", wide=True),
            _AGE,
        ),
    ),
    Kind(
        backup_storage.BackupStorage,
        "backupstorages",
        "dbs",
        True,
        (
            Column("Bucket", ".spec.s3.bucket", "Bucket."),
            Column("Prefix", ".spec.s3.prefix", "Folder in the bucket."),
            _READY,
            _STATUS,
            Column("Key", ".status.keyId", "Key that new backups get.", wide=True),
            Column("Probed", ".status.probedAt", "When it was last tried.", "date", wide=True),
            _AGE,
        ),
    ),
    Kind(
        backup.Backup,
        "backups",
        "dbb",
        True,
        (
            Column("Instance", ".spec.instanceRef.name", "The instance it is of."),
            Column("Type", ".status.type", "What was taken."),
            Column("Phase", ".status.phase", "Where it is in its life."),
            Column("Done%", ".status.progress.percent", "How far it is.", "integer"),
            Column("Size", ".status.size", "What is in the bucket."),
            Column("Status", ".status.message", "What it waits for, or why it failed."),
            Column("Ready", _READY.path, _READY.description, wide=True),
            Column("Storage", ".spec.storageRef.name", "Where it is.", wide=True),
            Column("Verified", ".status.verified.result", "Latest test restore.", wide=True),
            Column("Finished", ".status.finishedAt", "When it ended.", "date", wide=True),
            _AGE,
        ),
    ),
    Kind(
        schedule.BackupSchedule,
        "backupschedules",
        "dbbs",
        True,
        (
            Column("Instance", ".spec.instanceRef.name", "The instance to back up."),
            Column("Schedule", ".spec.full.cron", "When full backups are taken."),
            Column("Last success", ".status.lastSuccess", "When one last completed.", "date"),
            Column("Next full", ".status.nextFull", "When a full backup is due next."),
            _READY,
            _STATUS,
            Column("Incremental", ".spec.incremental.cron", "When increments are.", wide=True),
            Column("Suspended", ".spec.suspend", "Whether it rests.", "boolean", wide=True),
            Column("Verified", ".status.lastVerified", "When one last passed.", "date", wide=True),
            Column("Storage", ".spec.storageRef.name", "Where they go.", wide=True),
            _AGE,
        ),
        (schedule.NAME_RULE,),
    ),
)


def definition(kind: Kind) -> dict[str, Any]:
    """The CustomResourceDefinition of `kind`, ready to be applied."""
    schema = structural_schema(kind.model)
    properties = {
        "apiVersion": {
            "type": "string",
            "description": "Version of the schema of this object: coffer.dev/v1alpha1.",
        },
        "kind": {"type": "string", "description": f"Kind of this object: {kind.name}."},
        "metadata": {"type": "object"},
        **{part: schema["properties"][part] for part in PARTS if part in schema["properties"]},
    }
    root: dict[str, Any] = {
        "type": "object",
        "description": schema["description"],
        "properties": properties,
        "required": ["spec"],
    }
    if kind.rules:
        root["x-kubernetes-validations"] = [dict(rule) for rule in kind.rules]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.crd_name},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.name.lower(),
                "shortNames": [kind.short],
                "categories": [_CATEGORY],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": [_column(column) for column in kind.columns],
                    "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": root},
                }
            ],
        },
    }


def definitions() -> tuple[dict[str, Any], ...]:
    """The CustomResourceDefinitions of all our kinds."""
    return tuple(definition(kind) for kind in KINDS)


def _column(column: Column) -> dict[str, Any]:
    result: dict[str, Any] = {
        "name": column.name,
        "type": column.type,
        "jsonPath": column.path,
        "description": column.description,
    }
    if column.wide:
        result["priority"] = 1
    return result
