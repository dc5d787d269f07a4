"""One parameter of an engine: what its values may be, and the one form they are brought into.

Pure. Knows no engine: what is particular to one is in its validation-rules.json.

The normal form of a value is a plain int (bytes for a size, the parameter's own unit for a
duration), float, bool or str; to bring it there again changes nothing.
"""

import math
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from fractions import Fraction
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from coffer_common.errors import UserError
from coffer_common.wire import Value

INVALID_PARAMETER: Final = "InvalidParameter"
#: An option file's line is cut at 4096 bytes, and what is beyond it read as a line of its own;
#: quoting may double each byte.
MAX_STRING_BYTES: Final = 1536
MAX_PROBLEM_LENGTH: Final = 400

_MAX_SHOWN: Final = 64  # characters of a name or a value
_MAX_ALLOWED_SHOWN: Final = 200  # of what is allowed
_MAX_NUMBER: Final = 2**64  # beyond what any engine counts
_TRUE: Final = frozenset({"on", "yes", "true", "1"})
_FALSE: Final = frozenset({"off", "no", "false", "0"})
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,20}")
_FLOAT: Final = re.compile(
    r"[+-]?([0-9]{1,20}(\.[0-9]{0,20})?|\.[0-9]{1,20})([eE][+-]?[0-9]{1,3})?"
)
_SIZE: Final = re.compile(r"([0-9]{1,20})(?:([KMGTPE])(?:i?B|i)?|B)?", re.IGNORECASE)
_DURATION: Final = re.compile(r"([0-9]{1,20})(us|ms|s|m|h|d)")
_SIZE_LETTERS: Final = "KMGTPE"  # each counts 1024 of the one before
_UNITS_S: Final = {
    "us": Fraction(1, 10**6),
    "ms": Fraction(1, 10**3),
    "s": Fraction(1),
    "m": Fraction(60),
    "h": Fraction(3600),
    "d": Fraction(86400),
}


class ParameterType(StrEnum):
    """What a value is."""

    INTEGER = "integer"
    FLOAT = "float"
    BOOLEAN = "boolean"
    STRING = "string"
    ENUM = "enum"
    SIZE = "size"
    DURATION = "duration"


NUMBERS: Final = frozenset(
    {ParameterType.INTEGER, ParameterType.FLOAT, ParameterType.SIZE, ParameterType.DURATION}
)


class Forbidden(BaseModel):
    """A value within the limits that is refused all the same."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: Value  # in the normal form
    why: Annotated[str, Field(min_length=1)]


class Parameter(BaseModel):
    """One parameter of an engine version.

    `option`: its name in the engine's configuration file, where that is another than the one it
    is set live by. `allowed`: the values to choose from, of any type; an enum has them always.
    `form`: what a pattern means, in words. `unit`: of a duration without one, and of its limits.
    `default`: the engine's own, in the normal form; None where the engine computes it.
    `read_only`: users cannot set it, `reason` says why. `deprecated`: accepted, the text says what
    to use instead.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    type: ParameterType
    description: Annotated[str, Field(min_length=1)]
    restart_required: bool
    default: Value | None = None
    min: int | float | None = None
    max: int | float | None = None
    allowed: tuple[str, ...] = ()
    forbidden: tuple[Forbidden, ...] = ()
    pattern: str | None = None
    form: str | None = None
    unit: Literal["us", "ms", "s"] | None = None
    option: str | None = None
    read_only: bool = False
    reason: str | None = None
    deprecated: str | None = None

    def check(self, value: object) -> Value:
        """The value in its normal form.

        Raises UserError with one line that names the parameter, the value and what is allowed;
        the value of a read-only parameter is not repeated, for it may be a password.
        """
        if self.read_only:
            why = self.reason or "it cannot be changed"
            raise UserError(INVALID_PARAMETER, shortened(f"{self.name} cannot be set: {why}"))
        result = self._parse(value, self.pattern)
        if result is None or not self._is_allowed(result):
            raise self._refusal(value, f"allowed is {self.allowed_text()}")
        for one in self.forbidden:
            if one.value == result:
                raise self._refusal(value, one.why)
        return result

    def normal(self, value: object) -> Value | None:
        """The normal form of any value of the type, allowed or not; None: of another type.

        For what an engine reports: two spellings of one value have one normal form.
        """
        return self._parse(value, None)

    def allowed_text(self) -> str:
        """What is allowed, in words."""
        if self.type is ParameterType.BOOLEAN and not self.allowed:
            return "ON or OFF"
        if self.allowed:
            return shortened("one of " + ", ".join(self.allowed), _MAX_ALLOWED_SHOWN)
        if self.type is ParameterType.STRING:
            if self.pattern is None:
                return f"printable text of at most {MAX_STRING_BYTES} bytes"
            words = self.form or f"a string that matches {self.pattern}"
            return shortened(words, _MAX_ALLOWED_SHOWN)
        return self._number_text() + self._limits_text()

    def inconsistency(self) -> str | None:
        """What is wrong with the rule itself, in one line; None where nothing is."""
        if self.type is ParameterType.ENUM and not self.allowed:
            return "an enum needs its allowed values"
        if self.pattern is not None and self.type is not ParameterType.STRING:
            return f"a pattern is for a string, and this is of type {self.type}"
        if (self.min is not None or self.max is not None) and self.type not in NUMBERS:
            return f"min and max are for numbers, and this is of type {self.type}"
        if (self.unit is not None) != (self.type is ParameterType.DURATION):
            return "a unit is for a duration, which needs one"
        return self._inconsistent_limits() or self._inconsistent_words()

    def _inconsistent_limits(self) -> str | None:
        for limit in (self.min, self.max):
            if limit is not None and self.normal(limit) is None:
                return f"{limit} is no limit of a value of type {self.type}"
        if self.min is not None and self.max is not None and self.min > self.max:
            return f"min {self._shown(self.min)} is above max {self._shown(self.max)}"
        return None

    def _inconsistent_words(self) -> str | None:
        if self.pattern is not None:
            try:
                re.compile(self.pattern)
            except (re.error, OverflowError, RecursionError) as error:
                return f"{shown_value(self.pattern)} is no regular expression: {error}"
        for word in self.allowed:
            result = self._parse(word, self.pattern)
            if result is None or not self._is_allowed(result):
                return f"{shown_value(word)} is among the allowed values, and no value it can have"
        if self.default is not None:
            result = self.normal(self.default)
            if result != self.default or type(result) is not type(self.default):
                return f"default {shown_value(self.default)} is not in its normal form"
        return None

    def _number_text(self) -> str:
        match self.type:
            case ParameterType.SIZE:
                return "a size such as 1048576, 64M or 2G"
            case ParameterType.DURATION:
                return f"a duration in {self.unit}, or one such as 30s, 5m or 2h"
            case ParameterType.FLOAT:
                return "a number"
            case _:
                return "a whole number"

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
        text = f"{shown_name(self.name)}: {shown_value(value)} is refused: {why}"
        return UserError(INVALID_PARAMETER, shortened(text))

    def _is_allowed(self, value: Value) -> bool:
        if self.type is ParameterType.ENUM:
            return True  # or it would not have been read
        if self.allowed and value not in [self.normal(word) for word in self.allowed]:
            return False
        if isinstance(value, bool | str):
            return True
        return (self.min is None or self.min <= value) and (self.max is None or value <= self.max)

    def _parse(self, value: object, pattern: str | None) -> Value | None:
        """None where the value is not of the type."""
        match self.type:
            case ParameterType.ENUM:
                return _parse_enum(value, self.allowed)
            case ParameterType.STRING:
                return _parse_string(value, pattern)
            case ParameterType.DURATION:
                return _parse_duration(value, self.unit or "s")
            case other:
                return _PARSERS[other](value)


