"""managedFields: what an apply or another write does to the object and to who owns what.

Pure. The rules are merge.Updater's of structured-merge-diff; conflicts are always forced, as
Coffer sends them.
"""

from typing import Any, Final

from coffer_operator.kube.api import Object
from sim_fields import NOTHING, FieldSet, Path, compare, field_set, merge, prune, trie, untrie
from sim_shapes import canonical, shape_of

Manager = tuple[str, str, str]  # name, operation, subresource

_SYSTEM: Final = frozenset(
    ("f:metadata", f"f:{name}")
    for name in (
        "name",
        "namespace",
        "creationTimestamp",
        "uid",
        "generation",
        "managedFields",
        "resourceVersion",
        "selfLink",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    )
)
_IGNORED_ROOTS: Final = frozenset({"f:apiVersion", "f:kind"})


def _claimable(path: Path) -> bool:
    return path[0] not in _IGNORED_ROOTS and path[:2] not in _SYSTEM and path != ("f:metadata",)


def managers_of(obj: Object) -> dict[Manager, FieldSet]:
    """Who owns which fields of a stored object."""
    return {
        (entry["manager"], entry["operation"], entry.get("subresource", "")): untrie(
            entry["fieldsV1"]
        )
        for entry in obj["metadata"].get("managedFields", ())
    }


def applied(live: Object, config: Object, manager: str) -> Object:
    """The object after a server-side apply of `config`; of the kinds with status without it."""
    kind = config["kind"]
    shape = shape_of(kind)
    me: Manager = (manager, "Apply", "")
    managers = managers_of(live)
    last = managers.get(me, NOTHING)
    wanted = frozenset(filter(_claimable, field_set(config, shape)))
    merged = merge(live, config, shape)
    others = {who: fields for who, fields in managers.items() if who != me}
    owned = frozenset([("f:metadata", "f:name")]).union(wanted, *others.values())
    after = canonical(kind, prune(merged, last, owned, shape))
    return _recorded(live, after, {**managers, me: wanted}, me)


def updated(live: Object, after: Object, manager: str, subresource: str) -> Object:
    """The object after any other write, which takes the fields it changed from the others."""
    return _recorded(live, after, managers_of(live), (manager, "Update", subresource))


def _recorded(
    live: Object, after: Object, managers: dict[Manager, FieldSet], me: Manager
) -> Object:
    difference = compare(live, after, shape_of(after["kind"]))
    changed = difference.added | difference.modified
    for who, fields in managers.items():
        if who != me:
            managers[who] = fields - changed - difference.removed
    if me[1] == "Update":
        mine = (managers.get(me, NOTHING) - difference.removed) | changed
        managers[me] = frozenset(filter(_claimable, mine))
    api_version = after["apiVersion"]
    entries: list[dict[str, Any]] = []
    for (name, operation, subresource), fields in sorted(managers.items()):
        if fields:
            entry = {
                "manager": name,
                "operation": operation,
                "apiVersion": api_version,
                "fieldsType": "FieldsV1",
                "fieldsV1": trie(fields),
            }
            if subresource:
                entry["subresource"] = subresource
            entries.append(entry)
    return {**after, "metadata": {**after["metadata"], "managedFields": entries}}
