"""A Backup that is made from what is in the storage: `spec.path`. Pure.

A storage worker looks at the backup: authentic, its key known, its data and all that it needs
there. What it says is what the status says.
"""

from typing import Any, Final

from pydantic import ValidationError

from coffer_common import naming
from coffer_common.proof import Proof
from coffer_common.resources.backup import BackupPhase, Verification
from coffer_common.wire import BackupResult, StorageOperation
from coffer_operator.build.worker import WorkerOrder
from coffer_operator.plan import reasons
from coffer_operator.plan.backup_begin import WaitError, begin_deadline
from coffer_operator.plan.backup_status import as_api, completed, events, failed, told
from coffer_operator.plan.backup_world import BackupWorld
from coffer_operator.plan.clock import from_text, to_text
from coffer_operator.plan.conditions import by_type
from coffer_operator.plan.errand import Errand
from coffer_operator.plan.storage import is_ready
from coffer_operator.plan.worker import WorkerState, judge_worker, spent

ASK_AGAIN_S: Final = 120.0
_LOOK_S: Final = 30.0
# what the worker has seen in the bucket itself; a key, credentials or objects may still come
_PAST_HELP: Final = frozenset(
    {"BackupDamaged", "BackupReplayed", "BackupFormatUnknown", "ChainBroken"}
)


def adopt(world: BackupWorld) -> Errand:
    """Have the storage asked, and take what it says."""
    backup, status = world.backup, world.backup.status
    try:
        storage = _storage_of(world)
    except WaitError as error:
        return _wait(world, error.reason, error.message)
    asked = from_text(status.asked_at)
    if asked is not None and (world.now - asked).total_seconds() < ASK_AGAIN_S:
        wait_s = ASK_AGAIN_S - (world.now - asked).total_seconds()
        return Errand(requeue_after_s=max(wait_s, 1.0), spent_workers=spent(world.workers, None))
    task = naming.short_hash(f"show/{status.asked_at or ''}", 16)
    verdict = judge_worker(world.workers, task, world.now)
    if verdict.state is WorkerState.DONE:
        return _adopted(world, verdict.result)
    if verdict.state is WorkerState.FAILED:
        return _wait(
            world, verdict.reason or reasons.ADOPTING, verdict.message, asked_at=to_text(world.now)
        )
    order = WorkerOrder(
        owner_kind="Backup",
        owner=backup.metadata,
        task=task,
        operation=StorageOperation.SHOW,
        storage=storage.spec,
        image=world.image,
        path=backup.spec.path or "",
    )
    fresh = told(
        world,
        BackupPhase.NEW,
        reasons.ADOPTING,
        verdict.message or "the backup is being looked at in the storage",
    )
    if world.failure is not None:
        text = f"{world.failure.step}: {world.failure.message}"
        fresh = told(world, BackupPhase.NEW, world.failure.reason, text)
    return Errand(
        status=as_api(fresh),
        worker=order if verdict.state is WorkerState.NONE else None,
        spent_workers=spent(world.workers, task),
        requeue_after_s=_LOOK_S,
    )


def _storage_of(world: BackupWorld) -> Any:
    name = world.backup.spec.storage_ref.name
    if world.storage is None:
        raise WaitError(reasons.STORAGE_NOT_FOUND, f"there is no BackupStorage {name}; create it")
    if not is_ready(world.storage):
        ready = by_type(world.storage.status.conditions).get("Ready")
        said = f": {ready.message}" if ready is not None else ""
        raise WaitError(reasons.STORAGE_NOT_READY, f"the BackupStorage {name} is not Ready{said}")
    return world.storage


def _wait(world: BackupWorld, reason: str, message: str, **changes: Any) -> Errand:
    if reason in _PAST_HELP:
        status = failed(world, reason, message)
    elif world.now >= begin_deadline(world):
        text = f"it could not be adopted within an hour: {message}"
        status = failed(world, reason, text)
    else:
        status = told(world, BackupPhase.NEW, reason, message, **changes)
    return Errand(
        status=as_api(status),
        events=events(world.backup, status),
        spent_workers=spent(world.workers, None),
        requeue_after_s=_LOOK_S,
    )


def _adopted(world: BackupWorld, result: Any) -> Errand:
    try:
        shown = dict(result["chain"][-1])
        found = BackupResult(
            path=shown["path"],
            location=_location(world, shown["path"]),
            type=shown["type"],
            strategy=shown["strategy"],
            size_bytes=shown["sizeBytes"],
            plain_bytes=shown["plainBytes"],
            plain_sha256=shown["plainSha256"],
            manifest_digest=shown["digest"],
            key_id=shown["keyId"],
            datastore=shown["datastore"],
            engine_version=shown["engineVersion"],
            data_id=shown["dataId"],
            position=shown.get("position") or {},
            parent=shown.get("parent"),
            depth=shown.get("depth") or 0,
        )
        instance = dict(shown.get("instance") or {})
    except (KeyError, IndexError, TypeError, ValidationError):
        text = "the storage worker's answer is not readable; operator and worker do not fit"
        status = failed(world, reasons.RESULT_UNREADABLE, text)
    else:
        status = completed(world, found, "adopted from the storage", None).model_copy(
            update={
                "instance_uid": instance.get("uid"),
                "started_at": shown.get("createdAt"),
                "finished_at": shown.get("finishedAt") or to_text(world.now),
                "verified": _verified(shown.get("verified")),
            }
        )
    return Errand(
        status=as_api(status),
        events=events(world.backup, status),
        spent_workers=spent(world.workers, None),
    )


def _verified(said: Any) -> Verification | None:
    """From the proof beside the backup; the storage worker has seen that it is authentic."""
    if said is None:
        return None
    try:
        proof = Proof.model_validate(said)
    except ValidationError:
        return None  # of a later release
    return Verification(
        time=proof.time,
        result=proof.result,
        message="it was found out before this Backup was adopted",
        duration_seconds=proof.duration_s,
        recovery_seconds=proof.recovery_s,
        engine_version=proof.engine_version,
    )


def _location(world: BackupWorld, path: str) -> str:
    if world.storage is None:
        return path
    s3 = world.storage.spec.s3
    return "s3://" + "/".join(part for part in (s3.bucket, s3.prefix, path) if part)
