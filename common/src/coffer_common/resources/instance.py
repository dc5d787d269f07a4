"""DatabaseInstance: one database server, with one pod and one data volume."""

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field

from coffer_common.resources.backup import BackupProgress, BackupRef, StorageRef
from coffer_common.resources.base import (
    CONDITION_LIST,
    DATE_TIME,
    MAX_OBJECT_NAME,
    QUANTITY,
    Condition,
    Metadata,
    Resource,
    cel,
    immutable,
)

NAME_RULE: Final = {
    "rule": "self.metadata.name.matches('^[a-z]([a-z0-9-]*[a-z0-9])?$') && "
    "size(self.metadata.name) <= 40 && !self.metadata.name.endsWith('-rw') && "
    "!self.metadata.name.endsWith('-ro')",
    "message": "metadata.name must be a DNS label of at most 40 characters that starts with a "
    "letter and does not end in -rw or -ro",
}


MAX_DATABASES: Final = 64  # what the cost limit of CEL allows the rules below
MAX_USERS: Final = 64

_SAME_USER: Final = (
    "v.name == u.name && (has(v.host) ? v.host : '%') == (has(u.host) ? u.host : '%')"
)
_NAMES: Final = "[has(self.databases) ? self.databases.map(e, e.name) : []]"  # binds `names`
_SPEC_RULES: Final = cel(
    (
        "has(self.restoreFrom) == has(oldSelf.restoreFrom) && "
        "(!has(self.restoreFrom) || self.restoreFrom == oldSelf.restoreFrom)",
        "spec.restoreFrom cannot change",
    ),
    (
        f"!has(self.users) || self.users.all(u, self.users.exists_one(v, {_SAME_USER}))",
        "spec.users must not name the same user and host twice",
    ),
    (
        f"!has(self.users) || {_NAMES}.all(names, self.users.all(u, !has(u.databases) || "
        "u.databases.all(d, d in names)))",
        "spec.users[].databases may only name databases of spec.databases",
        f"{_NAMES}.map(names, self.users.filter(u, has(u.databases) && "
        "!u.databases.all(d, d in names))[0].databases.filter(d, !(d in names))[0])[0]",
    ),
)


class DatastoreRef(Resource):
    """Which engine, and which of its versions in the catalogue."""

    type: Annotated[
        str,
        Field(
            description="Datastore, such as mariadb or redis. Cannot change.",
            min_length=1,
            max_length=63,
            json_schema_extra=immutable("spec.datastore.type"),
        ),
    ]
    version: Annotated[
        str | None,
        Field(
            description="Version in the catalogue; without it, the datastore's default one at the "
            "time of creation. Cannot change yet.",
            min_length=1,
            max_length=63,
            json_schema_extra=immutable("spec.datastore.version"),
        ),
    ] = None


class VolumeSpec(Resource):
    """The data volume."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "has(self.storageClassName) == has(oldSelf.storageClassName) && "
                "(!has(self.storageClassName) || "
                "self.storageClassName == oldSelf.storageClassName)",
                "spec.volume.storageClassName cannot change",
            )
        )
    )

    size: Annotated[
        str,
        Field(
            description="Size of the data volume, such as 10Gi. Cannot change yet.",
            pattern=QUANTITY,
            max_length=32,
            json_schema_extra=immutable("spec.volume.size"),
        ),
    ]
    storage_class_name: Annotated[
        str | None,
        Field(
            description="StorageClass of the volume; without it, the cluster's default one. "
            "Cannot change.",
            min_length=1,
            max_length=MAX_OBJECT_NAME,
        ),
    ] = None


class DatabaseEntry(Resource):
    """A database to create."""

    name: Annotated[str, Field(description="Name of the database.", min_length=1, max_length=64)]
    character_set: Annotated[
        str | None,
        Field(
            description="Character set; without it, the engine's default one.",
            min_length=1,
            max_length=64,
        ),
    ] = None
    collate: Annotated[
        str | None,
        Field(
            description="Collation; without it, the character set's default one.",
            min_length=1,
            max_length=64,
        ),
    ] = None


class SecretKeyRef(Resource):
    """A key of a Secret in the instance's namespace."""

    name: Annotated[
        str,
        Field(description="Name of the Secret.", min_length=1, max_length=MAX_OBJECT_NAME),
    ]
    key: Annotated[
        str,
        Field(
            description="Key in the Secret; without it, password.",
            min_length=1,
            max_length=MAX_OBJECT_NAME,
        ),
    ] = "password"