def size_text(size_bytes: int) -> str:
    """A size with the largest unit that leaves it whole, such as 64M."""
    for power in range(len(_SIZE_LETTERS), 0, -1):
        if size_bytes and size_bytes % 1024**power == 0:
            return f"{size_bytes // 1024**power}{_SIZE_LETTERS[power - 1]}"
    return str(size_bytes)


def shortened(text: str, length: int = MAX_PROBLEM_LENGTH) -> str:
    """The text in at most `length` characters."""
    return text if len(text) <= length else text[: length - 3] + "..."


def shown_name(name: str) -> str:
    """A parameter's name as a message may hold it: it may be anybody's."""
    return name if name.isprintable() and len(name) <= _MAX_SHOWN else shown_value(name)


def shown_value(value: object) -> str:
    """A value as a message may hold it: short, in one line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return repr(shortened(value, _MAX_SHOWN))
    if isinstance(value, int | float):
        return str(value) if abs(value) < 10**40 else "a number without measure"
    return "a mapping" if isinstance(value, Mapping) else "a list"


def _parse_boolean(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        word = value.strip().lower()
        return True if word in _TRUE else False if word in _FALSE else None
    return bool(value) if isinstance(value, int) and value in (0, 1) else None


def _parse_integer(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        text = value.strip()
        value = int(text) if _INTEGER.fullmatch(text) else None
    elif isinstance(value, float):
        value = int(value) if value.is_integer() else None
    if not isinstance(value, int) or abs(value) >= _MAX_NUMBER:
        return None
    return int(value)  # not a class that is an int, too


def _parse_float(value: object) -> float | None:
    if isinstance(value, str):
        text = value.strip()
        value = float(text) if _FLOAT.fullmatch(text) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not math.isfinite(value) if isinstance(value, float) else abs(value) >= _MAX_NUMBER:
        return None
    return float(value) + 0.0  # -0.0 is 0.0


def _parse_size(value: object) -> int | None:
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        return _parse_integer(value)
    letter = (match[2] or "").upper()
    power = _SIZE_LETTERS.index(letter) + 1 if letter else 0
    return _parse_integer(int(match[1]) * (1 << 10 * power))


def _parse_duration(value: object, unit: str) -> int | None:
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        return _parse_integer(value)
    count = int(match[1]) * _UNITS_S[match[2]] / _UNITS_S[unit]
    return _parse_integer(int(count)) if count.denominator == 1 else None


def _parse_enum(value: object, allowed: tuple[str, ...]) -> str | None:
    """YAML reads ON and OFF as booleans: they stand for the words where these are allowed."""
    if isinstance(value, bool):
        words = _TRUE if value else _FALSE
        return next((word for word in allowed if word.lower() in words - {"0", "1"}), None)
    if isinstance(value, int) and abs(value) >= _MAX_NUMBER:
        return None
    text = str(value).strip().casefold() if isinstance(value, str | int) else None
    return next((word for word in allowed if word.casefold() == text), None)


def _parse_string(value: object, pattern: str | None) -> str | None:
    """A line break, of any alphabet, would start another directive."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if isinstance(value, int) and abs(value) >= _MAX_NUMBER:
        return None
    text = str(value)
    if not text.isprintable() or len(text.encode()) > MAX_STRING_BYTES:
        return None
    return text if pattern is None or re.fullmatch(pattern, text) else None


_PARSERS: Final[Mapping[ParameterType, Callable[[object], Value | None]]] = {
    ParameterType.BOOLEAN: _parse_boolean,
    ParameterType.INTEGER: _parse_integer,
    ParameterType.FLOAT: _parse_float,
    ParameterType.SIZE: _parse_size,
}
