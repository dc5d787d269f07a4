"""Whether a new Backup can begin, and what it waits for otherwise.

Pure. One at a time per instance: the one that runs goes first, then the oldest. One that waits for
something of its own holds back nobody.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from coffer_common.errors import UserError
from coffer_common.resources.backup import (
    Backup,
    BackupPhase,
    BackupSpec,
    BackupType,
)
from coffer_common.resources.catalogue import DatastoreVersion
from coffer_common.resources.instance import DatabaseInstance
from coffer_common.wire import DataState
from coffer_operator.plan import reasons
from coffer_operator.plan.agent import AgentView, view
from coffer_operator.plan.backup_status import others_of
from coffer_operator.plan.backup_world import BackupWorld
from coffer_operator.plan.clock import after, from_text
from coffer_operator.plan.conditions import by_type
from coffer_operator.plan.storage import is_ready
from coffer_operator.plan.strategies import refuse_strategy

BEGIN_WITHIN_S: Final = 3600.0  # of its creation, or of the end of the one before it
INSTANCE_WITHIN_S: Final = 600.0  # for an instance that is applied along with it
_OF_ITS_OWN: Final = frozenset(
    {reasons.STORAGE_NOT_FOUND, reasons.STORAGE_NOT_READY, reasons.PARENT_NOT_READY}
)


class WaitError(UserError):
    """It cannot begin yet; reason and message say what it waits for."""


@dataclass(frozen=True)
class Beginning:
    """What is to be taken: `parent` is a path below the prefix, None for a full backup."""

    instance: DatabaseInstance
    strategy: str
    type: BackupType
    parent: str | None = None


def view_of(world: BackupWorld) -> AgentView:
    """What the agent of the instance says; empty where there is no instance."""
    if world.instance is None:
        return AgentView()
    return view(world.instance, world.pod, world.agent)


def choose_member(world: BackupWorld) -> DatabaseInstance | None:
    """The instance that a backup is taken from: there is one candidate, the instance itself."""
    return world.instance


def judge_beginning(world: BackupWorld) -> Beginning:
    """What is to be taken now. Raises WaitError, and UserError where it can never begin."""
    backup = world.backup
    reference = backup.spec.instance_ref
    name = reference.name if reference is not None else ""
    _check_turn(world, name)
    instance = choose_member(world)
    if instance is None or instance.metadata.deletion_timestamp is not None:
        raise WaitError(
            reasons.INSTANCE_NOT_FOUND, f"there is no DatabaseInstance {name} in this namespace"
        )
    _check_storage(world)
    strategy = _strategy(world, instance)
    version = instance.status.datastore.name if instance.status.datastore is not None else None
    offers = view_of(world).backup_strategies
    unfit = refuse_strategy(backup.spec, strategy, version, offers)
    if unfit is not None:
        raise unfit
    _check_agent(world, name)
    return Beginning(instance, strategy, backup.spec.type, _parent(world, instance))


def begin_deadline(world: BackupWorld, reason: str = "") -> datetime:
    """Until when what it waits for has to come."""
    reference = world.backup.spec.instance_ref
    before = others_of(world, reference.name) if reference is not None else ()
    moments = [
        from_text(world.backup.metadata.creation_timestamp),
        *(from_text(other.status.finished_at) for other in before),
    ]
    known = [moment for moment in moments if moment is not None and moment <= world.now]
    missing = reason == reasons.INSTANCE_NOT_FOUND
    within_s = INSTANCE_WITHIN_S if missing else BEGIN_WITHIN_S
    return after(max(known, default=world.now), within_s)


def _check_turn(world: BackupWorld, instance: str) -> None:
    ahead = next((o for o in others_of(world, instance) if _is_ahead(o, world.backup)), None)
    if ahead is not None:
        raise WaitError(
            reasons.WAITING, f"waits for the Backup {ahead.metadata.name} of the same instance"
        )


def _is_ahead(other: Backup, backup: Backup) -> bool:
    phase = other.status.phase
    if phase is BackupPhase.RUNNING:
        return True
    if phase not in (None, BackupPhase.NEW) or other.metadata.deletion_timestamp is not None:
        return False
    ready = by_type(other.status.conditions).get("Ready")
    if ready is not None and ready.reason in _OF_ITS_OWN:
        return False
    return _age(other) < _age(backup)


def _age(backup: Backup) -> tuple[str, str]:
    return backup.metadata.creation_timestamp or "", backup.metadata.name


def _check_storage(world: BackupWorld) -> None:
    name = world.backup.spec.storage_ref.name
    if world.storage is None:
        raise WaitError(reasons.STORAGE_NOT_FOUND, f"there is no BackupStorage {name}; create it")
    if not is_ready(world.storage):
        ready = by_type(world.storage.status.conditions).get("Ready")
        said = f": {ready.message}" if ready is not None else ""
        raise WaitError(reasons.STORAGE_NOT_READY, f"the BackupStorage {name} is not Ready{said}")


def _version(world: BackupWorld, instance: DatabaseInstance) -> DatastoreVersion | None:
    resolved = instance.status.datastore
    if resolved is None:
        return None
    return world.catalogue.datastore_versions.get(resolved.name)


def _strategy(world: BackupWorld, instance: DatabaseInstance) -> str:
    spec = world.backup.spec
    if spec.strategy is not None:
        return spec.strategy
    version = _version(world, instance)
    if version is None:
        raise _not_ready(instance.metadata.name, "its version is not settled")
    return offered_strategy(spec, version)


def offered_strategy(spec: BackupSpec, version: DatastoreVersion) -> str:
    """The one that it names, else the version's for its type. Raises UserError: there is none."""
    if spec.strategy is not None:
        return spec.strategy
    offered = version.spec.backup_strategies
    full = spec.type is BackupType.FULL
    found = offered.full if full else offered.incremental
    if found is None:
        raise UserError(
            reasons.NO_STRATEGY,
            f"{version.metadata.name} offers no {spec.type.value} backups; "
            + ("name one in spec.strategy" if full else "make a Backup of type full"),
        )
    return found


