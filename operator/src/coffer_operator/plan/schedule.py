"""plan_schedule: from the World of one BackupSchedule to what is to be done now.

Pure and level-triggered: what was due follows from the clock and from what the status says was
done. While it is suspended, not valid, or lacks its instance or storage, nothing is made and
nothing is removed.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from typing import Any, Final

from coffer_common.errors import UserError
from coffer_common.resources.backup import (
    Backup,
    BackupPhase,
    BackupType,
)
from coffer_common.resources.base import Condition
from coffer_common.resources.catalogue import DatastoreVersion
from coffer_common.resources.instance import DatabaseInstance
from coffer_common.resources.operation import OperationPhase
from coffer_common.resources.schedule import BackupSchedule, BackupScheduleStatus
from coffer_operator.plan import reasons
from coffer_operator.plan.clock import from_text, to_text
from coffer_operator.plan.conditions import Conditions, by_type
from coffer_operator.plan.cron import Cron, parse_cron
from coffer_operator.plan.errand import Errand, Removal
from coffer_operator.plan.finding import Finding, Severity, Truth
from coffer_operator.plan.model import EventNote
from coffer_operator.plan.retention import Kept, has_passed, next_to_go, retire, taken_at
from coffer_operator.plan.schedule_runs import (
    Crons,
    Run,
    plan_backups,
    plan_verification,
    unended,
    verifications,
)
from coffer_operator.plan.schedule_world import ScheduleWorld
from coffer_operator.plan.strategies import Offers, refuse_full, refuse_increments
from coffer_operator.plan.world import Catalogue
from coffer_operator.plan.zones import find_zone, not_a_zone

REMOVALS_AT_ONCE: Final = 3  # each needs a pod for the objects
LOOK_S: Final = 60.0  # at what nobody tells of
_AT_ONCE_S: Final = 0.001
_SOON_S: Final = 1.0


@dataclass(frozen=True)
class _Clock:
    """The schedule's own times."""

    zone: tzinfo
    crons: Crons


def plan_schedule(world: ScheduleWorld) -> Errand:
    """What to do for the schedule now. Never raises, whatever the ScheduleWorld is."""
    if world.schedule.metadata.deletion_timestamp is not None:
        return Errand()
    try:
        clock = read_clock(world.schedule)
    except UserError as error:
        return _told(world, Finding(Severity.STALLED, error.reason, error.message), None)
    if world.schedule.spec.suspend:
        text = "suspended: nothing is taken, proved or removed"
        return _told(world, Finding(Severity.GOOD, reasons.SUSPENDED, text), None)
    missing = _missing(world)
    if missing is not None:
        return replace(_told(world, missing, clock.crons), requeue_after_s=LOOK_S)
    unable = _no_increments(world)
    if unable is not None:
        clock = replace(clock, crons=replace(clock.crons, incremental=None))
    return _work(world, clock, unable)


def read_clock(schedule: BackupSchedule) -> _Clock:
    """Raises UserError for what is no time zone or cron expression."""
    spec = schedule.spec
    zone = UTC if spec.time_zone == "UTC" else find_zone(spec.time_zone)
    if zone is None:
        raise UserError(reasons.INVALID, f"spec.timeZone: {not_a_zone(spec.time_zone)}")
    times = {"full": spec.full, "incremental": spec.incremental, "verify": spec.verify}
    found = {
        name: parse_cron(f"spec.{name}.cron", time.cron, zone)
        for name, time in times.items()
        if time is not None
    }
    return _Clock(zone, Crons(found["full"], found.get("incremental"), found.get("verify")))


def _work(world: ScheduleWorld, clock: _Clock, unable: Finding | None) -> Errand:
    full, increment = plan_backups(world, clock.crons)
    runs = {
        "last_full": full,
        "last_incremental": increment,
        "last_verify": plan_verification(world, clock.crons),
    }
    creates = tuple(run.create for run in runs.values() if run.create is not None)
    if world.failure is not None and creates:  # none of them counts before all were made
        former = world.schedule.status
        runs = {name: replace(run, last=getattr(former, name)) for name, run in runs.items()}
        runs = {name: replace(run, event=None) for name, run in runs.items()}
    told = _told(world, unable or _finding(world, clock.crons), clock.crons, runs)
    told = replace(
        told,
        creates=creates,
        events=(*told.events, *(run.event for run in runs.values() if run.event is not None)),
        requeue_after_s=_requeue_s(world, clock.crons, waits=_is_proving(runs)),
        due_after_s=_requeue_s(world, clock.crons, waits=False),
    )
    return told if creates else _with_removals(world, clock, told)


