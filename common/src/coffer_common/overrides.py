"""An administrator's words on one parameter, merged with what is known of it. Pure.

A known parameter is only ever restricted: no wider limits, no other type, nothing opened that
Coffer sets itself or that takes effect only at a restart. Its pattern and its description are
replaced. A parameter that is not known yet needs a type; it takes effect at a restart unless that
is said to be otherwise.
"""

import math
import re
from collections.abc import Sequence
from typing import Any, Final, Protocol

from pydantic import ValidationError

from coffer_common.errors import UserError
from coffer_common.parameter import (
    INVALID_PARAMETER,
    Parameter,
    ParameterType,
    shortened,
    shown_name,
    shown_value,
)

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,127}")
_ADDED: Final = "Added by the administrator of the catalogue."
_CLOSED: Final = "the administrator of the catalogue does not allow it"


class Override(Protocol):
    """What is said of a parameter; what is None or empty is left as it is.

    resources.configuration.ParameterOverride is one.
    """

    @property
    def name(self) -> str: ...

    @property
    def type(self) -> str | None: ...

    @property
    def min(self) -> float | None: ...

    @property
    def max(self) -> float | None: ...

    @property
    def allowed(self) -> Sequence[str]: ...

    @property
    def pattern(self) -> str | None: ...

    @property
    def unit(self) -> str | None: ...

    @property
    def restart_required(self) -> bool | None: ...

    @property
    def read_only(self) -> bool | None: ...

    @property
    def description(self) -> str | None: ...


def overridden(known: Parameter | None, override: Override) -> Parameter:
    """The parameter with what the override says of it.

    Raises UserError with one line that names the parameter and what is wrong.
    """
    parameter = _added(override) if known is None else _restricted(known, override)
    # the engine's default need not be among what the administrator allows
    problem = parameter.model_copy(update={"default": None}).inconsistency()
    if problem is not None:
        raise _refusal(override, problem)
    return parameter


def _added(override: Override) -> Parameter:
    if _NAME.fullmatch(override.name) is None:
        raise _refusal(override, "that is no name of a parameter")
    if override.type is None:
        raise _refusal(override, "it is not known, so it needs a type")
    unit = override.unit
    if unit is None and override.type == ParameterType.DURATION:
        unit = "s"
    return _validated(
        override,
        {
            "name": override.name,
            "type": override.type,
            "description": override.description or _ADDED,
            "restart_required": override.restart_required is not False,
            "min": _limit(override, override.min),
            "max": _limit(override, override.max),
            "allowed": tuple(override.allowed),
            "pattern": override.pattern,
            "unit": unit,
            "read_only": bool(override.read_only),
            "reason": _CLOSED if override.read_only else None,
        },
    )


def _restricted(known: Parameter, override: Override) -> Parameter:
    if override.type is not None and override.type != known.type:
        raise _refusal(override, f"it is of type {known.type}, which cannot change")
    if override.unit is not None and override.unit != known.unit:
        raise _refusal(override, f"its unit is {known.unit or 'none'}, which cannot change")
    if override.restart_required is False and known.restart_required:
        raise _refusal(override, "it takes effect only when the engine is restarted")
    if override.read_only is False and known.read_only:
        raise _refusal(override, f"it cannot be opened: {known.reason or 'Coffer sets it'}")
    changes: dict[str, Any] = {
        "min": _lowest(override, known.min),
        "max": _highest(override, known.max),
        "allowed": _fewer(known, override),
        "restart_required": known.restart_required or bool(override.restart_required),
        "description": override.description or known.description,
    }
    if override.pattern is not None:
        changes |= {"pattern": override.pattern, "form": None}
    if override.read_only and not known.read_only:
        changes |= {"read_only": True, "reason": _CLOSED}
    return _validated(override, known.model_dump() | changes)


def _lowest(override: Override, known: float | None) -> float | None:
    """The smallest value that counts. Refuses one beyond what is known."""
    said = _limit(override, override.min)
    if said is not None and known is not None and said < known:
        raise _refusal(override, f"min {said} is below the engine's, which is {known}")
    return known if said is None else said


def _highest(override: Override, known: float | None) -> float | None:
    """The largest value that counts. Refuses one beyond what is known."""
    said = _limit(override, override.max)
    if said is not None and known is not None and said > known:
        raise _refusal(override, f"max {said} is above the engine's, which is {known}")
    return known if said is None else said


def _fewer(known: Parameter, override: Override) -> tuple[str, ...]:
    """The values that count. Refuses one that is not among those known."""
    if not override.allowed:
        return known.allowed
    if not known.allowed:
        return tuple(override.allowed)
    chosen = []
    for word in override.allowed:
        found = next((one for one in known.allowed if one.casefold() == word.casefold()), None)
        if found is None:
            why = f"{shown_value(word)} is none of the engine's values: {known.allowed_text()}"
            raise _refusal(override, why)
        chosen.append(found)
    return tuple(chosen)


def _limit(override: Override, limit: float | None) -> float | None:
    """A limit as an integer where it is whole: a size has no fraction."""
    if limit is None:
        return None
    if not math.isfinite(limit):
        raise _refusal(override, f"{limit} is no limit")
    return int(limit) if float(limit).is_integer() else limit


def _validated(override: Override, fields: dict[str, Any]) -> Parameter:
    try:
        return Parameter.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _refusal(override, f"{where}: {first['msg']}") from error


def _refusal(override: Override, why: str) -> UserError:
    text = f"{shown_name(override.name)} cannot be overridden: {why}"
    return UserError(INVALID_PARAMETER, shortened(text))
