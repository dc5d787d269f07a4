"""Rules for the parameters that users may set, from validation-rules.json. Pure but for `load`.

A value that passes comes back in the one form that the engine's plugin writes: int (bytes for a
size, the parameter's own unit for a duration), float, bool or str.
"""

import difflib
import json
import math
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from fractions import Fraction
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from coffer_common.errors import UserError
from coffer_common.templates import VALIDATION_RULES, find
from coffer_common.wire import Value

INVALID_PARAMETER: Final = "InvalidParameter"

_TRUE: Final = frozenset({"on", "yes", "true", "1"})
_FALSE: Final = frozenset({"off", "no", "false", "0"})
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,20}")
_SIZE: Final = re.compile(r"([0-9]{1,20})(?:([KMGTPE])(?:i?B|i)?|B)?", re.IGNORECASE)
_DURATION: Final = re.compile(r"([0-9]{1,20})(us|ms|s|m|h|d)")
_SIZE_LETTERS: Final = "KMGTPE"  # each counts 1024 of the one before, as the engines have it
_UNITS_S: Final = {
    "us": Fraction(1, 10**6),
    "ms": Fraction(1, 10**3),
    "s": Fraction(1),
    "m": Fraction(60),
    "h": Fraction(3600),
    "d": Fraction(86400),
}
_UNSAFE: Final = re.compile(r"[\x00-\x1f\x7f]")  # a line break would start another directive


class ParameterType(StrEnum):
    """What a value is."""

    INTEGER = "integer"
    FLOAT = "float"
    BOOLEAN = "boolean"
    STRING = "string"
    ENUM = "enum"
    SIZE = "size"
    DURATION = "duration"


