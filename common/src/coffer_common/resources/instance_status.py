"""The status of a DatabaseInstance: what Coffer reports of one."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from coffer_common.resources.backup import BackupProgress
from coffer_common.resources.base import CONDITION_LIST, DATE_TIME, Condition, Resource


class Phase(StrEnum):
    """Trove's words for what an instance is doing."""

    BUILDING = "Building"
    ACTIVE = "Active"
    ERROR = "Error"
    RESTART_REQUIRED = "RestartRequired"
    RESTARTING = "Restarting"
    BACKUP = "Backup"
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


class LastBackup(Resource):
    """The newest backup that there is."""

    name: Annotated[str, Field(description="Name of the Backup.")]
    time: Annotated[str, Field(description="When it was complete.", json_schema_extra=DATE_TIME)]


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
    last_backup: Annotated[
        LastBackup | None, Field(description="The newest completed backup of it.")
    ] = None
    restore: Annotated[
        RestoreReport | None, Field(description="Where the data came from, if from a backup.")
    ] = None
