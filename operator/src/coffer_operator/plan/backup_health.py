"""Whether an instance is backed up as it is to be: the condition BackupHealthy, and what goes on.

Pure. Healthy is an instance whose newest backup is no older than two periods of its schedules, was
not followed by one that failed, and did not fail its test restore. Times, not ages, are told: an
instance at which nothing changes keeps its words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from coffer_common.errors import UserError
from coffer_common.resources.backup import Backup, BackupPhase
from coffer_common.resources.instance_status import LastBackup
from coffer_common.resources.schedule import BackupSchedule
from coffer_operator.plan import reasons
from coffer_operator.plan.clock import after, from_text
from coffer_operator.plan.cron import parse_cron
from coffer_operator.plan.finding import Truth
from coffer_operator.plan.wording import one_line
from coffer_operator.plan.world import World
from coffer_operator.plan.zones import find_zone

PERIODS: Final = 2


@dataclass(frozen=True)
class Health:
    """The condition; `wake_at` is when time alone makes it another."""

    truth: Truth
    reason: str
    message: str
    wake_at: datetime | None = None


@dataclass(frozen=True)
class BackedUp:
    """What is known of an instance's backups. `taking`: the one that is being taken, by name."""

    health: Health | None = None  # None: it has none, and is to have none
    last: LastBackup | None = None
    taking: str | None = None


def judge_backups(world: World) -> BackedUp:
    """The verdict over the Backups of the World's instance."""
    uid = world.instance.metadata.uid
    own = [b for b in world.backups if b.status.instance_uid in (None, uid)]
    if not own and not world.backup_schedules:
        return BackedUp()
    newest = _newest(own, BackupPhase.COMPLETED)
    running = (b.metadata.name for b in own if b.status.phase is BackupPhase.RUNNING)
    last = None
    if newest is not None and newest.status.finished_at is not None:
        last = LastBackup(name=newest.metadata.name, time=newest.status.finished_at)
    return BackedUp(_health(world, own, newest), last, next(running, None))


def _newest(backups: Sequence[Backup], phase: BackupPhase) -> Backup | None:
    ended = [b for b in backups if b.status.phase is phase and b.status.finished_at is not None]
    return max(ended, key=lambda b: (b.status.finished_at or "", b.metadata.name), default=None)


def _health(world: World, own: Sequence[Backup], newest: Backup | None) -> Health | None:
    failed = _newest(own, BackupPhase.FAILED)
    if failed is not None and _finished(failed) > _finished(newest):
        text = f"the Backup {failed.metadata.name} has failed: {failed.status.message}"
        return Health(Truth.FALSE, reasons.BACKUP_FAILED, one_line(text))
    due = _due(world, newest)
    if due is not None and world.now >= due:
        text = _said(newest) if newest is not None else "no backup has completed yet"
        return Health(
            Truth.FALSE,
            reasons.BACKUP_OVERDUE,
            f"{text}; by its schedule there should be a newer one",
        )
    if newest is None:
        if not world.backup_schedules:
            return None  # one is being taken, or never will be
        return Health(Truth.UNKNOWN, reasons.BACKUP_PENDING, "no backup has completed yet", due)
    checked = [b for b in own if b.status.verified is not None]
    latest = max(checked, key=lambda b: _verified(b)[0], default=None)
    if latest is not None and _verified(latest)[1] == "Failed":
        why = latest.status.verified.message if latest.status.verified is not None else None
        text = f"the Backup {latest.metadata.name} has failed its test restore: {why}"
        return Health(Truth.FALSE, reasons.VERIFICATION_FAILED, one_line(text), due)
    proved = "none was proved by a test restore yet"
    if latest is not None:
        proved = f"{latest.metadata.name} was proved by a test restore at {_verified(latest)[0]}"
    return Health(Truth.TRUE, reasons.BACKED_UP, f"{_said(newest)}; {proved}", due)


def _finished(backup: Backup | None) -> str:
    return (backup.status.finished_at or "") if backup is not None else ""


def _verified(backup: Backup) -> tuple[str, str]:
    verified = backup.status.verified
    return (verified.time, verified.result) if verified is not None else ("", "")


def _said(newest: Backup) -> str:
    return f"the newest backup is {newest.metadata.name} of {newest.status.finished_at}"


def _due(world: World, newest: Backup | None) -> datetime | None:
    """Until when a newer one has to be complete; None: no schedule says so."""
    active = [s for s in world.backup_schedules if not s.spec.suspend]
    periods = [p for s in active if (p := _period(s, world.now)) is not None]
    if not periods:
        return None
    began = [from_text(s.metadata.creation_timestamp) for s in active]
    since = [from_text(_finished(newest)), min((b for b in began if b), default=None)]
    known = [moment for moment in since if moment is not None]
    if not known:
        return None
    return after(max(known), PERIODS * min(periods).total_seconds() + 1.0)


def _period(schedule: BackupSchedule, now: datetime) -> timedelta | None:
    """The shortest between two backups of any type; None where nothing valid is said."""
    spec, zone = schedule.spec, find_zone(schedule.spec.time_zone)
    if zone is None:
        return None
    found = []
    for field, wanted in (("spec.full", spec.full), ("spec.incremental", spec.incremental)):
        if wanted is None:
            continue
        try:
            period = parse_cron(field, wanted.cron, zone).period(now)
        except UserError:
            continue  # its own conditions say so
        if period is not None:
            found.append(period)
    return min(found, default=None)