class Parameter(BaseModel):
    """One parameter of an engine version.

    `read_only`: Coffer sets it itself, users cannot. `deprecated`: accepted, the text says what to
    use instead. `unit`: of a duration without one, and of its limits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    type: ParameterType
    description: Annotated[str, Field(min_length=1)]
    restart_required: bool
    min: int | float | None = None
    max: int | float | None = None
    allowed: tuple[str, ...] = ()
    pattern: str | None = None
    unit: Literal["us", "ms", "s"] | None = None
    read_only: bool = False
    deprecated: str | None = None

    def check(self, value: object) -> Value:
        """The value as the engine's plugin writes it.

        Raises UserError with one line that names the parameter, the value and what is allowed.
        """
        if self.read_only:
            raise self._refusal(value, "it is set by Coffer and cannot be changed")
        result = self._parse(value)
        if result is None or not self._within_limits(result):
            raise self._refusal(value, f"allowed is {self.allowed_text()}")
        return result

    def allowed_text(self) -> str:
        """What is allowed, in words."""
        match self.type:
            case ParameterType.BOOLEAN:
                return "ON or OFF"
            case ParameterType.ENUM:
                return "one of " + ", ".join(self.allowed)
            case ParameterType.STRING if self.pattern is not None:
                return f"a string that matches {self.pattern}"
            case ParameterType.STRING:
                return "a string without control characters"
            case ParameterType.SIZE:
                what = "a size such as 1048576, 64M or 2G"
            case ParameterType.DURATION:
                what = f"a duration in {self.unit}, or one such as 30s, 5m or 2h"
            case ParameterType.FLOAT:
                what = "a number"
            case ParameterType.INTEGER:
                what = "a whole number"
        return what + self._limits_text()

    def _limits_text(self) -> str:
        low, high = (None if n is None else self._shown(n) for n in (self.min, self.max))
        if low is not None and high is not None:
            return f" from {low} to {high}"
        if low is not None:
            return f" of at least {low}"
        return "" if high is None else f" of at most {high}"

    def _shown(self, number: float) -> str:
        if self.type is ParameterType.SIZE:
            return size_text(int(number))
        return f"{number}{self.unit or ''}"

    def _refusal(self, value: object, why: str) -> UserError:
        return UserError(INVALID_PARAMETER, f"{self.name}: {_shown_value(value)} is refused: {why}")

    def _within_limits(self, value: Value) -> bool:
        if isinstance(value, bool | str):
            return True
        return (self.min is None or self.min <= value) and (self.max is None or value <= self.max)

    def _parse(self, value: object) -> Value | None:
        """None where the value is not of the type."""
        match self.type:
            case ParameterType.ENUM:
                return _parse_enum(value, self.allowed)
            case ParameterType.STRING:
                return _parse_string(value, self.pattern)
            case ParameterType.DURATION:
                return _parse_duration(value, self.unit or "s")
            case other:
                return _PARSERS[other](value)


class Rules:
    """The parameters of one engine version."""

    def __init__(self, parameters: Mapping[str, Parameter]) -> None:
        self.parameters = dict(parameters)

    def get(self, name: str) -> Parameter:
        """Raises UserError for an unknown parameter, with a suggestion for a misspelt one."""
        parameter = self.parameters.get(name)
        if parameter is not None:
            return parameter
        raise UserError(
            INVALID_PARAMETER, f"{_shown_value(name)} is not a parameter{self._suggestion(name)}"
        )

    def check(self, values: Mapping[str, object]) -> dict[str, Value]:
        """All values in the form that the engine's plugin writes.

        Raises one UserError whose line says everything that is wrong.
        """
        result: dict[str, Value] = {}
        problems: list[str] = []
        for name, value in values.items():
            try:
                result[name] = self.get(name).check(value)
            except UserError as error:
                problems.append(error.message)
        if problems:
            raise UserError(INVALID_PARAMETER, "; ".join(problems))
        return result

    def _suggestion(self, name: str) -> str:
        normal = name[:128].lower()  # difflib is quadratic in the length
        spelt = {key.replace("_", "-"): key for key in self.parameters}
        close = difflib.get_close_matches(normal.replace("_", "-"), spelt, n=1)
        return f"; did you mean {spelt[close[0]]}?" if close else ""


def load(datastore: str, version: str) -> Rules:
    """The rules of a datastore version, by the templates' lookup order.

    Raises Permanent where there are none.
    """
    return parse_rules(find(datastore, version, VALIDATION_RULES).read_text(encoding="utf-8"))


def parse_rules(text: str) -> Rules:
    """Reads the JSON of validation-rules.json. Raises ValueError for a file that is not right."""
    entries = [
        Parameter.model_validate(entry) for entry in json.loads(text)["configuration-parameters"]
    ]
    parameters = {entry.name: entry for entry in entries}
    if len(parameters) != len(entries):
        raise ValueError("validation-rules.json names a parameter twice")
    return Rules(parameters)


def size_text(size_bytes: int) -> str:
    """A size with the largest unit that leaves it whole, such as 64M."""
    for power in range(len(_SIZE_LETTERS), 0, -1):
        if size_bytes and size_bytes % 1024**power == 0:
            return f"{size_bytes // 1024**power}{_SIZE_LETTERS[power - 1]}"
    return str(size_bytes)


def _shown_value(value: object) -> str:
    text = str(value)
    return repr(text if len(text) <= 64 else text[:61] + "...")


def _parse_boolean(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    word = str(value).lower() if isinstance(value, str | int) else ""
    return True if word in _TRUE else False if word in _FALSE else None


def _parse_integer(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return int(value) if isinstance(value, str) and _INTEGER.fullmatch(value) else None


def _parse_float(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _parse_size(value: object) -> int | None:
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return _parse_integer(value)
    letter = (match[2] or "").upper()
    power = _SIZE_LETTERS.index(letter) + 1 if letter else 0
    return int(match[1]) * (1 << 10 * power)


def _parse_duration(value: object, unit: str) -> int | None:
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return _parse_integer(value)
    count = int(match[1]) * _UNITS_S[match[2]] / _UNITS_S[unit]
    return int(count) if count.denominator == 1 else None


def _parse_enum(value: object, allowed: tuple[str, ...]) -> str | None:
    """YAML reads ON and OFF as booleans: they stand for the words where these are allowed."""
    if isinstance(value, bool):
        words = _TRUE if value else _FALSE
        return next((word for word in allowed if word.lower() in words - {"0", "1"}), None)
    text = str(value).casefold() if isinstance(value, str | int) else None
    return next((word for word in allowed if word.casefold() == text), None)


def _parse_string(value: object, pattern: str | None) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = str(value)
    if _UNSAFE.search(text) or (pattern is not None and re.fullmatch(pattern, text) is None):
        return None
    return text


_PARSERS: Final[Mapping[ParameterType, Callable[[object], Value | None]]] = {
    ParameterType.BOOLEAN: _parse_boolean,
    ParameterType.INTEGER: _parse_integer,
    ParameterType.FLOAT: _parse_float,
    ParameterType.SIZE: _parse_size,
}