class UserEntry(Resource):
    """A user to create."""

    name: Annotated[str, Field(description="Name of the user.", min_length=1, max_length=80)]
    host: Annotated[
        str | None,
        Field(
            description="Where the user may connect from, such as %, an address or a pattern "
            "like 10.1.%; without it, everywhere. Only for engines that tell users apart by host.",
            min_length=1,
            max_length=255,
        ),
    ] = None
    databases: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=64)], ...],
        Field(
            description="Databases, of those in spec.databases, that the user may use.",
            max_length=MAX_DATABASES,
        ),
    ] = ()
    password_secret_ref: Annotated[
        SecretKeyRef | None,
        Field(description="Where the password is; without it, one is generated."),
    ] = None


class Toleration(Resource):
    """A toleration of the pod, as Kubernetes defines it."""

    key: Annotated[str | None, Field(description="Taint key.")] = None
    operator: Annotated[Literal["Exists", "Equal"] | None, Field(description="How to compare.")] = (
        None
    )
    value: Annotated[str | None, Field(description="Taint value.")] = None
    effect: Annotated[
        Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None,
        Field(description="Taint effect."),
    ] = None
    toleration_seconds: Annotated[
        int | None, Field(description="How long a NoExecute taint is tolerated, in seconds.")
    ] = None


class SchedulingSpec(Resource):
    """Where the pod may run."""

    node_selector: Annotated[
        dict[str, Annotated[str, Field(max_length=63)]],
        Field(description="Labels that the node must have.", max_length=64),
    ] = Field(default_factory=dict)
    tolerations: Annotated[
        tuple[Toleration, ...], Field(description="Taints that the pod tolerates.", max_length=64)
    ] = ()


class ConfigurationRef(Resource):
    """A ConfigurationGroup in the instance's namespace."""

    name: Annotated[
        str,
        Field(
            description="Name of the ConfigurationGroup.", min_length=1, max_length=MAX_OBJECT_NAME
        ),
    ]


class MaintenanceWindow(Resource):
    """A time of the week."""

    days: Annotated[
        tuple[Literal["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"], ...],
        Field(description="Days on which it begins; without any, every day.", max_length=7),
    ] = ()
    start: Annotated[
        str,
        Field(
            description="When it begins, such as 02:30.",
            pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$",
            max_length=5,
        ),
    ]
    duration: Annotated[
        str,
        Field(
            description="How long it is, such as 2h or 90m; at most 24h.",
            pattern=r"^([1-9][0-9]?h)?([1-9][0-9]{0,3}m)?$",
            min_length=2,
            max_length=8,
        ),
    ]
    time_zone: Annotated[
        str,
        Field(
            description="Time zone of start, such as Europe/Berlin; without it, UTC.",
            min_length=1,
            max_length=64,
        ),
    ] = "UTC"


class MaintenanceSpec(Resource):
    """When Coffer may restart the engine by itself."""

    window: Annotated[MaintenanceWindow, Field(description="The time for it.")]
    auto_restart: Annotated[
        bool,
        Field(
            description="Whether an engine that needs a restart gets it in the window; without "
            "it, only by an Operation."
        ),
    ] = False


class DeletionPolicy(StrEnum):
    """What becomes of the data volume when the instance is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


class RestoreLocation(Resource):
    """A backup by the place where it is."""

    storage_ref: Annotated[StorageRef, Field(description="The BackupStorage that it is in.")]
    path: Annotated[
        str,
        Field(
            description="Below the storage's prefix: <instance-uid>/base/<backup-uid>.",
            pattern=r"^[A-Za-z0-9-]+/base/[A-Za-z0-9-]+$",
            max_length=256,
        ),
    ]


class RestoreFrom(Resource):
    """What a new instance's data come from."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "has(self.backupRef) != has(self.location)",
                "spec.restoreFrom must have backupRef or location",
            )
        )
    )

    backup_ref: Annotated[
        BackupRef | None, Field(description="A completed Backup in this namespace.")
    ] = None
    location: Annotated[
        RestoreLocation | None,
        Field(description="A backup without a Backup here: of another cluster, for example."),
    ] = None


