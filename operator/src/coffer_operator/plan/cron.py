"""Cron expressions: when one was due last, and when it is due next. Pure.

Minutes are the finest. In a time zone whose clock is changed it is as in Debian's cron: what is due
in an hour that is left out comes right after it, what is due in one that comes twice comes once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice
from typing import Final

from cronsim import CronSim, CronSimError

from coffer_common.errors import UserError
from coffer_operator.plan import reasons

_SHORT: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_FIELDS: Final = 5
_SOME: Final = 64  # results on the wrong side of the moment, where the clock was changed


@dataclass(frozen=True)
class Cron:
    """An expression that is valid, in a time zone."""

    expression: str
    zone: tzinfo

    def latest(self, now: datetime) -> datetime | None:
        """When it was due last, at `now` or before, in UTC; None: never in 50 years."""
        start = now.replace(microsecond=0) + timedelta(seconds=1)
        found = self._moments(start, reverse=True)
        return next((moment for moment in found if moment <= now), None)

    def next(self, now: datetime) -> datetime | None:
        """When it is due next, after `now`, in UTC; None: never in 50 years."""
        return next((moment for moment in self._moments(now) if moment > now), None)

    def period(self, now: datetime) -> timedelta | None:
        """Between the next two times; None where there are no two."""
        first = self.next(now)
        second = self.next(first) if first is not None else None
        return second - first if first is not None and second is not None else None

    def _moments(self, start: datetime, *, reverse: bool = False) -> Iterator[datetime]:
        # moments of one zone are compared by the clock on the wall: they have to be in UTC
        found = CronSim(self.expression, start.astimezone(self.zone), reverse=reverse)
        return (moment.astimezone(UTC) for moment in islice(found, _SOME))


def parse_cron(field: str, text: str, zone: tzinfo) -> Cron:
    """The expression that stands in `field`. Raises UserError."""
    cron = Cron(_SHORT.get(text.strip().lower(), text), zone)
    wrong = _what_is_wrong(cron)
    if wrong is not None:
        raise UserError(
            reasons.INVALID,
            f"{field}: {text!r} is no cron expression ({wrong}); write minute, hour, day of the "
            "month, month and day of the week, such as '0 2 * * 0', or @daily",
        )
    return cron


def _what_is_wrong(cron: Cron) -> str | None:
    if len(cron.expression.split()) != _FIELDS:
        return "it must have five fields"
    try:
        never = cron.next(datetime(2026, 1, 1, tzinfo=UTC)) is None
    except CronSimError as error:
        what = str(error)
        return f"{what[:1].lower()}{what[1:]}"
    return "it is never due" if never else None
