"""Maintenance windows: when one is open, when the next one begins.

Pure arithmetic on a window and a moment. A window begins at a time of day in its time zone and
lasts as long as the clock on the wall would say if nobody changed it: an elapsed time. A start
that a change of the clock leaves out is as much later as the clock was put forward; of one that
comes twice, the first counts. The days are those on which it begins.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from coffer_common.errors import UserError
from coffer_common.resources.instance import MaintenanceWindow
from coffer_operator.plan import reasons
from coffer_operator.plan.zones import find_zone, not_a_zone

MAX_DURATION: Final = timedelta(hours=24)

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")  # as date.weekday() counts
_DURATION: Final = re.compile(r"(?:(\d{1,2})h)?(?:(\d{1,4})m)?")
_FIELD: Final = "spec.maintenance.window"
_BEFORE_DAYS: Final = 3  # of a start whose window may still be open, in any zone
_AHEAD_DAYS: Final = 9  # until the next start at the latest


@dataclass(frozen=True)
class Opening:
    """One opening of a window, in UTC: it holds `begins` and does not hold `ends`."""

    begins: datetime
    ends: datetime

    def holds(self, moment: datetime) -> bool:
        return self.begins <= moment < self.ends


def check_window(window: MaintenanceWindow) -> UserError | None:
    """What is wrong with the window; None: nothing."""
    if find_zone(window.time_zone) is None:
        return UserError(reasons.INVALID, f"{_FIELD}.timeZone: {not_a_zone(window.time_zone)}")
    duration = _duration(window.duration)
    if duration is None or not timedelta(0) < duration <= MAX_DURATION:
        return UserError(
            reasons.INVALID,
            f"{_FIELD}.duration: {window.duration!r} is no duration of at most 24h; write one "
            "such as 2h or 90m",
        )
    return None


def opening(window: MaintenanceWindow, now: datetime) -> Opening | None:
    """The present opening, else the next one; None for a window that is not valid.

    Of two that are open (a day that a change of the clock made shorter) it is the later one.
    """
    found = _openings(window, now)
    present = [one for one in found if one.holds(now)]
    if present:
        return max(present, key=lambda one: one.begins)
    return min((one for one in found if one.begins > now), key=lambda o: o.begins, default=None)


def _openings(window: MaintenanceWindow, now: datetime) -> list[Opening]:
    zone, duration = find_zone(window.time_zone), _duration(window.duration)
    if zone is None or duration is None or check_window(window) is not None:
        return []
    start = time.fromisoformat(window.start)
    try:
        today = now.astimezone(zone).date()
        days = [today + timedelta(days=n) for n in range(-_BEFORE_DAYS, _AHEAD_DAYS + 1)]
        return [
            _opening(day, start, zone, duration)
            for day in days
            if not window.days or _DAYS[day.weekday()] in window.days
        ]
    except OverflowError:  # at the end of all days
        return []


def _opening(day: date, start: time, zone: ZoneInfo, duration: timedelta) -> Opening:
    begins = datetime.combine(day, start, tzinfo=zone).astimezone(UTC)
    return Opening(begins, begins + duration)


def _duration(text: str) -> timedelta | None:
    match = _DURATION.fullmatch(text)
    if match is None:
        return None
    return timedelta(hours=int(match[1] or 0), minutes=int(match[2] or 0))
