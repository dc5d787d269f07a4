"""Times as the API writes them: RFC 3339 in UTC, whole seconds. No text makes it fail."""

from datetime import UTC, datetime, timedelta


def to_text(moment: datetime) -> str:
    """2026-01-31T10:20:30Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def from_text(text: str | None) -> datetime | None:
    """The moment in UTC; None for no text, or for one that is no time."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def after(moment: datetime, seconds: float) -> datetime:
    """The moment `seconds` later, or the last one there is."""
    try:
        return moment + timedelta(seconds=seconds)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)
