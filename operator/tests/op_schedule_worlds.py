"""BackupSchedules and their Worlds for the tests of plan, and what carrying out leads to."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from coffer_common.naming import LABEL_SCHEDULE
from coffer_common.resources.backup import Backup
from coffer_common.resources.instance import DatabaseInstance
from coffer_common.resources.operation import Operation
from coffer_common.resources.schedule import BackupSchedule
from coffer_operator.plan.clock import to_text
from coffer_operator.plan.errand import Errand
from coffer_operator.plan.schedule import plan_schedule
from coffer_operator.plan.schedule_world import ScheduleWorld
from op_backup_worlds import STRATEGIES, storage
from op_plan_worlds import catalogue, datastore_version, instance_obj

CREATED = datetime(2026, 11, 1, 12, tzinfo=UTC)  # a Sunday
DATASTORE = {"type": "mariadb", "version": "10.11", "name": "mariadb-10.11"}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def schedule_obj(**spec: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "nightly",
            "namespace": "prod",
            "uid": "n-uid",
            "generation": 1,
            "resourceVersion": "5",
            "creationTimestamp": to_text(CREATED),
        },
        "spec": {
            "instanceRef": {"name": "shop"},
            "storageRef": {"name": "minio"},
            "full": {"cron": "0 2 * * 0"},
        }
        | spec,
    }


def schedule(status: Mapping[str, Any] | None = None, **spec: Any) -> BackupSchedule:
    return BackupSchedule.model_validate({**schedule_obj(**spec), "status": dict(status or {})})


def instance(**spec: Any) -> DatabaseInstance:
    obj = instance_obj()
    obj["spec"] |= spec
    return DatabaseInstance.model_validate({**obj, "status": {"datastore": DATASTORE}})


def schedule_world(subject: BackupSchedule | None = None, **facts: Any) -> ScheduleWorld:
    """One hour after the schedule was made; nothing was due."""
    plain = ScheduleWorld(
        now=CREATED + timedelta(hours=1),
        schedule=subject or schedule(),
        catalogue=catalogue(datastore_version(backupStrategies=STRATEGIES)),
        instance=instance(),
        storage=storage(),
    )
    return replace(plain, **facts)


def taken(
    name: str,
    moment: datetime,
    parent: str | None = None,
    *,
    phase: str = "Completed",
    verified: str | None = None,
    label: str | None = "nightly",
    **spec: Any,
) -> Backup:
    """A Backup of the schedule; its path is its name."""
    kind = "incremental" if parent is not None else "full"
    status: dict[str, Any] = {"phase": phase, "startedAt": to_text(moment), "type": kind}
    if phase == "Completed":
        status |= {"path": name, "finishedAt": to_text(moment + timedelta(minutes=5))}
    if parent is not None:
        status["parent"] = parent
    if verified is not None:
        status["verified"] = {"time": to_text(moment + timedelta(hours=4)), "result": verified}
    return Backup.model_validate(
        {
            "metadata": {
                "name": name,
                "namespace": "prod",
                "uid": f"uid-{name}",
                "labels": {LABEL_SCHEDULE: label} if label is not None else {},
                "creationTimestamp": to_text(moment),
            },
            "spec": {
                "instanceRef": {"name": "shop"},
                "storageRef": {"name": "minio"},
                "type": kind,
            }
            | spec,
            "status": status,
        }
    )


def going(backup: Backup) -> Backup:
    """Under deletion."""
    metadata = backup.metadata.model_copy(update={"deletion_timestamp": "2026-12-01T00:00:00Z"})
    return backup.model_copy(update={"metadata": metadata})


def carried_out(
    before: ScheduleWorld, errand: Errand, now: datetime | None = None
) -> ScheduleWorld:
    """The World once the errand was carried out, at `now`."""
    content = before.schedule.model_dump(by_alias=True, mode="json")
    if errand.status is not None:
        content["status"] = dict(errand.status)
    backups, operations = list(before.backups), list(before.operations)
    for obj in errand.creates:
        made = {**obj, "metadata": {"uid": f"uid-{obj['metadata']['name']}", **obj["metadata"]}}
        if obj["kind"] == "Backup":
            backups.append(Backup.model_validate(made))
        else:
            operations.append(Operation.model_validate(made))
    gone = {removal.uid for removal in errand.removals}
    return replace(
        before,
        now=now or before.now,
        schedule=BackupSchedule.model_validate(content),
        backups=tuple(b for b in backups if b.metadata.uid not in gone),
        operations=tuple(operations),
    )


SUNDAY = at("2026-11-08T02:00:00Z")


BOTH: dict[str, Any] = {"full": {"cron": "0 2 * * 0"}, "incremental": {"cron": "0 2 * * 1-6"}}


def made(errand: Errand) -> list[str]:
    return [obj["metadata"]["name"] for obj in errand.creates]


def removed(errand: Errand) -> list[str]:
    return [removal.name for removal in errand.removals]


def status(errand: Errand) -> dict[str, Any]:
    assert errand.status is not None
    return dict(errand.status)


def looked(world: ScheduleWorld, moment: datetime) -> tuple[ScheduleWorld, Errand]:
    """The World after the look at it at that moment, and what that look did."""
    before = replace(world, now=moment)
    errand = plan_schedule(before)
    return carried_out(before, errand), errand


def operation(phase: str, backup: str = "f0", label: str = "nightly") -> Operation:
    return Operation.model_validate(
        {
            "metadata": {
                "name": "op",
                "namespace": "prod",
                "labels": {"coffer.dev/backup-schedule": label},
            },
            "spec": {"type": "VerifyBackup", "backupRef": {"name": backup}},
            "status": {"phase": phase},
        }
    )
