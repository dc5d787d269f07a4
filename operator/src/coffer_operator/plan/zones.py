"""Time zones by name. Pure."""

from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from coffer_operator.plan.wording import nearest


def find_zone(name: str) -> ZoneInfo | None:
    """None where there is no such zone: a folder of zones is none, nor is a path."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def not_a_zone(name: str) -> str:
    """What is wrong with a name that is no zone's, and which one may be meant."""
    close = nearest(name, _names())
    hint = (
        f"did you mean {close}?" if close is not None else "write one such as Europe/Berlin or UTC"
    )
    return f"{name!r} is no time zone; {hint}"


@cache
def _names() -> tuple[str, ...]:
    return tuple(sorted(available_timezones()))
