"""Backups, their schedules and restores: the manifests that follow from what users type.

Checked with the models that the CRDs are made from; what only the cluster knows is left to it.
Everything is pure but `choose_storage`, which looks at what storages there are.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from coffer_cli.api import BACKUP, BACKUP_SCHEDULE, BACKUP_STORAGE, OPERATION, Api, Kind, Object
from coffer_cli.errors import CliError, Exit
from coffer_cli.syntax import explain
from coffer_common.naming import API_VERSION
from coffer_common.resources.backup import BackupSpec
from coffer_common.resources.base import Resource
from coffer_common.resources.operation import OperationSpec, OperationType
from coffer_common.resources.schedule import MAX_SCHEDULE_NAME, NAME_RULE, BackupScheduleSpec

KEPT_S: Final = 24 * 3600  # how long a finished Operation can be looked at
_STAMP: Final = "%Y%m%d-%H%M%S"
_WORDS: Final = {"full": "full", "incremental": "incr"}  # as schedules name theirs


def choose_storage(api: Api, namespace: str, wanted: str | None) -> str:
    """The storage that is named, else the only one that there is. Raises CliError."""
    if wanted is not None:
        api.get(BACKUP_STORAGE, namespace, wanted)  # a missing one is said at once
        return wanted
    names = [str(item["metadata"]["name"]) for item in api.list(BACKUP_STORAGE, namespace)]
    if len(names) == 1:
        return names[0]
    if not names:
        raise CliError(f"there is no BackupStorage in {namespace}; create one", Exit.NOT_FOUND)
    raise CliError(f"--storage: choose one of {', '.join(sorted(names))}", Exit.USAGE)


def backup_name(instance: str, kind: str, moment: datetime) -> str:
    """`orders-full-20260104-020000`: who, what and when (UTC)."""
    return f"{instance}-{_WORDS.get(kind, kind)}-{moment.strftime(_STAMP)}"


def manifest(kind: Kind, namespace: str, name: str, spec: Mapping[str, Any]) -> Object:
    """An object that the user could have applied. Raises CliError for what its model refuses."""
    _check(_MODELS[kind.kind], spec)
    if kind == BACKUP_SCHEDULE and len(name) > MAX_SCHEDULE_NAME:
        raise CliError(f"{name}: {NAME_RULE['message']}", Exit.USAGE)
    kind.path(namespace, name)  # a name that is none is said in one line
    return {
        "apiVersion": API_VERSION,
        "kind": kind.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": dict(spec),
    }


def operation_on_backup(
    operation: OperationType,
    namespace: str,
    backup: str,
    *,
    instance: str | None = None,
    not_after: str | None = None,
    databases: Sequence[str] = (),
) -> Object:
    """An Operation about a backup, removed a day after it ended."""
    spec: Object = {
        "type": operation.value,
        "backupRef": {"name": backup},
        "ttlSecondsAfterFinished": KEPT_S,
    }
    if instance is not None:
        spec["instanceRef"] = {"name": instance}
    if databases:
        spec["databases"] = list(databases)
    if not_after is not None:
        spec["notAfter"] = not_after
    _check(OperationSpec, spec)
    subject = instance or backup[:200].rstrip(".-")
    return {
        "apiVersion": API_VERSION,
        "kind": OPERATION.kind,
        "metadata": {
            "generateName": f"{subject}-{_VERBS[operation]}-",
            "namespace": namespace,
        },
        "spec": spec,
    }


def needing(name: str, every: Sequence[Object]) -> list[Object]:
    """The Backups that cannot be restored without that one, each before the ones it needs."""
    by_name = {str(item["metadata"]["name"]): item for item in every}
    found: list[Object] = []
    if name in by_name:
        _collect(by_name[name], every, found, {name})
    return found


def _collect(parent: Object, every: Sequence[Object], found: list[Object], seen: set[str]) -> None:
    for item in every:
        name = str(item["metadata"]["name"])
        if name not in seen and _continues(item, parent):
            seen.add(name)
            _collect(item, every, found, seen)
            found.append(item)


def _continues(item: Object, parent: Object) -> bool:
    path = (parent.get("status") or {}).get("path")
    same_storage = item["spec"].get("storageRef") == parent["spec"].get("storageRef")
    return path is not None and same_storage and (item.get("status") or {}).get("parent") == path


def unique(name: str, taken: Collection[str]) -> str:
    """The name, or one like it that is free."""
    if name not in taken:
        return name
    return next(
        candidate
        for number in range(2, len(taken) + 3)
        if (candidate := f"{name}-{number}") not in taken
    )


def _check(model: type[Resource], spec: Mapping[str, Any]) -> None:
    try:
        model.model_validate(spec)
    except ValidationError as error:
        raise CliError(explain(error), Exit.USAGE) from None


_MODELS: Final[Mapping[str, type[Resource]]] = {
    BACKUP.kind: BackupSpec,
    BACKUP_SCHEDULE.kind: BackupScheduleSpec,
}
_VERBS: Final = {
    OperationType.VERIFY_BACKUP: "verify",
    OperationType.RESTORE_DATABASES: "restore",
}