class InstanceSpec(Resource):
    """What a user asks of a database instance."""

    model_config = ConfigDict(json_schema_extra=_SPEC_RULES)

    datastore: Annotated[DatastoreRef, Field(description="Which engine and version.")]
    flavor: Annotated[
        str,
        Field(
            description="Name of the Flavor: vcpus and memory.",
            min_length=1,
            max_length=MAX_OBJECT_NAME,
        ),
    ]
    volume: Annotated[VolumeSpec, Field(description="The data volume.")]
    databases: Annotated[
        tuple[DatabaseEntry, ...],
        Field(
            description="Databases to create. One removed from here is not dropped.",
            max_length=MAX_DATABASES,
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
        ),
    ] = ()
    users: Annotated[
        tuple[UserEntry, ...],
        Field(
            description="Users to create. One removed from here is not dropped.",
            max_length=MAX_USERS,
        ),
    ] = ()
    restore_from: Annotated[
        RestoreFrom | None,
        Field(
            description="Lay out the data volume from this backup instead of empty. It acts on a "
            "volume that was never laid out, and on no other."
        ),
    ] = None
    configuration_ref: Annotated[
        ConfigurationRef | None,
        Field(
            description="The ConfigurationGroup whose values the engine gets; it must be for the "
            "same datastore and version."
        ),
    ] = None
    maintenance: Annotated[
        MaintenanceSpec | None,
        Field(description="When Coffer may restart the engine by itself."),
    ] = None
    scheduling: Annotated[SchedulingSpec, Field(description="Where the pod may run.")] = Field(
        default_factory=SchedulingSpec
    )
    deletion_policy: Annotated[
        DeletionPolicy,
        Field(
            description="Whether the data volume outlives the instance: Retain, which is what "
            "happens where nothing is said, or Delete."
        ),
    ] = DeletionPolicy.RETAIN
    deletion_protection: Annotated[bool, Field(description="While true, deletion is refused.")] = (
        False
    )


class Phase(StrEnum):
    """Trove's words for what an instance is doing."""

    BUILDING = "Building"
    ACTIVE = "Active"
    ERROR = "Error"
    RESTART_REQUIRED = "RestartRequired"
    RESTARTING = "Restarting"
    DELETING = "Deleting"


class Role(StrEnum):
    """Part that an instance plays in its group."""

    STANDALONE = "standalone"
    SOURCE = "source"
    REPLICA = "replica"
    MEMBER = "member"


class Endpoints(Resource):
    """Where applications connect."""

    host: Annotated[str, Field(description="Host name for reading and writing.")]
    port: Annotated[int, Field(description="Port of the engine.")]
    read_only_host: Annotated[str, Field(description="Host name for reading.")]


class BindingSecret(Resource):
    """A Secret with a user's credentials."""

    user: Annotated[str, Field(description="Name of the user.")]
    host: Annotated[str, Field(description="Where the user may connect from.")]
    name: Annotated[str, Field(description="Name of the Secret.")]
    revision: Annotated[
        str | None, Field(description="Of the user's grants and password, as they were set.")
    ] = None


class ResolvedDatastore(Resource):
    """The DatastoreVersion in use."""

    type: Annotated[str, Field(description="Datastore.")]
    version: Annotated[str, Field(description="Version.")]
    name: Annotated[str, Field(description="Name of the DatastoreVersion.")]


class VolumeStatus(Resource):
    """The data volume as it is."""

    size: Annotated[str, Field(description="Size of the volume.")]
    used_bytes: Annotated[int | None, Field(description="Bytes in use.")] = None
    used_percent: Annotated[int | None, Field(description="Share in use, in percent.")] = None


class EngineReport(Resource):
    """The engine process of the present pod."""

    version: Annotated[str | None, Field(description="Version that it reports.")] = None
    restarts: Annotated[
        int, Field(description="How often it died and was started again in this pod.")
    ] = 0
    last_exit: Annotated[str | None, Field(description="How it died last, such as signal 9.")] = (
        None
    )


