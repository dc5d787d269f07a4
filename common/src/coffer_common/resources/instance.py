"""DatabaseInstance: one database server, with one pod and one data volume."""

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field

from coffer_common.resources.backup import BackupRef, StorageRef
from coffer_common.resources.base import (
    MAX_OBJECT_NAME,
    QUANTITY,
    Metadata,
    Resource,
    cel,
    immutable,
)
from coffer_common.resources.instance_status import InstanceStatus

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


class DatabaseInstance(Resource):
    """One database server, with one pod and one data volume."""

    metadata: Metadata
    spec: Annotated[InstanceSpec, Field(description="What is asked for.")]
    status: Annotated[InstanceStatus, Field(description="What Coffer reports.")] = Field(
        default_factory=InstanceStatus
    )