def _check_agent(world: BackupWorld, name: str) -> None:
    view = view_of(world)
    if view.live is None:
        why = f"its agent cannot be reached ({view.error})" if view.error else "it does not run yet"
        raise _not_ready(name, why)
    if view.live.data.state is not DataState.LAID_OUT or not view.engine_answers:
        raise _not_ready(name, "its engine does not answer")


def _not_ready(name: str, why: str) -> WaitError:
    return WaitError(reasons.INSTANCE_NOT_READY, f"waits for the DatabaseInstance {name}: {why}")


# --- the parent of an increment ------------------------------------------------------------------
def _parent(world: BackupWorld, instance: DatabaseInstance) -> str | None:
    """The path of the parent; None: a full backup is to be taken."""
    spec = world.backup.spec
    if spec.type is not BackupType.INCREMENTAL:
        return None
    if spec.parent_ref is not None:
        return _named_parent(world, instance, spec.parent_ref.name)
    fitting = [other for other in world.others if _fits(other, world, instance)]
    kin = [other for other in fitting if other.status.strategy in _family(world, instance)]
    newest = max(
        kin or fitting, key=lambda o: (o.status.finished_at or "", o.metadata.name), default=None
    )
    if newest is None or disproved(newest, world.others) is not None:
        return None
    return newest.status.path


def disproved(tip: Backup, others: Collection[Backup]) -> Backup | None:
    """The one of a Backup and what it needs whose test restore failed; None: none that counts.

    A proof of one is a proof of all that it needs.
    """
    by_path = {other.status.path: other for other in others}
    current: Backup | None = tip
    for _ in range(len(by_path) + 1):  # a chain that bites its own tail ends, too
        if current is None or (current.status.verified is None and current.status.parent is None):
            break
        if current.status.verified is not None:
            return current if current.status.verified.result == "Failed" else None
        current = by_path.get(current.status.parent)
    return None


