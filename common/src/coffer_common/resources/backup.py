"""Backup: what one is, what is to be taken, and what is known of it."""

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field

from coffer_common.naming import MAX_INSTANCE_NAME
from coffer_common.resources.base import (
    CONDITION_LIST,
    DATE_TIME,
    MAX_OBJECT_NAME,
    Condition,
    Metadata,
    Resource,
    cel,
    immutable,
    unchanged,
)

MAX_DATABASES: Final = 64


class BackupType(StrEnum):
    """Whether a backup holds everything, or what changed since its parent."""

    FULL = "full"
    INCREMENTAL = "incremental"


class BackupRef(Resource):
    """A Backup in the same namespace."""

    name: Annotated[
        str, Field(description="Name of the Backup.", min_length=1, max_length=MAX_OBJECT_NAME)
    ]


class StorageRef(Resource):
    """A BackupStorage in the same namespace."""

    name: Annotated[
        str,
        Field(description="Name of the BackupStorage.", min_length=1, max_length=MAX_OBJECT_NAME),
    ]


class BackupInstanceRef(Resource):
    """The instance that a backup is taken of."""

    name: Annotated[
        str,
        Field(
            description="Name of the DatabaseInstance.",
            min_length=1,
            max_length=MAX_INSTANCE_NAME,
        ),
    ]


class ObjectsPolicy(StrEnum):
    """What becomes of the objects in the bucket when the Backup is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


class BackupSpec(Resource):
    """What to back up, and where to. Cannot change, but for `keep` and `deletionPolicy`."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "has(self.instanceRef) != has(self.path)",
                "spec must have instanceRef (take a backup) or path (adopt one from the storage)",
            ),
            (
                "!has(self.parentRef) || (has(self.type) && self.type == 'incremental')",
                "spec.parentRef is for type incremental",
            ),
            (
                "!has(self.databases) || size(self.databases) == 0 || has(self.strategy)",
                "spec.databases needs spec.strategy: one that takes databases one by one, such as "
                "MySQLDump",
            ),
            *(unchanged(field) for field in ("instanceRef", "path", "parentRef", "strategy")),
            unchanged("type", unset="'full'"),
            unchanged("databases", unset="[]"),
        )
    )

    instance_ref: Annotated[
        BackupInstanceRef | None,
        Field(
            description="The instance to back up.",
        ),
    ] = None
    path: Annotated[
        str | None,
        Field(
            description="Adopt the backup that is there in the storage: "
            "<instance-uid>/base/<backup-uid>, below the storage's prefix.",
            pattern=r"^[A-Za-z0-9-]+/base/[A-Za-z0-9-]+$",
            max_length=256,
        ),
    ] = None
    storage_ref: Annotated[
        StorageRef,
        Field(description="Where to.", json_schema_extra=immutable("spec.storageRef")),
    ]
    type: Annotated[
        BackupType,
        Field(
            description="full, or incremental: what changed since the parent.",
        ),
    ] = BackupType.FULL
    parent_ref: Annotated[
        BackupRef | None,
        Field(
            description="The parent of an incremental backup; without it, the newest completed "
            "one of the instance.",
        ),
    ] = None
    strategy: Annotated[
        str | None,
        Field(
            description="Backup strategy; without it, the DatastoreVersion's for the type.",
            min_length=1,
            max_length=63,
        ),
    ] = None
    databases: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=64)], ...],
        Field(
            description="Databases to back up, for a strategy that takes them one by one "
            "(MySQLDump); without it, all.",
            max_length=MAX_DATABASES,
        ),
    ] = ()
    keep: Annotated[bool, Field(description="Never removed by a schedule's retention.")] = False
    deletion_policy: Annotated[
        ObjectsPolicy,
        Field(description="What becomes of the objects in the bucket: Delete or Retain."),
    ] = ObjectsPolicy.DELETE


class BackupPhase(StrEnum):
    """Life of a Backup, in Trove's words."""

    NEW = "New"
    RUNNING = "Running"
    COMPLETED = "Completed"
    FAILED = "Failed"
    DELETING = "Deleting"


class BackupProgress(Resource):
    """How far it is."""

    bytes_done: Annotated[int, Field(description="Bytes of the database that were read.")] = 0
    bytes_total: Annotated[int | None, Field(description="Bytes in all, where known.")] = None
    percent: Annotated[int | None, Field(description="Share that is done, where known.")] = None
    bytes_per_second: Annotated[int | None, Field(description="Rate of the last seconds.")] = None
    updated_at: Annotated[
        str | None, Field(description="When it last moved.", json_schema_extra=DATE_TIME)
    ] = None


