"""What Backups, their schedules and storages, and spec.restoreFrom may say beyond their schemas.

Pure. What may still come (an instance, a storage, a parent that is being taken) is no error here:
objects may be applied in any order, and the plan waits for them. What can never work is, in the
words in which the plan would say it later.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from coffer_common.errors import UserError
from coffer_common.resources.backup import Backup, BackupPhase
from coffer_common.resources.backup_storage import (
    BackupStorage,
)
from coffer_common.resources.base import Resource
from coffer_common.resources.instance import DatabaseInstance
from coffer_common.resources.schedule import BackupSchedule
from coffer_operator.plan import reasons
from coffer_operator.plan.backup_begin import offered_strategy, unfit_parent
from coffer_operator.plan.restore import restore_mismatch
from coffer_operator.plan.schedule import lacks_increments, read_clock, version_of
from coffer_operator.plan.storage_spec import check_storage
from coffer_operator.plan.strategies import Offers, refuse_full, refuse_strategy
from coffer_operator.plan.validate import find_version
from coffer_operator.plan.wording import malformed
from coffer_operator.plan.world import Catalogue, RestoreSource

R = TypeVar("R", bound=Resource)


def validate_storage(obj: Mapping[str, Any], old: Mapping[str, Any] | None) -> list[UserError]:
    """The errors of a BackupStorage; `old` is what it replaces, None on creation."""
    try:
        storage = BackupStorage.model_validate(obj)
    except ValidationError as error:
        return [malformed(error)]
    before = _parsed(BackupStorage, old)
    if before is not None and before.spec == storage.spec:
        return []
    return check_storage(storage.spec)


def validate_backup(
    obj: Mapping[str, Any],
    old: Mapping[str, Any] | None,
    catalogue: Catalogue,
    instance: DatabaseInstance | None,
    others: Collection[Backup],
    offers: Offers | None = None,
) -> list[UserError]:
    """The errors of a Backup on its creation; what can change later is right either way.

    `instance` is the one that it names, None: not known; `offers` the backup strategies of its
    agent, None: not known. `others` are the namespace's Backups.
    """
    try:
        backup = Backup.model_validate(obj)
    except ValidationError as error:
        return [malformed(error)]
    if old is not None:
        return []
    if backup.spec.path is not None:
        return _adopted_already(backup, others)
    errors = _bad_strategy(backup, catalogue, instance, offers)
    return [*errors, *_bad_parent(backup, instance, others)]


def _adopted_already(backup: Backup, others: Collection[Backup]) -> list[UserError]:
    """With two Backups of the same objects, deleting one would take them from the other."""
    spec = backup.spec
    for other in others:
        same = spec.path in (other.spec.path, other.status.path)
        if same and other.spec.storage_ref == spec.storage_ref and not _is_same(other, backup):
            name, failed = other.metadata.name, other.status.phase is BackupPhase.FAILED
            text = f"the Backup {name} has what is at {spec.path} already; use that one"
            if failed:
                text = (
                    f"the Backup {name} of what is at {spec.path} has failed; give it "
                    "deletionPolicy Retain and delete it first"
                )
            return [UserError(reasons.NAME_TAKEN, f"spec.path: {text}")]
    return []


def _is_same(other: Backup, backup: Backup) -> bool:
    """Applying an object that is there already is judged as a creation, too, if nobody knew."""
    return other.metadata.name == backup.metadata.name


def _bad_strategy(
    backup: Backup,
    catalogue: Catalogue,
    instance: DatabaseInstance | None,
    offers: Offers | None,
) -> list[UserError]:
    version, strategy = version_of(instance, catalogue), backup.spec.strategy
    if strategy is None:
        if version is None:
            return []
        try:
            strategy = offered_strategy(backup.spec, version)
        except UserError as error:
            return [error]
    name = version.metadata.name if version is not None else None
    unfit = refuse_strategy(backup.spec, strategy, name, offers)
    return [unfit] if unfit is not None else []


def _bad_parent(
    backup: Backup, instance: DatabaseInstance | None, others: Collection[Backup]
) -> list[UserError]:
    reference = backup.spec.parent_ref
    if reference is None:
        return []
    if reference.name == backup.metadata.name:
        return [
            UserError(
                reasons.PARENT_UNFIT,
                "spec.parentRef: a Backup cannot continue itself; name the one before it, or none",
            )
        ]
    found = next((other for other in others if other.metadata.name == reference.name), None)
    uid = instance.metadata.uid if instance is not None else None
    unfit = unfit_parent(backup, found, uid) if found is not None else None
    return [unfit] if unfit is not None else []


def validate_schedule(
    obj: Mapping[str, Any],
    old: Mapping[str, Any] | None,
    catalogue: Catalogue,
    instance: DatabaseInstance | None,
    offers: Offers | None = None,
) -> list[UserError]:
    """The errors of a BackupSchedule; `instance` is the one that it names, None: not known.

    `offers` are the backup strategies of the instance's agent, None: not known.
    """
    try:
        schedule = BackupSchedule.model_validate(obj)
    except ValidationError as error:
        return [malformed(error)]
    before = _parsed(BackupSchedule, old)
    if before is not None and before.spec == schedule.spec:
        return []
    try:
        read_clock(schedule)
    except UserError as error:
        return [error]
    version = version_of(instance, catalogue)
    found = (
        refuse_full(schedule, version, offers),
        lacks_increments(schedule, version, offers),
    )
    return [error for error in found if error is not None]


def validate_restore(
    obj: Mapping[str, Any],
    old: Mapping[str, Any] | None,
    catalogue: Catalogue,
    source: Callable[[DatabaseInstance], RestoreSource | None],
) -> list[UserError]:
    """The errors of spec.restoreFrom, on creation: it cannot change, and acts only once.

    `source` gives what is known of what the instance is to be restored from.
    """
    instance = _parsed(DatabaseInstance, obj)
    if instance is None or old is not None:
        return []
    found = source(instance)
    if found is None or found.backup is None:
        return []
    metadata, status = found.backup.metadata, found.backup.status
    if metadata.deletion_timestamp is not None or status.phase is BackupPhase.FAILED:
        is_what = "has failed" if status.phase is BackupPhase.FAILED else "is being deleted"
        return [
            UserError(
                reasons.BACKUP_NOT_COMPLETED,
                f"spec.restoreFrom.backupRef: the Backup {metadata.name} {is_what}; "
                "choose another one",
            )
        ]
    try:
        version = find_version(instance.spec, catalogue, None)
    except UserError:
        return []  # said elsewhere
    unfit = restore_mismatch(instance, version, found)
    return [unfit] if unfit is not None else []


def _parsed(model: type[R], obj: Mapping[str, Any] | None) -> R | None:
    """None also for what cannot be read: what came before is no error of what comes now."""
    try:
        return model.model_validate(obj) if obj is not None else None
    except ValidationError:
        return None