def _family(world: BackupWorld, instance: DatabaseInstance) -> frozenset[str]:
    """Strategies that may continue one another: a dump in between is not to break a chain."""
    version = _version(world, instance)
    offered = version.spec.backup_strategies if version is not None else None
    names = {world.backup.spec.strategy}
    if offered is not None:
        names |= {offered.full, offered.incremental}
    return frozenset(name for name in names if name is not None)


def _named_parent(world: BackupWorld, instance: DatabaseInstance, name: str) -> str | None:
    found = next((other for other in world.others if other.metadata.name == name), None)
    if found is None:
        raise WaitError(
            reasons.PARENT_NOT_READY, f"spec.parentRef: there is no Backup {name} in this namespace"
        )
    unfit = unfit_parent(world.backup, found, instance.metadata.uid)
    if unfit is not None:
        raise unfit
    if found.status.phase is not BackupPhase.COMPLETED:
        raise WaitError(reasons.PARENT_NOT_READY, f"waits for its parent, the Backup {name}")
    if not _fits(found, world, instance):
        raise _of_another(name)
    family = _family(world, instance)
    strategy = found.status.strategy
    failed = disproved(found, world.others)
    if failed is not None:
        raise disproved_parent(name, failed)
    if strategy is not None and strategy not in family:
        raise UserError(
            reasons.PARENT_UNFIT,
            f"spec.parentRef: the Backup {name} is by {strategy}, which an increment cannot "
            f"continue; name one by {' or '.join(sorted(family))}, or none",
        )
    return found.status.path


def unfit_parent(backup: Backup, parent: Backup, instance_uid: str | None) -> UserError | None:
    """Why an increment can never continue that Backup, as far as it can be told; None: it may.

    `instance_uid`: of the instance that is backed up, None: not known.
    """
    name, status = parent.metadata.name, parent.status
    if status.phase is BackupPhase.FAILED or parent.metadata.deletion_timestamp is not None:
        return UserError(
            reasons.PARENT_UNFIT, f"spec.parentRef: the Backup {name} has failed or is deleted"
        )
    uids = {instance_uid, status.instance_uid} - {None}
    if parent.spec.storage_ref != backup.spec.storage_ref or len(uids) > 1:
        return _of_another(name)
    if parent.status.verified is not None and parent.status.verified.result == "Failed":
        return disproved_parent(name, parent)
    return None


def disproved_parent(name: str, failed: Backup) -> UserError:
    """The error of a named parent that is known not to restore."""
    which = "its test restore" if failed.metadata.name == name else _test_restore(failed)
    return UserError(
        reasons.PARENT_UNFIT,
        f"spec.parentRef: the Backup {name} cannot be continued: {which} failed; make a Backup of "
        "type full",
    )


def why_full(world: BackupWorld) -> str:
    """Why a full backup was taken where an increment could have been; empty: nothing is known."""
    spec, name = world.backup.spec, world.backup.metadata.name
    if spec.type is not BackupType.INCREMENTAL or world.instance is None:
        return ""
    fitting = [o for o in world.others if o.metadata.name != name]
    found = (disproved(o, world.others) for o in fitting if _fits(o, world, world.instance))
    failed = next((one for one in found if one is not None), None)
    return f"{_test_restore(failed)} failed" if failed is not None else ""


def _test_restore(backup: Backup) -> str:
    return f"the test restore of {backup.metadata.name}"


def _of_another(name: str) -> UserError:
    return UserError(
        reasons.PARENT_UNFIT,
        f"spec.parentRef: the Backup {name} is of another instance or in another storage",
    )


def _fits(other: Backup, world: BackupWorld, instance: DatabaseInstance) -> bool:
    """Whether an increment on it may be taken; the agent looks closer."""
    status = other.status
    return (
        status.phase is BackupPhase.COMPLETED
        and other.metadata.deletion_timestamp is None
        and status.path is not None
        and status.instance_uid == instance.metadata.uid
        and other.spec.storage_ref == world.backup.spec.storage_ref
    )
