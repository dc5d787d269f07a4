"""Operation: one action on an instance or a backup, with its progress in status."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from coffer_common.naming import MAX_INSTANCE_NAME
from coffer_common.resources.backup import MAX_DATABASES, BackupProgress, BackupRef
from coffer_common.resources.base import (
    CONDITION_LIST,
    DATE_TIME,
    Condition,
    Metadata,
    Resource,
    cel,
    immutable,
)


class OperationType(StrEnum):
    """What can be asked for."""

    RESTART = "Restart"
    RESET_STATUS = "ResetStatus"
    VERIFY_BACKUP = "VerifyBackup"
    RESTORE_DATABASES = "RestoreDatabases"


class InstanceRef(Resource):
    """An instance in the Operation's namespace."""

    name: Annotated[
        str,
        Field(
            description="Name of the DatabaseInstance.",
            min_length=1,
            max_length=MAX_INSTANCE_NAME,
        ),
    ]


class OperationSpec(Resource):
    """What to do, and with what. Cannot change."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "has(self.backupRef) == (self.type in ['VerifyBackup', 'RestoreDatabases'])",
                "spec.backupRef is for types VerifyBackup and RestoreDatabases, which need it",
            ),
            (
                "has(self.instanceRef) == (self.type != 'VerifyBackup')",
                "spec.instanceRef is needed, except for type VerifyBackup, which has none",
            ),
            (
                "!has(self.databases) || size(self.databases) == 0 || "
                "self.type == 'RestoreDatabases'",
                "spec.databases is for type RestoreDatabases",
            ),
        )
    )

    instance_ref: Annotated[
        InstanceRef | None,
        Field(description="The instance to act on; VerifyBackup acts on none."),
    ] = None
    backup_ref: Annotated[
        BackupRef | None,
        Field(
            description="VerifyBackup: the Backup that is restored into a scratch instance. "
            "RestoreDatabases: the one, by MySQLDump, that is loaded into the instance."
        ),
    ] = None
    databases: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=64)], ...],
        Field(
            description="RestoreDatabases: only these of the Backup; without it, all.",
            max_length=MAX_DATABASES,
        ),
    ] = ()
    type: Annotated[OperationType, Field(description="What to do.")]
    not_after: Annotated[
        str | None,
        Field(
            description="An Operation not begun by then is Expired instead of run (RFC 3339).",
            json_schema_extra=DATE_TIME,
        ),
    ] = None
    ttl_seconds_after_finished: Annotated[
        int | None,
        Field(description="Removed that long after it ended; without it, never.", ge=0),
    ] = None


class OperationPhase(StrEnum):
    """Life of an Operation."""

    NEW = "New"
    RUNNING = "Running"
    COMPLETED = "Completed"
    FAILED = "Failed"
    EXPIRED = "Expired"


class OperationOutcome(Resource):
    """How it will have ended once what it made is removed."""

    phase: Annotated[
        Literal["Completed", "Failed"], Field(description="The phase that it is going to have.")
    ]
    reason: Annotated[str, Field(description="One word, CamelCase.")]
    message: Annotated[str, Field(description="What was found out.")]


class OperationStatus(Resource):
    """How far it is."""

    phase: Annotated[OperationPhase | None, Field(description="Where it is in its life.")] = None
    observed_generation: Annotated[
        int | None, Field(description="Generation of the spec that this status speaks of.")
    ] = None
    instance_uid: Annotated[
        str | None, Field(description="Of the DatabaseInstance that it began on.")
    ] = None
    step: Annotated[str | None, Field(description="The step it is at.")] = None
    message: Annotated[str | None, Field(description="What it waits for, or why it failed.")] = None
    progress: Annotated[
        BackupProgress | None,
        Field(description="RestoreDatabases: how far it is; the dump is read twice."),
    ] = None
    outcome: Annotated[
        OperationOutcome | None, Field(description="How it ends; it still has to clean up.")
    ] = None
    started_at: Annotated[
        str | None, Field(description="When it began.", json_schema_extra=DATE_TIME)
    ] = None
    deadline: Annotated[
        str | None, Field(description="When it is given up.", json_schema_extra=DATE_TIME)
    ] = None
    finished_at: Annotated[
        str | None, Field(description="When it ended.", json_schema_extra=DATE_TIME)
    ] = None
    conditions: Annotated[
        tuple[Condition, ...],
        Field(description="Ready and what else is known.", json_schema_extra=CONDITION_LIST),
    ] = ()


class Operation(Resource):
    """One action on an instance or a backup."""

    metadata: Metadata
    spec: Annotated[
        OperationSpec,
        Field(
            description="What to do. Cannot change.",
            json_schema_extra=immutable("spec of an Operation"),
        ),
    ]
    status: Annotated[OperationStatus, Field(description="What Coffer reports.")] = Field(
        default_factory=OperationStatus
    )
