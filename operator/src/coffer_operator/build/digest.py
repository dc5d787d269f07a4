"""Digests of what Coffer set in an object: the wanted one, and what is there of it.

Pure. An object is applied again only where the two differ, so a converged instance causes no
request, and a hand-edited child is repaired. What others set in the object does not count.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

Fields = Mapping[str, Any]  # a set of fields as metadata.managedFields[].fieldsV1 has it

_ABSENT: Final = object()
_MAPPING: Final = (dict, Mapping)  # dict first: a check against an abstract class is slow
_SEQUENCE: Final = (list, Sequence)
_IDENTITY: Final = frozenset({"name", "namespace", "uid", "resourceVersion", "managedFields"})


def digest(obj: Mapping[str, Any]) -> str:
    """The digest of a wanted object, or of what `owned` took out of a live one.

    Identity (apiVersion, kind, name, namespace) and preconditions do not count, a null is an
    absent field, and everything else must be as the API server stores it (quantities in their
    canonical form, no defaults left out inside of an atomic list).
    """
    content = {key: value for key, value in obj.items() if key not in ("apiVersion", "kind")}
    if isinstance(metadata := content.get("metadata"), Mapping):
        content["metadata"] = {k: v for k, v in metadata.items() if k not in _IDENTITY}
        if not content["metadata"]:
            del content["metadata"]
    text = _as_text(content)
    if "null" in text:  # seldom, so that the copy without them is seldom made
        text = _as_text(_without_nulls(content))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def owned(obj: Mapping[str, Any], manager: str) -> dict[str, Any]:
    """What `manager` set by server-side apply, taken out of a live object.

    Keys of list items (`k:`) are part of the result only as far as they were set: the API server
    gives Service ports their protocol, for example. Order of lists is that of the object.
    Source: the serialisation of fieldpath.Set in sigs.k8s.io/structured-merge-diff.
    """
    entries = obj.get("metadata", {}).get("managedFields", ())
    result: dict[str, Any] = {}
    for entry in entries:
        is_ours = entry.get("manager") == manager and entry.get("operation") == "Apply"
        if is_ours and not entry.get("subresource"):
            taken = _take(obj, entry.get("fieldsV1", {}))
            result = taken if isinstance(taken, dict) else {}
    return result


def live_digest(obj: Mapping[str, Any], manager: str) -> str:
    """The digest of what `manager` owns in a live object."""
    return digest(owned(obj, manager))


def _take(value: object, fields: Fields) -> Any:
    """The part of `value` that the set names; _ABSENT where it is not there."""
    inner = {key: sub for key, sub in fields.items() if key != "."}
    if not inner:
        return value  # a leaf: a scalar, or something atomic
    if isinstance(value, _MAPPING):
        return _take_fields(value, inner)
    if isinstance(value, _SEQUENCE) and not isinstance(value, str):
        return _take_items(value, inner)
    return _ABSENT


def _take_fields(value: Mapping[str, Any], inner: Fields) -> dict[str, Any]:
    result = {}
    for key, sub in inner.items():
        name = key.removeprefix("f:")
        if key.startswith("f:") and name in value:
            taken = _take(value[name], sub)
            if taken is not _ABSENT:
                result[name] = taken
    return result


def _take_items(value: Sequence[Any], inner: Fields) -> list[Any]:
    """Items of a list map (`k:`), of a set (`v:`), or by index (`i:`), in the list's order."""
    by_key = [(json.loads(key[2:]), sub) for key, sub in inner.items() if key.startswith("k:")]
    by_value = [json.loads(key[2:]) for key in inner if key.startswith("v:")]
    by_index = {int(key[2:]): sub for key, sub in inner.items() if key.startswith("i:")}
    result = []
    for index, item in enumerate(value):
        if index in by_index:
            taken = _take(item, by_index[index])
        elif item in by_value:
            taken = item
        else:
            taken = next(
                (_take(item, sub) for keys, sub in by_key if _matches(item, keys)), _ABSENT
            )
        if taken is not _ABSENT:
            result.append(taken)
    return result


def _matches(item: object, keys: Mapping[str, Any]) -> bool:
    """A key that was left out has its default in the item, so it is always there to compare."""
    return isinstance(item, _MAPPING) and all(item.get(k) == v for k, v in keys.items())


_as_text: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=dict).encode


def _without_nulls(value: Any) -> Any:
    if isinstance(value, str | int | float):
        return value  # most are
    if isinstance(value, _MAPPING):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    if isinstance(value, _SEQUENCE):
        return [_without_nulls(item) for item in value]
    return value
