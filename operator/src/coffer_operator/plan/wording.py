"""Texts that several parts say: the same thing is told in the same words. Pure."""

import difflib
from collections.abc import Collection

from pydantic import ValidationError

from coffer_common.errors import UserError
from coffer_operator.plan import reasons


def one_line(text: str) -> str:
    """The text without line breaks and double spaces."""
    return " ".join(text.split())


def choice(names: Collection[str]) -> str:
    """What there is to choose from."""
    if not names:
        return "there is none to choose; ask the administrator"
    return f"choose {'one of ' if len(names) > 1 else ''}{', '.join(sorted(names))}"


def some(names: Collection[str], most: int = 5) -> str:
    """The first of the names, and how many more there are."""
    shown = ", ".join(sorted(names)[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def nearest(name: str, names: Collection[str]) -> str | None:
    """The one that may be meant; upper and lower case count as the same."""
    by_form = {known.casefold(): known for known in sorted(names)}
    close = difflib.get_close_matches(name.casefold(), by_form, n=1)
    return by_form[close[0]] if close else None


def malformed(error: ValidationError) -> UserError:
    """The first of the errors against the schema, which the API server says itself as a rule."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return UserError(reasons.INVALID, one_line(f"{where}: {first['msg']}"))


def name_taken(kind: str, name: str) -> UserError:
    """The refusal to take over an object of another."""
    return UserError(
        reasons.NAME_TAKEN,
        f"the {kind} {name} exists and is not this instance's; remove it, or choose another name",
    )