class ConfigurationReport(Resource):
    """The values of the engine's parameters."""

    group: Annotated[
        str | None, Field(description="The ConfigurationGroup that they come from.")
    ] = None
    hash: Annotated[str | None, Field(description="Of the values that are in force.")] = None
    pending_restart: Annotated[
        tuple[str, ...], Field(description="Parameters that take effect at the next restart.")
    ] = ()
    drift: Annotated[
        str | None,
        Field(description="What was last found changed by hand, and put right."),
    ] = None


class OperationInProgress(Resource):
    """The Operation that is being carried out."""

    name: Annotated[str, Field(description="Name of the Operation.")]
    type: Annotated[str, Field(description="What it does.")]
    step: Annotated[str, Field(description="Where it is.")]
    started_at: Annotated[str, Field(description="When it began.")]
    deadline: Annotated[str, Field(description="When it is given up.")]


class RestorePhase(StrEnum):
    """How far a restore is."""

    WAITING = "Waiting"
    RUNNING = "Running"
    COMPLETED = "Completed"
    FAILED = "Failed"


class RestoreReport(Resource):
    """The restore that laid out, or is to lay out, the volume."""

    phase: Annotated[RestorePhase, Field(description="How far it is.")]
    message: Annotated[str | None, Field(description="What it waits for, or why it failed.")] = None
    storage: Annotated[str, Field(description="Name of the BackupStorage.")]
    path: Annotated[str, Field(description="The backup, below the storage's prefix.")]
    digest: Annotated[
        str | None, Field(description="SHA-256 that its manifest must have, where known.")
    ] = None
    attempt: Annotated[int, Field(description="How often it was begun.")] = 0
    retry_at: Annotated[
        str | None, Field(description="When it is begun again.", json_schema_extra=DATE_TIME)
    ] = None
    progress: Annotated[BackupProgress | None, Field(description="How far it is.")] = None
    started_at: Annotated[
        str | None, Field(description="When it began.", json_schema_extra=DATE_TIME)
    ] = None
    finished_at: Annotated[
        str | None, Field(description="When it ended.", json_schema_extra=DATE_TIME)
    ] = None


class InstanceStatus(Resource):
    """What Coffer reports of a database instance."""

    phase: Annotated[Phase | None, Field(description="What the instance is doing.")] = None
    observed_generation: Annotated[
        int | None, Field(description="Generation of the spec that this status speaks of.")
    ] = None
    conditions: Annotated[
        tuple[Condition, ...],
        Field(
            description="Ready, Available and what else is known.",
            json_schema_extra=CONDITION_LIST,
        ),
    ] = ()
    role: Annotated[Role | None, Field(description="Part in its replication group.")] = None
    group: Annotated[str | None, Field(description="Id of its replication group.")] = None
    endpoints: Annotated[Endpoints | None, Field(description="Where to connect.")] = None
    binding_secrets: Annotated[
        tuple[BindingSecret, ...], Field(description="Secrets with the users' credentials.")
    ] = ()
    datastore: Annotated[
        ResolvedDatastore | None, Field(description="The version of the catalogue in use.")
    ] = None
    volume: Annotated[VolumeStatus | None, Field(description="The data volume.")] = None
    data_id: Annotated[str | None, Field(description="Id of the data on the volume.")] = None
    engine: Annotated[EngineReport | None, Field(description="The engine process.")] = None
    configuration: Annotated[
        ConfigurationReport | None, Field(description="The values of the engine's parameters.")
    ] = None
    operation: Annotated[
        OperationInProgress | None, Field(description="The Operation being carried out.")
    ] = None
    restore: Annotated[
        RestoreReport | None, Field(description="Where the data came from, if from a backup.")
    ] = None


class DatabaseInstance(Resource):
    """One database server, with one pod and one data volume."""

    metadata: Metadata
    spec: Annotated[InstanceSpec, Field(description="What is asked for.")]
    status: Annotated[InstanceStatus, Field(description="What Coffer reports.")] = Field(
        default_factory=InstanceStatus
    )
