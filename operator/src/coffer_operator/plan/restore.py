"""spec.restoreFrom: what a new instance's data come from, whether that fits, and how far it is.

Pure, and the keeper of a rule: an instance that is to be restored never begins empty. As long as it
cannot be told what to restore, nothing is built; the agent is told of the restore before it sees
the volume, and lays out nothing of its own.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from coffer_common import naming
from coffer_common.errors import UserError
from coffer_common.quantity import parse_bytes
from coffer_common.resources.backup import Backup, BackupPhase
from coffer_common.resources.backup_storage import (
    BackupStorage,
)
from coffer_common.resources.catalogue import DatastoreVersion
from coffer_common.resources.instance import DatabaseInstance
from coffer_common.resources.instance_status import RestorePhase, RestoreReport
from coffer_common.resources.operation import OperationPhase, OperationType
from coffer_common.wire import DataState, TaskState, TaskStatus
from coffer_operator.plan import reasons
from coffer_operator.plan.agent import AgentView
from coffer_operator.plan.clock import after, from_text, to_text
from coffer_operator.plan.conditions import by_type
from coffer_operator.plan.finding import Finding, Severity
from coffer_operator.plan.known import Known
from coffer_operator.plan.model import CancelTask, PutTask
from coffer_operator.plan.storage import is_ready
from coffer_operator.plan.storage_spec import for_reading
from coffer_operator.plan.tasks import Failed, begun, failure_of, find, progress_of, standstill
from coffer_operator.plan.wording import one_line
from coffer_operator.plan.world import RestoreSource, World

KIND: Final = "restore"  # of the agent's task
ROOM: Final = 1.1  # of what the data take, for what the engine makes of them
NO_PROGRESS_S: Final = 3600.0  # an increment is merged without a word
TELL_AFTER: Final = 3  # attempts; what may succeed later is tried on
_FIRST_RETRY_S: Final = 30.0
_MAX_RETRY_S: Final = 600.0
_LOOK_S: Final = 15.0
_NUMBERS: Final = re.compile(r"\d+(\.\d+)*")
_FIELD: Final = "spec.restoreFrom"


@dataclass(frozen=True)
class Restore:
    """What was found out.

    `error` holds back an instance that has no data yet. `path`: what the agent is told to restore;
    None: nothing. `call`: to be made now. `wake_at`: when to look again.
    """

    error: UserError | None = None
    path: str | None = None
    report: RestoreReport | None = None
    finding: Finding | None = None
    call: PutTask | CancelTask | None = None
    wake_at: datetime | None = None


def judge_restore(
    world: World, known: Known, version: DatastoreVersion | None, view: AgentView
) -> Restore:
    """The verdict over what the instance is to be restored from."""
    instance, report = world.instance, world.instance.status.restore
    if instance.spec.restore_from is None:
        return Restore(report=report)
    laid_out = view.data is not None and view.data.state is DataState.LAID_OUT
    if known.data_id is not None or laid_out:
        return Restore(report=_done(report, world.now))
    source = world.restore_source or RestoreSource()
    if report is None:
        try:
            report = _resolve(instance, version, source)
        except UserError as error:
            return Restore(error=error)
    if view.live is None or view.live.data.state is not DataState.AWAITING_RESTORE:
        return Restore(path=report.path, report=report)
    return _follow(world, report, source.storage, view.live.tasks)


# --- what is to be restored ----------------------------------------------------------------------
def restore_mismatch(
    instance: DatabaseInstance, version: DatastoreVersion | None, source: RestoreSource
) -> UserError | None:
    """Why the Backup that there is can never be restored into this instance; None: it can."""
    backup = source.backup
    if backup is None or backup.status.phase is not BackupPhase.COMPLETED:
        return None
    name, spec = backup.metadata.name, instance.spec
    if backup.status.strategy in naming.LOGICAL_STRATEGIES:
        return UserError(
            reasons.BACKUP_MISMATCH,
            f"{_FIELD}: the Backup {name} is a dump by {backup.status.strategy}, which is loaded "
            "into an instance that runs: create the instance without restoreFrom, and then an "
            f"Operation RestoreDatabases (kubectl coffer backup load {name} INSTANCE)",
        )
    held = backup.status.datastore
    if held is not None and held != spec.datastore.type:
        return UserError(
            reasons.BACKUP_MISMATCH,
            f"{_FIELD}: the Backup {name} is of {held}, and the instance is to be "
            f"{spec.datastore.type}; choose another Backup or datastore {held}",
        )
    older = version is not None and _is_older(version.spec.version, backup.status.engine_version)
    if version is not None and older:
        return UserError(
            reasons.BACKUP_MISMATCH,
            f"{_FIELD}: the Backup {name} was taken of version {backup.status.engine_version}, "
            f"and {version.spec.version} is older; choose a version that is not",
        )
    return _too_small(instance, source)


def _resolve(
    instance: DatabaseInstance, version: DatastoreVersion | None, source: RestoreSource
) -> RestoreReport:
    """What to restore, checked. Raises UserError: nothing is built until it fits."""
    wanted = instance.spec.restore_from
    if wanted is not None and wanted.location is not None:
        location = wanted.location
        _check_storage(location.storage_ref.name, source.storage)
        return RestoreReport(
            phase=RestorePhase.WAITING, storage=location.storage_ref.name, path=location.path
        )
    name = wanted.backup_ref.name if wanted is not None and wanted.backup_ref is not None else ""
    backup = _completed(name, source.backup)
    unfit = restore_mismatch(instance, version, source)
    if unfit is not None:
        raise unfit
    storage = backup.spec.storage_ref.name
    _check_storage(storage, source.storage)
    return RestoreReport(
        phase=RestorePhase.WAITING,
        storage=storage,
        path=backup.status.path or "",
        digest=backup.status.manifest_digest,
    )


def _completed(name: str, backup: Backup | None) -> Backup:
    field = f"{_FIELD}.backupRef"
    if backup is None or backup.metadata.deletion_timestamp is not None:
        gone = "is being deleted" if backup is not None else "does not exist in this namespace"
        raise UserError(
            reasons.BACKUP_NOT_FOUND,
            f"{field}: the Backup {name} {gone}; create it, or make the instance with another one",
        )
    if backup.status.phase is not BackupPhase.COMPLETED or backup.status.path is None:
        said = f": {backup.status.message}" if backup.status.message else ""
        raise UserError(
            reasons.BACKUP_NOT_COMPLETED,
            f"{field}: the Backup {name} is {backup.status.phase or BackupPhase.NEW}, not "
            f"Completed{said}",
        )
    return backup


def _check_storage(name: str, storage: BackupStorage | None) -> None:
    if storage is None:
        raise UserError(
            reasons.STORAGE_NOT_FOUND,
            f"{_FIELD}: there is no BackupStorage {name} in this namespace; create it",
        )
    if not is_ready(storage):
        ready = by_type(storage.status.conditions).get("Ready")
        said = f": {ready.message}" if ready is not None else ""
        raise UserError(
            reasons.STORAGE_NOT_READY, f"{_FIELD}: the BackupStorage {name} is not Ready{said}"
        )


def _is_older(target: str, taken: str | None) -> bool:
    """Whether a version, as far as its catalogue entry says it, is below that of a backup."""
    ours, theirs = _numbers(target), _numbers(taken or "")
    return bool(ours and theirs) and ours < theirs[: len(ours)]


def _numbers(version: str) -> tuple[int, ...]:
    found = _NUMBERS.match(version)
    return tuple(int(part) for part in found.group().split(".")) if found else ()


def chain_bytes(backup: Backup, chain: Mapping[str, Backup]) -> int:
    """What a backup and the `chain` that it needs take on a volume while they are restored."""
    own = backup.status.raw_bytes or 0
    parents = [one.status.raw_bytes or 0 for one in chain.values()]
    increments = [own, *parents[:-1]] if parents else []
    full = parents[-1] if parents else own
    return full + sum(increments) + max(increments, default=0)


def _too_small(instance: DatabaseInstance, source: RestoreSource) -> UserError | None:
    """All that the chain takes, as the agent counts it, and some room."""
    backup, size = source.backup, instance.spec.volume.size
    if backup is None or backup.status.raw_bytes is None:
        return None
    needed = int(chain_bytes(backup, source.chain) * ROOM)
    try:
        enough = parse_bytes(size) >= needed
    except ValueError:
        return None  # said elsewhere
    if enough:
        return None
    mebibytes = -(-needed // 1024**2)
    return UserError(
        reasons.VOLUME_TOO_SMALL,
        f"spec.volume.size: {size} is too small for what the Backup {backup.metadata.name} holds; "
        f"ask for at least {mebibytes}Mi",
    )


# --- the task ------------------------------------------------------------------------------------
def _follow(
    world: World,
    report: RestoreReport,
    storage: BackupStorage | None,
    tasks: tuple[TaskStatus, ...],
) -> Restore:
    """The agent waits for the task, or is at it."""
    if report.phase is RestorePhase.FAILED and report.retry_at is None:
        if not _was_reset(world, report):
            return _failed_for_good(report)
        report = report.model_copy(update={"retry_at": to_text(world.now), "finished_at": None})
    due = from_text(report.retry_at)
    if due is not None and world.now < due:
        return _waiting(report, due)
    attempt = report.attempt + 1 if due is not None or report.attempt == 0 else report.attempt
    if attempt != report.attempt:
        report = report.model_copy(
            update={
                "phase": RestorePhase.RUNNING,
                "attempt": attempt,
                "retry_at": None,
                "progress": begun(world.now),
                "started_at": report.started_at or to_text(world.now),
            }
        )
    task = find(tasks, _task_id(world, attempt))
    if task is None:
        return _ask(world, report, storage)
    if task.state in (TaskState.FAILED, TaskState.CANCELLED):
        failed = failure_of(task)
        named = _with_names(failed.message, world.restore_source or RestoreSource())
        return _attempt_failed(report, replace(failed, message=named), world.now)
    return _under_way(world, report, task)


def _was_reset(world: World, report: RestoreReport) -> bool:
    """Whether somebody says, by a ResetStatus operation, that the cause is mended."""
    ended = report.finished_at or ""
    return any(
        operation.spec.type is OperationType.RESET_STATUS
        and operation.status.phase is OperationPhase.RUNNING
        and (operation.status.started_at or "") >= ended
        for operation in world.operations
    )


def _with_names(text: str, source: RestoreSource) -> str:
    """What the agent knows by path only, with the names of the Backups."""
    known = [*source.chain.values(), *([source.backup] if source.backup is not None else [])]
    for backup in known:
        if backup.status.path and backup.status.path in text:
            named = f"the Backup {backup.metadata.name} ({backup.status.path})"
            text = text.replace(backup.status.path, named, 1)
    return text


def _task_id(world: World, attempt: int) -> str:
    return f"restore-{naming.short_hash(world.instance.metadata.uid)}-{attempt}"


def _ask(world: World, report: RestoreReport, storage: BackupStorage | None) -> Restore:
    if storage is None:
        text = f"there is no BackupStorage {report.storage} any more; create it again"
        stalled = Finding(Severity.STALLED, reasons.STORAGE_NOT_FOUND, text)
        return Restore(path=report.path, report=report, finding=stalled)
    payload = {"path": report.path, "digest": report.digest, "whole": _is_scratch(world.instance)}
    call = PutTask(_task_id(world, report.attempt), KIND, for_reading(storage.spec), payload)
    return Restore(
        path=report.path,
        report=report,
        finding=_progress(report),
        call=call,
        wake_at=after(world.now, _LOOK_S),
    )


def _is_scratch(instance: DatabaseInstance) -> bool:
    """Whether it is there to prove its backup, down to the checksums of whole streams."""
    return instance.metadata.labels.get(naming.LABEL_SCRATCH) == "true"


def _under_way(world: World, report: RestoreReport, task: TaskStatus) -> Restore:
    progress, more_s = progress_of(task, report.progress, world.now)
    still, look_s = standstill(progress, world.now)
    told = task.message or still
    fresh = report.model_copy(update={"progress": progress, "message": told})
    overdue = after(from_text(progress.updated_at) or world.now, NO_PROGRESS_S)
    soon_s = more_s or look_s
    call = None
    if world.now >= overdue and task.state is TaskState.RUNNING:
        call = CancelTask(task.id)
    return Restore(
        path=report.path,
        report=fresh,
        finding=_progress(fresh, told),
        call=call,
        wake_at=after(world.now, soon_s) if soon_s else max(overdue, after(world.now, _LOOK_S)),
    )


def _attempt_failed(report: RestoreReport, failed: Failed, now: datetime) -> Restore:
    text = one_line(f"attempt {report.attempt} failed: {failed.reason}: {failed.message}")
    if failed.permanent:
        ended = report.model_copy(
            update={
                "phase": RestorePhase.FAILED,
                "message": one_line(f"{failed.reason}: {failed.message}"),
                "retry_at": None,
                "finished_at": to_text(now),
            }
        )
        return _failed_for_good(ended)
    wait_s = min(_FIRST_RETRY_S * 4.0 ** min(report.attempt - 1, 10), _MAX_RETRY_S)
    due = after(now, wait_s)
    again = report.model_copy(update={"message": text, "retry_at": to_text(due)})
    return _waiting(again, due)


def _waiting(report: RestoreReport, due: datetime) -> Restore:
    """Between two attempts; after some of them it counts as an error, and goes on."""
    text = f"{report.message}; it is tried again"
    if report.attempt >= TELL_AFTER:
        finding = Finding(Severity.ERROR, reasons.RESTORE_FAILED, text)
    else:
        finding = Finding(Severity.PROGRESS, reasons.RESTORING, text)
    return Restore(path=report.path, report=report, finding=finding, wake_at=after(due, 1.0))


def _failed_for_good(report: RestoreReport) -> Restore:
    text = (
        f"the backup at {report.path} could not be restored: {report.message}; nothing was made in "
        "its place: mend the cause and run a ResetStatus operation, or delete the instance and its "
        "claim and create it again, from another Backup"
    )
    return Restore(
        path=report.path,
        report=report,
        finding=Finding(Severity.ERROR, reasons.RESTORE_FAILED, text),
    )


def _progress(report: RestoreReport, detail: str | None = None) -> Finding:
    text = f"the data are being restored from {report.path}"
    return Finding(
        Severity.PROGRESS,
        reasons.RESTORING,
        f"{text}: {detail}" if detail else text,
    )


def _done(report: RestoreReport | None, now: datetime) -> RestoreReport | None:
    """There are data: restored, or found on a volume that had some."""
    if report is None or report.phase is RestorePhase.COMPLETED:
        return report
    progress = report.progress
    if progress is not None:
        progress = progress.model_copy(update={"percent": 100, "bytes_per_second": None})
    return report.model_copy(
        update={
            "phase": RestorePhase.COMPLETED,
            "message": None,
            "retry_at": None,
            "progress": progress,
            "finished_at": to_text(now),
        }
    )