class BackupPosition(Resource):
    """Where in the history of the data it stands."""

    gtid: Annotated[str | None, Field(description="GTID position.")] = None
    binlog: Annotated[str | None, Field(description="Binary log file and position.")] = None
    from_lsn: Annotated[str | None, Field(description="LSN that it begins at.")] = None
    to_lsn: Annotated[str | None, Field(description="LSN that it reaches.")] = None


class Verification(Resource):
    """Outcome of a test restore."""

    time: Annotated[str, Field(description="When.", json_schema_extra=DATE_TIME)]
    result: Annotated[Literal["Passed", "Failed"], Field(description="Passed or Failed.")]
    message: Annotated[str | None, Field(description="What was checked, or what is wrong.")] = None
    duration_seconds: Annotated[
        int | None, Field(description="From the restore's begin to the checked tables.")
    ] = None
    recovery_seconds: Annotated[
        int | None, Field(description="From the restore's begin until the engine served.")
    ] = None
    engine_version: Annotated[
        str | None, Field(description="Version of the engine that it was restored into.")
    ] = None
    operation: Annotated[
        str | None, Field(description="Name of the Operation that found it out.")
    ] = None


class BackupStatus(Resource):
    """What Coffer reports of a backup."""

    phase: Annotated[BackupPhase | None, Field(description="Where it is in its life.")] = None
    observed_generation: Annotated[
        int | None, Field(description="Generation of the spec that this status speaks of.")
    ] = None
    conditions: Annotated[
        tuple[Condition, ...],
        Field(description="Ready and what else is known.", json_schema_extra=CONDITION_LIST),
    ] = ()
    message: Annotated[str | None, Field(description="What it waits for, or why it failed.")] = None
    attempt: Annotated[int, Field(description="How often it was begun.")] = 0
    retry_at: Annotated[
        str | None,
        Field(description="When it is begun again.", json_schema_extra=DATE_TIME),
    ] = None
    asked_at: Annotated[
        str | None,
        Field(description="When the storage last answered about it.", json_schema_extra=DATE_TIME),
    ] = None
    progress: Annotated[BackupProgress | None, Field(description="How far it is.")] = None
    started_at: Annotated[
        str | None, Field(description="When it began.", json_schema_extra=DATE_TIME)
    ] = None
    finished_at: Annotated[
        str | None, Field(description="When it ended.", json_schema_extra=DATE_TIME)
    ] = None
    type: Annotated[
        BackupType | None,
        Field(description="What was taken: a full one where no increment was possible."),
    ] = None
    strategy: Annotated[str | None, Field(description="Strategy that took it.")] = None
    path: Annotated[str | None, Field(description="Where it is, below the prefix.")] = None
    location: Annotated[str | None, Field(description="URL of the backup.")] = None
    size: Annotated[str | None, Field(description="sizeBytes for people, as 1.5GiB.")] = None
    size_bytes: Annotated[int | None, Field(description="Bytes in the bucket.")] = None
    raw_bytes: Annotated[int | None, Field(description="Bytes before compression.")] = None
    checksum: Annotated[str | None, Field(description="SHA-256 of the plain stream.")] = None
    manifest_digest: Annotated[str | None, Field(description="SHA-256 of its manifest.")] = None
    duration_seconds: Annotated[
        int | None, Field(description="From the begin of the attempt that succeeded to its end.")
    ] = None
    position: Annotated[BackupPosition | None, Field(description="In the data's history.")] = None
    parent: Annotated[str | None, Field(description="Path of the parent.")] = None
    depth: Annotated[int | None, Field(description="Increments below it down to the full.")] = None
    children: Annotated[
        tuple[str, ...],
        Field(description="Backups that need this one; it cannot be deleted before them."),
    ] = ()
    instance_uid: Annotated[str | None, Field(description="uid of the instance.")] = None
    data_id: Annotated[str | None, Field(description="Id of the data.")] = None
    datastore: Annotated[str | None, Field(description="Datastore.")] = None
    engine_version: Annotated[str | None, Field(description="Version of the engine.")] = None
    key_id: Annotated[str | None, Field(description="Key that it is encrypted with.")] = None
    verified: Annotated[
        Verification | None, Field(description="Outcome of the latest test restore.")
    ] = None


class Backup(Resource):
    """One full or incremental backup of an instance."""

    metadata: Metadata
    spec: Annotated[BackupSpec, Field(description="What to back up, and where to.")]
    status: Annotated[BackupStatus, Field(description="What Coffer reports.")] = Field(
        default_factory=BackupStatus
    )
