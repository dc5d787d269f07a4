"""What the status of a Backup says, and the Events that follow from it. Pure."""

from collections.abc import Sequence
from typing import Any, Final

from coffer_common.quantity import readable
from coffer_common.resources.backup import (
    Backup,
    BackupPhase,
    BackupPosition,
    BackupProgress,
    BackupStatus,
    BackupType,
)
from coffer_common.wire import BackupResult
from coffer_operator.plan import reasons
from coffer_operator.plan.backup_world import BackupWorld
from coffer_operator.plan.clock import from_text, to_text
from coffer_operator.plan.conditions import MAX_MESSAGE, Conditions, by_type
from coffer_operator.plan.finding import Truth
from coffer_operator.plan.model import EventNote

FINISHED: Final = frozenset({BackupPhase.COMPLETED, BackupPhase.FAILED})
_BINLOG: Final = ("binlogFile", "binlogPosition")


def told(
    world: BackupWorld, phase: BackupPhase, reason: str, message: str, **changes: Any
) -> BackupStatus:
    """The former status with a phase, what it means, and `changes` of its fields."""
    metadata, former = world.backup.metadata, world.backup.status
    conditions = Conditions(by_type(former.conditions), metadata.generation, world.now)
    done = phase is BackupPhase.COMPLETED
    conditions.add("Ready", Truth.TRUE if done else Truth.FALSE, reason, message)
    if phase is BackupPhase.FAILED:
        conditions.add("Stalled", Truth.TRUE, reason, message)
    elif not done:
        conditions.add("Reconciling", Truth.TRUE, reason, message)
    if reason == reasons.DELETION_BLOCKED:
        conditions.add(reasons.DELETION_BLOCKED, Truth.TRUE, reason, message)
    return former.model_copy(
        update={
            **changes,
            "phase": phase,
            "observed_generation": metadata.generation,
            "message": message[:MAX_MESSAGE],
            "conditions": conditions.result(),
        }
    )


def failed(world: BackupWorld, reason: str, message: str) -> BackupStatus:
    """It has failed for good."""
    return told(
        world,
        BackupPhase.FAILED,
        reason,
        message,
        finished_at=to_text(world.now),
        retry_at=None,
    )


def completed(
    world: BackupWorld,
    result: BackupResult,
    message: str,
    begun_at: str | None,
    why_full: str = "",
) -> BackupStatus:
    """What it came to be; `why_full`: the operator's reason not to name a parent, if it had one."""
    why_full = (why_full if world.backup.status.parent is None else "") or result.why_full
    begun = from_text(begun_at)
    position = result.position
    binlog = ":".join(position[name] for name in _BINLOG if name in position)
    return told(
        world,
        BackupPhase.COMPLETED,
        reasons.COMPLETED,
        f"{message}; a full one, because {why_full}" if result.why_full else message,
        finished_at=to_text(world.now),
        retry_at=None,
        progress=BackupProgress(
            bytes_done=result.plain_bytes,
            bytes_total=result.plain_bytes,
            percent=100,
            updated_at=to_text(world.now),
        ),
        type=BackupType(result.type),
        strategy=result.strategy,
        path=result.path,
        location=result.location,
        size=readable(result.size_bytes),
        size_bytes=result.size_bytes,
        raw_bytes=result.plain_bytes,
        checksum=result.plain_sha256,
        manifest_digest=result.manifest_digest,
        duration_seconds=max(0, int((world.now - begun).total_seconds())) if begun else None,
        position=BackupPosition(
            gtid=position.get("gtid"),
            binlog=binlog or None,
            from_lsn=position.get("lsnFrom"),
            to_lsn=position.get("lsnTo"),
        ),
        parent=result.parent,
        depth=result.depth,
        data_id=result.data_id,
        datastore=result.datastore,
        engine_version=result.engine_version,
        key_id=result.key_id,
    )


def as_api(status: BackupStatus) -> dict[str, Any]:
    """A status as the API has it: no nulls, no empty lists or maps."""
    content = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {key: value for key, value in content.items() if value not in ([], {})}


def events(backup: Backup, wanted: BackupStatus) -> tuple[EventNote, ...]:
    """What happened between two statuses: each phase, each attempt that failed, each hold-up."""
    former = backup.status
    reason = by_type(wanted.conditions)["Ready"].reason
    before = by_type(former.conditions).get("Ready")
    message = wanted.message or ""
    if wanted.phase is not former.phase and wanted.phase is not BackupPhase.NEW:
        if wanted.phase in (BackupPhase.DELETING, None):
            return _blocked(reason, message, None)
        names = {
            BackupPhase.RUNNING: "BackupStarted",
            BackupPhase.COMPLETED: "BackupCompleted",
            BackupPhase.FAILED: "BackupFailed",
        }
        bad = wanted.phase is BackupPhase.FAILED
        return (EventNote(names[wanted.phase], message, warning=bad),)
    known = before.reason if before is not None else None
    if reason == reasons.TRYING_AGAIN and wanted.attempt == former.attempt and known != reason:
        return (EventNote("BackupAttemptFailed", message, warning=True),)
    return _blocked(reason, message, former.message if known == reason else None)


def _blocked(reason: str, message: str, known: str | None) -> tuple[EventNote, ...]:
    if reason != reasons.DELETION_BLOCKED or message == known:
        return ()
    return (EventNote(reason, message, warning=True),)


def others_of(world: BackupWorld, instance: str) -> Sequence[Backup]:
    """The other Backups of an instance."""
    return [
        other
        for other in world.others
        if other.spec.instance_ref is not None and other.spec.instance_ref.name == instance
    ]


def children_of(world: BackupWorld) -> tuple[str, ...]:
    """The Backups that cannot be restored without this one, by name."""
    path = world.backup.status.path
    if path is None:
        return ()
    storage = world.backup.spec.storage_ref
    return tuple(
        sorted(
            other.metadata.name
            for other in world.others
            if other.status.parent == path
            and other.spec.storage_ref == storage
            and other.status.phase is not BackupPhase.FAILED
        )
    )
