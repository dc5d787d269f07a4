"""Server-side apply's field sets: which manager owns which field, and merging by ownership.

Pure. A field set is a set of paths in the notation of fieldsV1 (`f:spec`, `k:{"name":"a"}`,
`v:"x"`). The rules are those of sigs.k8s.io/structured-merge-diff (typed.ToFieldSet, Merge,
Compare and merge.Updater), which the contract test holds against a real server.
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Path = tuple[str, ...]
FieldSet = frozenset[Path]

NOTHING: Final[FieldSet] = frozenset()


@dataclass(frozen=True)
class Shape:
    """How one place of an object merges; `fields` are the places below, list items skipped."""

    relation: Literal["granular", "atomic", "map", "set"] = "granular"
    keys: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)  # for missing keys
    fields: Mapping[str, "Shape"] = field(default_factory=dict)
    atomic_items: bool = False  # of an associative list: its items merge as wholes

    @property
    def item(self) -> "Shape":
        """How an item of an associative list merges."""
        return Shape("atomic" if self.atomic_items else "granular", fields=self.fields)

    def at(self, name: str) -> "Shape":
        return self.fields.get(name, _PLAIN)


_PLAIN: Final = Shape()


def item_key(item: Mapping[str, Any], shape: Shape) -> str:
    """The path element of an item of an associative list."""
    keys = tuple(
        (name, value)
        for name in sorted(shape.keys)
        if (value := item.get(name, shape.defaults.get(name))) is not None
    )
    return _key_element(keys)


@functools.cache
def _key_element(keys: tuple[tuple[str, Any], ...]) -> str:
    return "k:" + json.dumps(dict(keys), separators=(",", ":"))


def _value_key(value: Any) -> str:
    return "v:" + json.dumps(value, separators=(",", ":"))


def field_set(value: Any, shape: Shape) -> FieldSet:
    """All fields that an object names, as an apply claims them."""
    found: set[Path] = set()
    _collect(value, shape, (), found)
    return frozenset(found)


def _collect(value: Any, shape: Shape, path: Path, found: set[Path]) -> None:
    if isinstance(value, dict) and shape.relation != "atomic":
        for name, inner in value.items():
            below = (*path, "f:" + name)
            if inner is None or inner == {}:
                found.add(below)
            else:
                _collect(inner, shape.at(name), below, found)
    elif isinstance(value, list) and shape.relation == "map":
        for item in value:
            below = (*path, item_key(item, shape))
            found.add(below)
            _collect(item, shape.item, below, found)
    elif isinstance(value, list) and shape.relation == "set":
        found.update((*path, _value_key(item)) for item in value)
    else:
        found.add(path)


def merge(live: Any, applied: Any, shape: Shape) -> Any:
    """`applied` over `live`."""
    if isinstance(live, dict) and isinstance(applied, dict) and shape.relation != "atomic":
        merged = dict(live)
        for name, value in applied.items():
            merged[name] = merge(live[name], value, shape.at(name)) if name in live else value
        return merged
    if isinstance(live, list) and isinstance(applied, list):
        if shape.relation == "map":
            return _merge_items(live, applied, shape)
        if shape.relation == "set":
            return live + [item for item in applied if item not in live]
    return applied


def _merge_items(live: list[Any], applied: list[Any], shape: Shape) -> list[Any]:
    """Order: that of `applied`, with what only `live` has where it stood."""
    inner = shape.item
    keys = [item_key(item, shape) for item in live]
    wanted = {item_key(item, shape) for item in applied}
    merged: list[Any] = []
    done = 0
    for item in applied:
        key = item_key(item, shape)
        if key in keys:
            place = keys.index(key)
            merged += [
                live[i] for i in range(done, place) if keys[i] not in wanted
            ]  # empty where the order was turned round
            done = max(done, place + 1)
            merged.append(merge(live[place], item, inner))
        else:
            merged.append(item)
    merged += [live[i] for i in range(done, len(live)) if keys[i] not in wanted]
    return merged


Trie = dict[str, Any]


def trie(paths: FieldSet) -> Trie:
    """The set as fieldsV1."""
    root: Trie = {}
    for path in sorted(paths):
        node = root
        for element in path:
            node = node.setdefault(element, {})
    for path in paths:
        node = root
        for element in path:
            node = node[element]
        if node:
            node["."] = {}
    return root


def untrie(fields: Mapping[str, Any]) -> FieldSet:
    """The set that fieldsV1 stands for."""
    found: set[Path] = set()

    def walk(node: Mapping[str, Any], path: Path) -> None:
        if path and (not node or "." in node):
            found.add(path)
        for element, inner in node.items():
            if element != ".":
                walk(inner, (*path, element))

    walk(fields, ())
    return frozenset(found)


def prune(value: Any, last: FieldSet, owned: FieldSet, shape: Shape) -> Any:
    """`value` without what `last` held and nobody in `owned` holds any more."""
    return _prune(value, trie(last), trie(owned), shape)


def _prune(value: Any, last: Trie, owned: Trie, shape: Shape) -> Any:
    if isinstance(value, dict) and shape.relation != "atomic":
        kept = {}
        for name, inner in value.items():
            element = "f:" + name
            if element not in last:
                kept[name] = inner
            elif element in owned:
                kept[name] = _prune(inner, last[element], owned[element], shape.at(name))
        return kept
    if isinstance(value, list) and shape.relation == "map":
        inner_shape = shape.item
        items = []
        for item in value:
            element = item_key(item, shape)
            if element not in last:
                items.append(item)
            elif element in owned:
                items.append(_prune(item, last[element], owned[element], inner_shape))
        return items
    if isinstance(value, list) and shape.relation == "set":
        return [v for v in value if _value_key(v) not in last or _value_key(v) in owned]
    return value


@dataclass(frozen=True)
class Comparison:
    """What differs between two objects."""

    added: FieldSet
    modified: FieldSet
    removed: FieldSet


def compare(old: Any, new: Any, shape: Shape) -> Comparison:
    """Paths of `new` that `old` lacks, that have another value, and those that went."""
    added: set[Path] = set()
    modified: set[Path] = set()
    removed: set[Path] = set()
    _compare(old, new, shape, (), (added, modified, removed))
    return Comparison(frozenset(added), frozenset(modified), frozenset(removed))


Sets = tuple[set[Path], set[Path], set[Path]]


def _compare(old: Any, new: Any, shape: Shape, path: Path, sets: Sets) -> None:
    if old is new or old == new:
        return
    granular = shape.relation != "atomic"
    if isinstance(old, dict) and isinstance(new, dict) and granular:
        _compare_keyed(
            {("f:" + k): (v, shape.at(k)) for k, v in old.items()},
            {("f:" + k): (v, shape.at(k)) for k, v in new.items()},
            path,
            sets,
        )
    elif isinstance(old, list) and isinstance(new, list) and shape.relation == "map":
        inner = shape.item
        _compare_keyed(
            {item_key(item, shape): (item, inner) for item in old},
            {item_key(item, shape): (item, inner) for item in new},
            path,
            sets,
        )
    elif isinstance(old, list) and isinstance(new, list) and shape.relation == "set":
        before, after = ({_value_key(v) for v in side} for side in (old, new))
        sets[0].update((*path, v) for v in after - before)
        sets[2].update((*path, v) for v in before - after)
    else:
        sets[1].add(path)


def _compare_keyed(
    old: Mapping[str, tuple[Any, Shape]],
    new: Mapping[str, tuple[Any, Shape]],
    path: Path,
    sets: Sets,
) -> None:
    for element, (value, shape) in new.items():
        below = (*path, element)
        if element in old:
            _compare(old[element][0], value, shape, below, sets)
        else:
            sets[0].add(below)
            _collect(value, shape, below, sets[0])
    for element, (value, shape) in old.items():
        if element not in new:
            below = (*path, element)
            sets[2].add(below)
            _collect(value, shape, below, sets[2])
