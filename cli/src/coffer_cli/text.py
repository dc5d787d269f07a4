"""How kubectl writes things: ages and tables. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

_GAP: Final = "   "
_DAY_S: Final = 24 * 3600
NONE: Final = "<none>"
UNKNOWN: Final = "<unknown>"


def age(since: str | None, now: datetime) -> str:
    """Time since an RFC 3339 moment, as kubectl's AGE column; clocks that disagree count as 0s."""
    if not since:
        return UNKNOWN
    try:
        moment = datetime.fromisoformat(since)
    except ValueError:
        return UNKNOWN
    return duration(max(0, int((now - moment).total_seconds())))


def duration(seconds: int) -> str:
    """Two figures at most, less precise the longer: 45s, 3m5s, 12m, 5h10m, 2d, 1y20d.

    The thresholds are those of k8s.io/apimachinery/pkg/util/duration.HumanDuration.
    """
    if seconds < 120:
        return f"{seconds}s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // _DAY_S
    years = days // 365
    for below, large, small in (
        (minutes < 10, f"{minutes}m", f"{seconds % 60}s"),
        (minutes < 180, f"{minutes}m", ""),
        (hours < 8, f"{hours}h", f"{minutes % 60}m"),
        (hours < 48, f"{hours}h", ""),
        (hours < 192, f"{days}d", f"{hours % 24}h"),
        (years < 2, f"{days}d", ""),
        (years < 8, f"{years}y", f"{days % 365}d"),
    ):
        if below:
            return large if small.startswith("0") else large + small
    return f"{years}y"


def table(
    headers: Sequence[str], rows: Sequence[Sequence[str]], *, show_headers: bool = True
) -> str:
    """Columns three spaces apart, upper-case headers, no boxes, no blanks at the ends of lines."""
    cells = [[header.upper() for header in headers]] if show_headers else []
    cells += [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        _GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def fields(pairs: Sequence[tuple[str, str]], indent: str = "", width: int = 0) -> str:
    """`Name:  value` lines as kubectl describe writes them, the values in one column.

    `width`: of the longest name that is to come in the same column, if that is not among these.
    """
    width = max([width, *(len(name) for name, _ in pairs)]) + 1
    return "\n".join(
        f"{indent}{name + ':':<{width}}  {printable(value)}".rstrip() for name, value in pairs
    )


def printable(text: str) -> str:
    """One line, and nothing in it that a terminal would obey: messages may quote a tenant."""
    return "".join(c if c.isprintable() else " " for c in text)
