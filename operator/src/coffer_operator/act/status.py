"""The smallest patch from one status to another, and none where they say the same. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

_MAPPING: Final = (dict, Mapping)
_SEQUENCE: Final = (list, Sequence)
_EMPTIES: Final = (dict, list, Mapping)


def canonical(value: Any) -> Any:
    """Without nulls and empty lists and maps: what the API server would show as absent.

    Empty strings, zero and false stay: they are values.
    """
    if isinstance(value, str | int):
        return value  # most are, and checks against an abstract class are slow
    if isinstance(value, _MAPPING):
        return {
            key: inner for key, item in value.items() if not _is_absent(inner := canonical(item))
        }
    if isinstance(value, _SEQUENCE):
        return [canonical(item) for item in value]
    return value


def merge_patch(present: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    """The JSON merge patch (RFC 7396) that turns `present` into `wanted`; None: nothing to do."""
    patch = _difference(canonical(present), canonical(wanted))
    return patch or None


def _difference(present: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    patch: dict[str, Any] = {key: None for key in present if key not in wanted}
    for key, value in wanted.items():
        old = present.get(key)
        if isinstance(value, _MAPPING) and isinstance(old, _MAPPING):
            if inner := _difference(old, value):
                patch[key] = inner
        elif value != old:
            patch[key] = value
    return patch


def _is_absent(value: object) -> bool:
    return value is None or (not value and isinstance(value, _EMPTIES))
