"""Which Backups of a schedule go. Pure.

A Backup stays if any rule keeps it, or if what stays needs it. Whatever the rules say there stay

- the newest full backup, and the newest full one that failed no test restore;
- the newest that passed one, and the newest full one that did;
- what has spec.keep, what an instance is being made of, what Backups of others continue;
- what cannot be told: a Backup that has not ended, or without a time.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Final

from coffer_common.resources.backup import (
    Backup,
    BackupPhase,
    BackupType,
)
from coffer_common.resources.schedule import Retention
from coffer_operator.plan.clock import from_text

MAX_FAILED: Final = 10  # that stay to be read about, where none of the schedule ever completed
_AGE: Final = re.compile(r"(\d+)([hdw])")
_UNITS: Final = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}

Place = tuple[str, str]  # storage and path: what increments name their parents by


@dataclass(frozen=True)
class Kept:
    """What is to stay beside what the rules keep: Backups by name, and by place."""

    names: frozenset[str] = frozenset()
    places: frozenset[Place] = frozenset()


def retire(
    own: Collection[Backup],
    every: Collection[Backup],
    rules: Retention,
    *,
    now: datetime,
    zone: tzinfo,
    kept: Kept | None = None,
) -> tuple[Backup, ...]:
    """The Backups that go, the newest first: an increment before its parent.

    `own` are the schedule's, `every` all of the namespace, these among them.
    """
    if rules == Retention():
        return ()
    completed = [(moment, b) for b in own if _is_completed(b) and (moment := taken_at(b))]
    completed.sort(key=lambda pair: (pair[0], pair[1].metadata.name), reverse=True)
    stay = _by_rules(completed, rules, now, zone) | _by_nature([b for _, b in completed])
    names = {b.metadata.name for b in own}
    stay |= {b.metadata.name for b in every if b.metadata.name not in names and _counts(b)}
    stay |= (kept or Kept()).names
    stay |= {b.metadata.name for b in own if b.spec.keep or _cannot_tell(b)}
    stay |= {b.metadata.name for b in every if place(b) in (kept or Kept()).places}
    needed = _with_parents(stay, every)
    gone = [b for _, b in completed if b.metadata.name not in needed]
    left = [moment for moment, b in completed if b.metadata.name in needed]
    return *gone, *_failures(own, min(left, default=None), needed)


def next_to_go(
    retired: Sequence[Backup], every: Collection[Backup], most: int
) -> tuple[Backup, ...]:
    """Those of them that no other Backup continues any more: a parent waits for its children."""
    parents = {
        (other.spec.storage_ref.name, other.status.parent)
        for other in every
        if other.status.parent is not None
    }
    free = [b for b in retired if place(b) not in parents and not b.status.children]
    return tuple(free[: max(most, 0)])


def taken_at(backup: Backup) -> datetime | None:
    """The moment that a Backup counts by; None: cannot tell."""
    status = backup.status
    return (
        from_text(status.started_at)
        or from_text(status.finished_at)
        or from_text(backup.metadata.creation_timestamp)
    )


def place(backup: Backup) -> Place | None:
    """Where its objects are; None: nowhere yet."""
    path = backup.status.path
    return (backup.spec.storage_ref.name, path) if path is not None else None


def is_full(backup: Backup) -> bool:
    """Whether what was taken is a full one."""
    return (backup.status.type or backup.spec.type) is BackupType.FULL


def has_passed(backup: Backup) -> bool:
    """Whether a test restore of it succeeded."""
    return backup.status.verified is not None and backup.status.verified.result == "Passed"


# --- what stays ----------------------------------------------------------------------------------
def _by_rules(
    completed: Sequence[tuple[datetime, Backup]], rules: Retention, now: datetime, zone: tzinfo
) -> set[str]:
    """Names of what the rules keep."""
    fulls = [(moment, b) for moment, b in completed if is_full(b) and not _is_broken(b)]
    stay: set[str] = set()
    if rules.count is not None:
        oldest = fulls[rules.count - 1][0] if len(fulls) >= rules.count else None
        stay |= {b.metadata.name for moment, b in completed if oldest is None or moment >= oldest}
    if rules.max_age is not None:
        longest = _duration(rules.max_age)
        stay |= {
            b.metadata.name for moment, b in completed if longest is None or now - moment <= longest
        }
    for most, source, period in (
        (rules.daily, completed, _day),
        (rules.weekly, fulls, _week),
        (rules.monthly, fulls, _month),
    ):
        if most is not None:
            local = ((period(moment.astimezone(zone)), b) for moment, b in source)
            stay |= _last_of_each(local, most)
    return stay


def _last_of_each(newest_first: Iterable[tuple[tuple[int, ...], Backup]], most: int) -> set[str]:
    """The last one of each of the newest periods that have one."""
    found: dict[tuple[int, ...], str] = {}
    for period, backup in newest_first:
        found.setdefault(period, backup.metadata.name)
    return set(list(found.values())[:most])


def _day(moment: datetime) -> tuple[int, ...]:
    return moment.year, moment.month, moment.day


def _week(moment: datetime) -> tuple[int, ...]:
    return moment.isocalendar()[:2]


def _month(moment: datetime) -> tuple[int, ...]:
    return moment.year, moment.month


def _by_nature(newest_first: Sequence[Backup]) -> set[str]:
    """Names of what no rule may remove."""
    fulls = [b for b in newest_first if is_full(b)]
    lasting: list[Backup | None] = [
        fulls[0] if fulls else None,
        next((b for b in fulls if not _is_broken(b)), None),
        next((b for b in fulls if has_passed(b)), None),
        next((b for b in newest_first if has_passed(b)), None),
    ]
    return {b.metadata.name for b in lasting if b is not None}


def _with_parents(names: Iterable[str], every: Iterable[Backup]) -> frozenset[str]:
    """The names, and those of all that restoring these needs."""
    by_name, by_place = {}, {}
    for backup in every:
        by_name[backup.metadata.name] = backup
        if (where := place(backup)) is not None:
            by_place[where] = backup
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        if (parent := _parent(by_name.get(name), by_name, by_place)) is not None:
            waiting.append(parent.metadata.name)
    return frozenset(found)


def _parent(
    backup: Backup | None, by_name: Mapping[str, Backup], by_place: Mapping[Place, Backup]
) -> Backup | None:
    if backup is None:
        return None
    if backup.status.parent is not None:
        return by_place.get((backup.spec.storage_ref.name, backup.status.parent))
    reference = backup.spec.parent_ref
    return by_name.get(reference.name) if reference is not None and not is_full(backup) else None


def _failures(
    own: Iterable[Backup], oldest: datetime | None, needed: Collection[str]
) -> list[Backup]:
    """Failed ones that are older than all that stays, and where nothing stays the oldest."""
    failed = [
        (moment, b)
        for b in own
        if b.status.phase is BackupPhase.FAILED
        and not _is_going(b)
        and b.metadata.name not in needed
        and (moment := taken_at(b))
    ]
    failed.sort(key=lambda pair: (pair[0], pair[1].metadata.name), reverse=True)
    if oldest is None:
        return [b for _, b in failed[MAX_FAILED:]]
    return [b for moment, b in failed if moment < oldest]


def _cannot_tell(backup: Backup) -> bool:
    """It has not ended, or nobody knows when it was taken."""
    ended = backup.status.phase in (BackupPhase.COMPLETED, BackupPhase.FAILED)
    return not _is_going(backup) and (not ended or taken_at(backup) is None)


def _counts(backup: Backup) -> bool:
    """Whether what it needs is needed: one that failed, or is going, needs nothing."""
    return backup.status.phase is not BackupPhase.FAILED and not _is_going(backup)


def _is_completed(backup: Backup) -> bool:
    return (
        backup.status.phase is BackupPhase.COMPLETED
        and not _is_going(backup)
        and place(backup) is not None
    )


def _is_broken(backup: Backup) -> bool:
    return backup.status.verified is not None and backup.status.verified.result == "Failed"


def _is_going(backup: Backup) -> bool:
    return backup.metadata.deletion_timestamp is not None


def _duration(text: str) -> timedelta | None:
    match = _AGE.fullmatch(text)
    return int(match[1]) * _UNITS[match[2]] if match is not None else None