# --- what is in the way --------------------------------------------------------------------------
def _missing(world: ScheduleWorld) -> Finding | None:
    """What it cannot work without."""
    spec = world.schedule.spec
    instance, storage = world.instance, world.storage
    until = "nothing is taken or removed until there is"
    if instance is None or instance.metadata.deletion_timestamp is not None:
        text = f"there is no DatabaseInstance {spec.instance_ref.name} in this namespace; {until}"
        return Finding(Severity.STALLED, reasons.INSTANCE_NOT_FOUND, text)
    if storage is None or storage.metadata.deletion_timestamp is not None:
        text = f"there is no BackupStorage {spec.storage_ref.name} in this namespace; {until}"
        return Finding(Severity.STALLED, reasons.STORAGE_NOT_FOUND, text)
    error = refuse_full(world.schedule, version_of(instance, world.catalogue), world.offers)
    return Finding(Severity.STALLED, error.reason, error.message) if error is not None else None


def _no_increments(world: ScheduleWorld) -> Finding | None:
    """Whether increments are asked for that there cannot be; full ones are taken then."""
    version = version_of(world.instance, world.catalogue)
    error = lacks_increments(world.schedule, version, world.offers)
    return Finding(Severity.STALLED, error.reason, error.message) if error is not None else None


def version_of(instance: DatabaseInstance | None, catalogue: Catalogue) -> DatastoreVersion | None:
    """The one that an instance runs; None: not known."""
    resolved = instance.status.datastore if instance is not None else None
    return catalogue.datastore_versions.get(resolved.name) if resolved is not None else None


def lacks_increments(
    schedule: BackupSchedule, version: DatastoreVersion | None, offers: Offers | None
) -> UserError | None:
    """The error of a schedule with increments that there cannot be; None: none, or cannot tell.

    `version` is what its instance runs, `offers` are the strategies of that instance's agent; None:
    not known.
    """
    if schedule.spec.incremental is None or version is None:
        return None
    if version.spec.backup_strategies.incremental is not None:
        return refuse_increments(schedule, version, offers)
    text = f"{version.metadata.name} offers no incremental backups, only full ones are taken; "
    return UserError(reasons.NO_STRATEGY, text + "remove spec.incremental")


def _finding(world: ScheduleWorld, crons: Crons) -> Finding:
    if world.failure is not None:
        severity = Severity.STALLED if world.failure.permanent else Severity.PROGRESS
        text = f"{world.failure.step}: {world.failure.message}"
        return Finding(severity, world.failure.reason, text)
    ended = [b for b in world.own if not unended(b) and b.metadata.deletion_timestamp is None]
    latest = max(ended, key=_age, default=None)
    if latest is not None and latest.status.phase is BackupPhase.FAILED:
        text = f"the Backup {latest.metadata.name} failed: {latest.status.message or 'no reason'}"
        return Finding(Severity.UNKNOWN, reasons.BACKUP_FAILED, text)
    following = crons.full.next(world.now)
    when = to_text(following) if following is not None else "no time"
    return Finding(Severity.GOOD, reasons.READY, f"the next full backup is due at {when}")


def _age(backup: Backup) -> tuple[datetime, str]:
    return taken_at(backup) or datetime.min.replace(tzinfo=UTC), backup.metadata.name


# --- retention -----------------------------------------------------------------------------------
def _with_removals(world: ScheduleWorld, clock: _Clock, told: Errand) -> Errand:
    """Only when there is nothing new to tell: one that is refused must not keep that back."""
    retired = _retired(world, clock.zone)
    if not retired:
        return told
    if told.status != as_api(world.schedule.status):
        return replace(told, requeue_after_s=_SOON_S)
    going = sum(1 for b in world.own if b.metadata.deletion_timestamp is not None)
    removed = next_to_go(retired, world.backups, REMOVALS_AT_ONCE - going)
    return replace(
        told,
        removals=tuple(_removal(b) for b in removed),
        requeue_after_s=_requeue_s(world, clock.crons, waits=True),
    )


def _retired(world: ScheduleWorld, zone: tzinfo) -> tuple[Backup, ...]:
    """None while an increment is taken: which Backup it continues is known afterwards."""
    rules = world.schedule.spec.retention
    instance = world.schedule.spec.instance_ref
    growing = any(
        unended(b) and b.spec.type is BackupType.INCREMENTAL
        for b in world.backups
        if b.spec.instance_ref is None or b.spec.instance_ref.name == instance.name
    )
    if rules is None or growing:
        return ()
    return retire(world.own, world.backups, rules, now=world.now, zone=zone, kept=_in_use(world))


