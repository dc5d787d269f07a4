"""What a BackupSchedule has due now: which Backup or Operation is made, or why none is. Pure.

The name of what is made follows from the time that it was due at: who does it twice makes it once.
Of several times that were missed only the latest counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from coffer_common import naming
from coffer_common.resources.backup import (
    Backup,
    BackupPhase,
    BackupType,
)
from coffer_common.resources.operation import Operation, OperationPhase, OperationType
from coffer_common.resources.schedule import ConcurrencyPolicy, LastRun
from coffer_operator.plan import reasons
from coffer_operator.plan.clock import from_text, to_text
from coffer_operator.plan.cron import Cron
from coffer_operator.plan.model import EventNote
from coffer_operator.plan.retention import taken_at
from coffer_operator.plan.schedule_world import ScheduleWorld

SKIPPED: Final = "Skipped"
DELETED: Final = "Deleted"
NEW: Final = "New"
VERIFICATION_TTL_S: Final = 7 * 24 * 3600
_FINISHED: Final = (BackupPhase.COMPLETED, BackupPhase.FAILED)
_ACTIVE: Final = (None, OperationPhase.NEW, OperationPhase.RUNNING)
_ENDED: Final = frozenset({"Completed", "Failed", "Expired", SKIPPED, DELETED})
_SHORT: Final = {BackupType.FULL: "full", BackupType.INCREMENTAL: "incr"}
_LONG: Final = {BackupType.FULL: "full backup", BackupType.INCREMENTAL: "increment"}

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """What becomes of one kind of run: `last` for the status, `create` if something is made."""

    last: LastRun | None
    create: Object | None = None
    event: EventNote | None = None


@dataclass(frozen=True)
class Crons:
    """When what is due; None: never."""

    full: Cron
    incremental: Cron | None
    verify: Cron | None


def plan_backups(world: ScheduleWorld, crons: Crons) -> tuple[Run, Run]:
    """The run of full backups, and that of increments.

    A full backup that is due covers an increment that is.
    """
    status, spec = world.schedule.status, world.schedule.spec
    full_at = _due(world, crons.full, status.last_full)
    if full_at is not None:
        full = _take(world, BackupType.FULL, full_at)
    else:
        full = Run(_seen(world, status.last_full))
    former = status.last_incremental if spec.incremental is not None else None
    increment_at = _due(world, crons.incremental, status.last_incremental)
    if increment_at is None:
        return full, Run(_seen(world, former))
    if full_at is not None:
        return full, Run(LastRun(time=to_text(increment_at), phase=SKIPPED))
    return full, _take(world, BackupType.INCREMENTAL, increment_at)


def plan_verification(world: ScheduleWorld, crons: Crons) -> Run:
    """The run of test restores: of the newest Backup that was not proved yet."""
    former = world.schedule.status.last_verify if crons.verify is not None else None
    due_at = _due(world, crons.verify, world.schedule.status.last_verify)
    if due_at is None:
        return Run(_proved(world, former))
    name = f"{world.schedule.metadata.name}-verify-{_stamp(due_at)}"
    present = next((o for o in world.operations if o.metadata.name == name), None)
    if present is not None:
        return Run(_last(due_at, name, present.status.phase))
    skipped = LastRun(time=to_text(due_at), phase=SKIPPED)
    active = next((o for o in verifications(world) if _is_ours(o, world)), None)
    if active is not None:
        text = f"the test restore due at {to_text(due_at)} was skipped: "
        text += f"the Operation {active.metadata.name} has not ended"
        return Run(skipped, event=EventNote(reasons.VERIFICATION_SKIPPED, text, warning=True))
    subject = _to_prove(world)
    if subject is None:
        return Run(skipped)
    text = f"made the Operation {name}, which restores the Backup {subject.metadata.name} to try it"
    return Run(
        _last(due_at, name, None),
        _operation(world, name, subject),
        EventNote(reasons.VERIFICATION_SCHEDULED, text),
    )


def verifications(world: ScheduleWorld) -> tuple[Operation, ...]:
    """The Operations that verify backups of the namespace and have not ended."""
    return tuple(o for o in world.operations if o.status.phase in _ACTIVE)


def unended(backup: Backup) -> bool:
    """Whether it waits or is being taken."""
    return backup.status.phase not in _FINISHED and backup.metadata.deletion_timestamp is None


def _due(world: ScheduleWorld, cron: Cron | None, last: LastRun | None) -> datetime | None:
    """The latest time that nothing was made for yet."""
    created = from_text(world.schedule.metadata.creation_timestamp) or world.now
    done = from_text(last.time) if last is not None else None
    if done is None or done > world.now:  # by a clock that was wrong
        done = created
    latest = cron.latest(world.now) if cron is not None else None
    return latest if latest is not None and latest > max(done, created) else None


def _take(world: ScheduleWorld, kind: BackupType, due_at: datetime) -> Run:
    what = f"the {_LONG[kind]} due at {to_text(due_at)}"
    name = f"{world.schedule.metadata.name}-{_SHORT[kind]}-{_stamp(due_at)}"
    made = EventNote(reasons.BACKUP_SCHEDULED, f"made the Backup {name}, {what}")
    skipped = LastRun(time=to_text(due_at), phase=SKIPPED)
    present = next((b for b in world.backups if b.metadata.name == name), None)
    if present is not None and present not in world.own:
        text = f"{what} was skipped: the Backup {name} exists and is not of this schedule"
        return Run(skipped, event=EventNote(reasons.BACKUP_SKIPPED, text, warning=True))
    if present is not None:
        return Run(_last(due_at, name, present.status.phase), event=made)
    ahead = next((b for b in world.own if unended(b)), None)
    if ahead is not None and _forbids(world):
        text = f"{what} was skipped: the Backup {ahead.metadata.name} has not ended"
        return Run(skipped, event=EventNote(reasons.BACKUP_SKIPPED, text, warning=True))
    return Run(_last(due_at, name, None), _backup(world, name, kind), made)


def _forbids(world: ScheduleWorld) -> bool:
    return world.schedule.spec.concurrency_policy is ConcurrencyPolicy.FORBID


def _last(due_at: datetime, name: str, phase: BackupPhase | OperationPhase | None) -> LastRun:
    return LastRun(time=to_text(due_at), name=name, phase=phase.value if phase else NEW)


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y%m%d-%H%M")


def _backup(world: ScheduleWorld, name: str, kind: BackupType) -> Object:
    """Without an owner: a schedule that is deleted leaves its Backups."""
    spec = world.schedule.spec
    return {
        "apiVersion": naming.API_VERSION,
        "kind": "Backup",
        "metadata": _metadata(world, name),
        "spec": {
            "instanceRef": {"name": spec.instance_ref.name},
            "storageRef": {"name": spec.storage_ref.name},
            "type": kind.value,
            "deletionPolicy": spec.deletion_policy.value,
        },
    }


def _operation(world: ScheduleWorld, name: str, subject: Backup) -> Object:
    owner = world.schedule.metadata
    reference = {
        "apiVersion": naming.API_VERSION,
        "kind": "BackupSchedule",
        "name": owner.name,
        "uid": owner.uid,
    }
    return {
        "apiVersion": naming.API_VERSION,
        "kind": "Operation",
        "metadata": {**_metadata(world, name), "ownerReferences": [reference]},
        "spec": {
            "type": OperationType.VERIFY_BACKUP.value,
            "backupRef": {"name": subject.metadata.name},
            "ttlSecondsAfterFinished": VERIFICATION_TTL_S,
        },
    }


def _metadata(world: ScheduleWorld, name: str) -> dict[str, Any]:
    owner = world.schedule.metadata
    return {
        "name": name,
        "namespace": owner.namespace,
        "labels": {naming.LABEL_SCHEDULE: owner.name},
    }


# --- what became of the last one -----------------------------------------------------------------
def _seen(world: ScheduleWorld, last: LastRun | None) -> LastRun | None:
    found = next((b for b in world.own if last is not None and b.metadata.name == last.name), None)
    return _as_it_is(last, found.status.phase if found else None, there=found is not None)


def _proved(world: ScheduleWorld, last: LastRun | None) -> LastRun | None:
    found = next(
        (o for o in world.operations if last is not None and o.metadata.name == last.name), None
    )
    return _as_it_is(last, found.status.phase if found else None, there=found is not None)


def _as_it_is(
    last: LastRun | None, phase: BackupPhase | OperationPhase | None, *, there: bool
) -> LastRun | None:
    """One that is not there although it was made may not have been seen yet."""
    if last is None or last.name is None:
        return last
    if there:
        return last.model_copy(update={"phase": phase.value if phase else NEW})
    if last.phase in _ENDED or last.phase == NEW:
        return last
    return last.model_copy(update={"phase": DELETED})


def _to_prove(world: ScheduleWorld) -> Backup | None:
    """The newest completed one that was not proved, and is not just being."""
    tried = {o.spec.backup_ref.name for o in verifications(world) if o.spec.backup_ref is not None}
    fitting = [
        (moment, backup.metadata.name, backup)
        for backup in world.own
        if backup.status.phase is BackupPhase.COMPLETED
        and backup.metadata.deletion_timestamp is None
        and backup.status.verified is None
        and backup.metadata.name not in tried
        and (moment := taken_at(backup))
    ]
    return max(fitting, key=lambda found: found[:2])[2] if fitting else None


def _is_ours(operation: Operation, world: ScheduleWorld) -> bool:
    return operation.metadata.labels.get(naming.LABEL_SCHEDULE) == world.schedule.metadata.name
