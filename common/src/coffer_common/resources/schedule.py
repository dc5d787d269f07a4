"""BackupSchedule: when backups of an instance are taken, which of them stay, which are proved."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from coffer_common.resources.backup import (
    BackupInstanceRef,
    ObjectsPolicy,
    StorageRef,
)
from coffer_common.resources.base import (
    CONDITION_LIST,
    DATE_TIME,
    Condition,
    Metadata,
    Resource,
    immutable,
)

MAX_SCHEDULE_NAME: Final = 40
MAX_KEPT: Final = 10_000
NAME_RULE: Final = {
    "rule": f"size(self.metadata.name) <= {MAX_SCHEDULE_NAME}",
    "message": f"metadata.name must have at most {MAX_SCHEDULE_NAME} characters: the names of its "
    "Backups begin with it",
}


class CronTime(Resource):
    """When something is due."""

    cron: Annotated[
        str,
        Field(
            description="Minute, hour, day of the month, month, day of the week, as in crontab; or "
            "@hourly, @daily, @weekly, @monthly, @yearly.",
            min_length=1,
            max_length=128,
        ),
    ]


class ConcurrencyPolicy(StrEnum):
    """What becomes of a run that is due while a backup of the schedule has not ended."""

    FORBID = "Forbid"
    QUEUE = "Queue"


class Retention(Resource):
    """Which Backups of the schedule stay: those that any of the rules keeps."""

    count: Annotated[
        int | None,
        Field(
            description="So many full backups, and every increment since the oldest of them.",
            ge=1,
            le=MAX_KEPT,
        ),
    ] = None
    max_age: Annotated[
        str | None,
        Field(
            description="Backups that are younger: hours, days or weeks, such as 30d.",
            pattern=r"^[1-9][0-9]{0,4}[hdw]$",
            max_length=6,
        ),
    ] = None
    daily: Annotated[
        int | None,
        Field(
            description="The last backup of each of so many days that have one.", ge=1, le=MAX_KEPT
        ),
    ] = None
    weekly: Annotated[
        int | None,
        Field(
            description="The last full backup of each of so many weeks that have one; they begin "
            "on Monday.",
            ge=1,
            le=MAX_KEPT,
        ),
    ] = None
    monthly: Annotated[
        int | None,
        Field(
            description="The last full backup of each of so many months that have one.",
            ge=1,
            le=MAX_KEPT,
        ),
    ] = None


class BackupScheduleSpec(Resource):
    """When backups of an instance are taken, and which of them stay."""

    instance_ref: Annotated[
        BackupInstanceRef,
        Field(
            description="The instance to back up.",
            json_schema_extra=immutable("spec.instanceRef"),
        ),
    ]
    storage_ref: Annotated[StorageRef, Field(description="Where to.")]
    full: Annotated[CronTime, Field(description="When full backups are taken.")]
    incremental: Annotated[
        CronTime | None,
        Field(
            description="When increments are taken. A full backup that is due by then is taken "
            "instead; the datastore must offer increments."
        ),
    ] = None
    time_zone: Annotated[
        str, Field(description="Time zone of all times.", min_length=1, max_length=64)
    ] = "UTC"
    suspend: Annotated[
        bool,
        Field(
            description="While it is true nothing is taken, proved or removed; what was missed is "
            "caught up once."
        ),
    ] = False
    concurrency_policy: Annotated[
        ConcurrencyPolicy,
        Field(
            description="What is due while a backup of this schedule has not ended is skipped "
            "(Forbid), or waits (Queue)."
        ),
    ] = ConcurrencyPolicy.FORBID
    deletion_policy: Annotated[
        ObjectsPolicy,
        Field(
            description="deletionPolicy of its Backups: whether their objects are deleted with "
            "them."
        ),
    ] = ObjectsPolicy.DELETE
    retention: Annotated[
        Retention | None,
        Field(
            description="Which of its Backups stay; without it, all. Whatever it says, the newest "
            "full backup, the newest proved one, what the others need, and Backups with spec.keep "
            "stay."
        ),
    ] = None
    verify: Annotated[
        CronTime | None,
        Field(
            description="When the newest of its backups that was not proved yet is restored into "
            "a scratch instance."
        ),
    ] = None


class LastRun(Resource):
    """What became of the run that was due last."""

    time: Annotated[str, Field(description="When it was due.", json_schema_extra=DATE_TIME)]
    name: Annotated[
        str | None, Field(description="The Backup, or Operation, that was made; none if skipped.")
    ] = None
    phase: Annotated[
        str, Field(description="Phase of what was made, Skipped if nothing was, or Deleted.")
    ]


class BackupScheduleStatus(Resource):
    """What Coffer reports of a schedule."""

    observed_generation: Annotated[
        int | None, Field(description="Generation of the spec that this status speaks of.")
    ] = None
    conditions: Annotated[
        tuple[Condition, ...],
        Field(description="Ready and what else is known.", json_schema_extra=CONDITION_LIST),
    ] = ()
    message: Annotated[str | None, Field(description="What it is at, and why.")] = None
    last_full: Annotated[LastRun | None, Field(description="The full backup due last.")] = None
    last_incremental: Annotated[LastRun | None, Field(description="The increment due last.")] = None
    last_verify: Annotated[LastRun | None, Field(description="The test restore due last.")] = None
    next_full: Annotated[
        str | None,
        Field(description="When a full backup is due next.", json_schema_extra=DATE_TIME),
    ] = None
    next_incremental: Annotated[
        str | None, Field(description="When an increment is due next.", json_schema_extra=DATE_TIME)
    ] = None
    next_verify: Annotated[
        str | None,
        Field(description="When a test restore is due next.", json_schema_extra=DATE_TIME),
    ] = None
    last_success: Annotated[
        str | None,
        Field(description="When a backup of it last completed.", json_schema_extra=DATE_TIME),
    ] = None
    last_verified: Annotated[
        str | None,
        Field(description="When one last passed its test restore.", json_schema_extra=DATE_TIME),
    ] = None


class BackupSchedule(Resource):
    """Backups of an instance by the clock."""

    metadata: Metadata
    spec: Annotated[BackupScheduleSpec, Field(description="When, and which stay.")]
    status: Annotated[BackupScheduleStatus, Field(description="What Coffer reports.")] = Field(
        default_factory=BackupScheduleStatus
    )