def _in_use(world: ScheduleWorld) -> Kept:
    """What instances are being made of, or tried with."""
    names = {o.spec.backup_ref.name for o in verifications(world) if o.spec.backup_ref is not None}
    places = set()
    for instance in world.restoring:
        wanted = instance.spec.restore_from
        if wanted is not None and wanted.backup_ref is not None:
            names.add(wanted.backup_ref.name)
        if wanted is not None and wanted.location is not None:
            places.add((wanted.location.storage_ref.name, wanted.location.path))
    return Kept(frozenset(names), frozenset(places))


def _removal(backup: Backup) -> Removal:
    metadata = backup.metadata
    text = f"removed the Backup {metadata.name}: nothing in spec.retention keeps it"
    note = EventNote(reasons.BACKUP_RETIRED, text)
    return Removal(metadata.name, metadata.uid, metadata.resource_version, note)


# --- status --------------------------------------------------------------------------------------
def _told(
    world: ScheduleWorld,
    found: Finding,
    crons: Crons | None,
    runs: dict[str, Run] | None = None,
) -> Errand:
    former, metadata = world.schedule.status, world.schedule.metadata
    update: dict[str, Any] = {name: run.last for name, run in (runs or {}).items()}
    status = former.model_copy(
        update={
            **update,
            "observed_generation": metadata.generation,
            "conditions": _conditions(former, metadata.generation, found, world.now),
            "message": found.message,
            "next_full": _next(crons.full if crons else None, world.now),
            "next_incremental": _next(crons.incremental if crons else None, world.now),
            "next_verify": _next(crons.verify if crons else None, world.now),
            "last_success": _newest(
                former.last_success,
                (
                    b.status.finished_at
                    for b in world.own
                    if b.status.phase is BackupPhase.COMPLETED
                ),
            ),
            "last_verified": _newest(
                former.last_verified,
                (b.status.verified.time for b in world.own if has_passed(b) and b.status.verified),
            ),
        }
    )
    return Errand(status=as_api(status), events=_events(former, found))


def as_api(status: BackupScheduleStatus) -> dict[str, Any]:
    """A status as the API has it: no nulls, no empty lists."""
    content = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {key: value for key, value in content.items() if value != []}


def _next(cron: Cron | None, now: datetime) -> str | None:
    following = cron.next(now) if cron is not None else None
    return to_text(following) if following is not None else None


def _newest(former: str | None, others: Iterable[str | None]) -> str | None:
    """What was once is not forgotten with the Backup."""
    known = [moment for text in (former, *others) if (moment := from_text(text)) is not None]
    return to_text(max(known)) if known else None


def _conditions(
    former: BackupScheduleStatus, generation: int, found: Finding, now: datetime
) -> tuple[Condition, ...]:
    """Ready, and Reconciling or Stalled only while true (kstatus)."""
    conditions = Conditions(by_type(former.conditions), generation, now)
    good = found.severity is Severity.GOOD
    conditions.add("Ready", Truth.TRUE if good else Truth.FALSE, found.reason, found.message)
    if found.severity is Severity.PROGRESS:
        conditions.add("Reconciling", Truth.TRUE, found.reason, found.message)
    elif found.severity is Severity.STALLED:
        conditions.add("Stalled", Truth.TRUE, found.reason, found.message)
    return conditions.result()


def _events(former: BackupScheduleStatus, found: Finding) -> tuple[EventNote, ...]:
    """Each new reason why it is not Ready, and that it is again."""
    before = by_type(former.conditions).get("Ready")
    good = found.severity is Severity.GOOD
    known = before is not None and before.reason == found.reason
    same = known and before is not None and (good or before.message == found.message)
    if same or found.severity is Severity.PROGRESS:
        return ()
    return (EventNote(found.reason, found.message, warning=not good),)


def _is_proving(runs: dict[str, Run]) -> bool:
    last = runs["last_verify"].last
    return last is not None and last.phase in (OperationPhase.NEW, OperationPhase.RUNNING)


def _requeue_s(world: ScheduleWorld, crons: Crons, *, waits: bool) -> float | None:
    """When something is due, or what nobody tells of is to be looked at."""
    due = [
        (following - world.now).total_seconds()
        for cron in (crons.full, crons.incremental, crons.verify)
        if cron is not None and (following := cron.next(world.now)) is not None
    ]
    if waits:
        due.append(LOOK_S)
    return max(min(due), _AT_ONCE_S) if due else None
