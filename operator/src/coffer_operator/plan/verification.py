"""plan_verification: a Backup is proved by restoring it into a scratch instance.

Pure and level-triggered. Steps: Restoring, Checking, Recording, Removing; the step and, from
Removing on, the outcome stand in the Operation's status, so that an operator that starts anew goes
on there. What was found out is written to the Backup before Recording, and follows from what agent
and instance say: to write it twice changes nothing. Only what the backup itself is to blame for is
a failed verification; where that cannot be told, the Operation has failed and the Backup says
nothing.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from coffer_common.errors import UserError
from coffer_common.resources.backup import (
    Backup,
    BackupPhase,
    Verification,
)
from coffer_common.resources.instance import DatabaseInstance
from coffer_common.resources.operation import Operation, OperationOutcome, OperationPhase
from coffer_operator.plan import reasons
from coffer_operator.plan.backup_status import as_api as backup_as_api
from coffer_operator.plan.clock import after, from_text, to_text
from coffer_operator.plan.conditions import MAX_MESSAGE
from coffer_operator.plan.errand import Errand, Verdict
from coffer_operator.plan.model import Delete, EventNote, PutTask
from coffer_operator.plan.operation_status import Progress, wanted_status
from coffer_operator.plan.operations import FINISHED, ORPHAN_GRACE_S
from coffer_operator.plan.scratch import is_of, scratch_instance, scratch_name
from coffer_operator.plan.verification_dump import is_dump, is_loaded, load
from coffer_operator.plan.verification_record import RECORD_S, STEP_RECORD, Recording, record
from coffer_operator.plan.verification_steps import (
    STEP_CHECK,
    STEP_RESTORE,
    Step,
    Tried,
    check,
    restore,
)
from coffer_operator.plan.verification_world import VerificationWorld

DEADLINE_S: Final = 86400.0  # of all but the removal
REMOVE_S: Final = 600.0
STEP_REMOVE: Final = "Removing"
_LOOK_S: Final = 15.0  # what it waits for is told; in case that was lost
_AT_ONCE_S: Final = 0.001


def plan_verification(world: VerificationWorld) -> Errand:
    """What to do for the Operation now. Never raises, whatever the World is."""
    status = world.operation.status
    if world.operation.metadata.deletion_timestamp is not None or world.namespace_terminating:
        return Errand()  # what it made goes with it
    if status.phase in FINISHED:
        return _after_life(world)
    if status.phase is not OperationPhase.RUNNING:
        return _begin(world)
    if status.outcome is not None:
        return _remove(world, status.outcome)
    return _go_on(world)


# --- before and after ----------------------------------------------------------------------------
def _begin(world: VerificationWorld) -> Errand:
    """Whether it can begin, and what it waits for otherwise."""
    not_after = from_text(world.operation.spec.not_after)
    if not_after is not None and world.now > not_after:
        text = f"it was not begun by {world.operation.spec.not_after}"
        return _end(world, OperationPhase.EXPIRED, OperationPhase.EXPIRED.value, text)
    try:
        waits = _hindrance(world)
        if waits is None and world.backup is not None:
            scratch_instance(world, world.backup)
    except UserError as error:
        return _end(world, OperationPhase.FAILED, error.reason, error.message)
    if waits is not None:
        return _tell(world, Progress(OperationPhase.NEW, waits), _LOOK_S)
    begun = Progress(
        OperationPhase.RUNNING,
        f"the Backup is being restored into the instance {scratch_name(world.operation)}",
        step=STEP_RESTORE,
        started_at=to_text(world.now),
        deadline=to_text(after(world.now, DEADLINE_S)),
    )
    return _tell(world, begun, _AT_ONCE_S)


def _hindrance(world: VerificationWorld) -> str | None:
    """What it waits for; None: nothing. Raises UserError where it would wait for ever."""
    backup, operation = world.backup, world.operation
    reference = operation.spec.backup_ref
    name = reference.name if reference is not None else ""
    if backup is None or backup.metadata.deletion_timestamp is not None:
        text = f"there is no Backup {name} in this namespace"
        created = from_text(operation.metadata.creation_timestamp) or world.now
        if backup is not None or world.now >= after(created, ORPHAN_GRACE_S):
            raise UserError(reasons.BACKUP_NOT_FOUND, text)
        return text
    if backup.status.phase is BackupPhase.FAILED:
        raise UserError(reasons.BACKUP_NOT_COMPLETED, f"the Backup {name} has failed")
    if backup.status.phase is not BackupPhase.COMPLETED:
        return f"waits until the Backup {name} is Completed"
    ahead = next((other for other in world.others if _is_ahead(other, operation)), None)
    if ahead is not None:
        return f"waits for the Operation {ahead.metadata.name}, which verifies the same Backup"
    return _other_scratch(world)


def _other_scratch(world: VerificationWorld) -> str | None:
    """That it waits for an instance of another Operation to go; None: none has the name.

    An operator that was late may have made it after that Operation was gone. Raises UserError for
    one that nobody will remove.
    """
    scratch = world.scratch
    if scratch is None or is_of(scratch, world.operation):
        return None
    if "Operation" not in {str(owner.get("kind")) for owner in scratch.metadata.owner_references}:
        raise _taken(scratch)
    return f"waits until the instance {scratch.metadata.name} of another Operation is gone"


def _is_ahead(other: Operation, operation: Operation) -> bool:
    if other.status.phase is OperationPhase.RUNNING:
        return True
    if other.status.phase in FINISHED or other.metadata.deletion_timestamp is not None:
        return False
    return _age(other) < _age(operation)


def _age(operation: Operation) -> tuple[str, str]:
    return operation.metadata.creation_timestamp or "", operation.metadata.name


def _taken(scratch: DatabaseInstance) -> UserError:
    return UserError(
        reasons.NAME_TAKEN,
        f"the DatabaseInstance {scratch.metadata.name}, into which the Backup would be restored, "
        "exists and is not this Operation's; remove it",
    )


def _after_life(world: VerificationWorld) -> Errand:
    """An ended Operation is removed once its time to live, if it has one, is over.

    An instance of it that is there all the same was made by an operator that was late.
    """
    scratch = world.scratch
    left = scratch is not None and scratch.metadata.deletion_timestamp is None
    if left and scratch is not None and is_of(scratch, world.operation):
        return Errand(unwanted=_unwanted(world, scratch), requeue_after_s=_LOOK_S)
    ttl_s = world.operation.spec.ttl_seconds_after_finished
    finished_at = from_text(world.operation.status.finished_at)
    if ttl_s is None or finished_at is None:
        return Errand()
    ends_in_s = (after(finished_at, ttl_s) - world.now).total_seconds()
    return Errand(expired=True) if ends_in_s <= 0 else Errand(requeue_after_s=ends_in_s)


# --- under way -----------------------------------------------------------------------------------
def _go_on(world: VerificationWorld) -> Errand:
    """One step further, or the outcome."""
    backup, scratch = world.backup, world.scratch
    given_up = _given_up(world)
    if given_up is not None or backup is None:
        return _decide(world, given_up or _deleted())
    if scratch is None:
        return _make(world, backup)
    waits = _other_scratch(world)
    if waits is None and scratch.metadata.deletion_timestamp is not None:
        waits = f"the instance {scratch.metadata.name} was deleted; it is made anew"
    if waits is not None:
        return _tell(world, _running(STEP_RESTORE, waits), _LOOK_S)
    step = _step(world, backup, scratch)
    if isinstance(step, Tried):
        return _decide(world, step)
    calls = (step.call,) if step.call is not None else ()
    progress = replace(_running(step.name, step.message), amount=step.amount)
    return _tell(world, progress, step.look_s, calls=calls)


def _step(world: VerificationWorld, backup: Backup, scratch: DatabaseInstance) -> Step | Tried:
    """An instance that was made anew while a dump was checked holds nothing of it."""
    checks = world.operation.status.step == STEP_CHECK
    if is_dump(backup):
        holds = is_loaded(world, scratch) is not False
        return check(world, scratch) if checks and holds else load(world, scratch)
    return check(world, scratch) if checks else restore(world, scratch)


def _given_up(world: VerificationWorld) -> Tried | None:
    """What ends it at any step; first of all, that it was found out before and told."""
    operation, backup = world.operation, world.backup
    if backup is None or backup.metadata.deletion_timestamp is not None:
        return _deleted()
    found, begun = backup.status.verified, operation.status.started_at or ""
    if found is not None and found.operation == operation.metadata.name and found.time >= begun:
        sound = found.result == "Passed"
        reason = reasons.VERIFIED if sound else reasons.VERIFICATION_FAILED
        return Tried(sound, reason, found.message or found.result)
    if world.failure is not None and world.failure.permanent:
        text = f"{world.failure.step}: {world.failure.message}"
        return Tried(None, world.failure.reason, text)
    deadline = from_text(operation.status.deadline)
    if deadline is not None and world.now >= deadline:
        text = f"given up after its deadline: {operation.status.message}"
        return Tried(None, reasons.DEADLINE_EXCEEDED, text)
    try:
        _other_scratch(world)
    except UserError as error:
        return Tried(None, error.reason, error.message)
    return None


def _deleted() -> Tried:
    text = "the Backup was deleted while it was being verified"
    return Tried(None, reasons.BACKUP_NOT_FOUND, text)


def _make(world: VerificationWorld, backup: Backup) -> Errand:
    try:
        obj = scratch_instance(world, backup)
    except UserError as error:
        return _decide(world, Tried(None, error.reason, error.message))
    text = f"the instance {scratch_name(world.operation)} is being made"
    progress = _running(STEP_RESTORE, text)
    return _tell(world, progress, _LOOK_S, scratch=obj)


def _decide(world: VerificationWorld, tried: Tried) -> Errand:
    """The Backup gets the verdict; then the bucket does, and the Operation gets its outcome.

    Several errands: a status is told even where something before it failed.
    """
    verdict = _verdict(world, tried)
    if verdict is not None:
        return Errand(verdict=verdict, requeue_after_s=_AT_ONCE_S)
    message = tried.message
    if tried.sound is not None:
        kept = record(world)
        if isinstance(kept, Recording):
            return _record(world, kept)
        message += f"; that could not be kept beside the backup: {kept}" if kept else ""
    passed = tried.sound is True
    outcome = OperationOutcome(
        phase="Completed" if passed else "Failed",
        reason=tried.reason,
        message=message[:MAX_MESSAGE],
    )
    progress = Progress(
        OperationPhase.RUNNING,
        message,
        step=STEP_REMOVE,
        deadline=to_text(after(world.now, REMOVE_S)),
        outcome=outcome,
    )
    return _tell(world, progress, _AT_ONCE_S)


def _record(world: VerificationWorld, kept: Recording) -> Errand:
    """It is told that this has begun, which begins its deadline, before the agent is asked."""
    progress = _running(STEP_RECORD, kept.message)
    if world.operation.status.step != STEP_RECORD:
        progress = replace(progress, deadline=to_text(after(world.now, RECORD_S)))
        return _tell(world, progress, _AT_ONCE_S)
    return _tell(world, progress, kept.look_s, calls=kept.calls)


def _verdict(world: VerificationWorld, tried: Tried) -> Verdict | None:
    """To be written to the Backup; None: nothing is, or it stands there already."""
    backup, operation = world.backup, world.operation
    if tried.sound is None or tried.at is None or backup is None:
        return None
    started = from_text(operation.status.started_at) or world.now
    at = min(max(tried.at, started), world.now)  # by the agent's clock
    begun, engine = tried.begun or started, world.scratch.status.engine if world.scratch else None
    verified = Verification(
        time=to_text(at),
        result="Passed" if tried.sound else "Failed",
        message=tried.message[:MAX_MESSAGE],
        duration_seconds=max(0, int((at - begun).total_seconds())),
        recovery_seconds=(
            max(0, int((tried.served - begun).total_seconds())) if tried.served else None
        ),
        engine_version=engine.version if engine is not None else None,
        operation=operation.metadata.name,
    )
    status = backup.status.model_copy(update={"verified": verified})
    reason = reasons.VERIFIED if tried.sound else reasons.VERIFICATION_FAILED
    note = EventNote(reason, tried.message, warning=not tried.sound)
    return Verdict(backup, backup_as_api(status), note)


def _remove(world: VerificationWorld, outcome: OperationOutcome) -> Errand:
    """The scratch instance goes; then it has ended. It goes with the Operation at the latest."""
    scratch, status = world.scratch, world.operation.status
    phase = OperationPhase(outcome.phase)
    if scratch is None or not is_of(scratch, world.operation):
        return _end(world, phase, outcome.reason, outcome.message)
    name = scratch.metadata.name
    deadline, deleting = from_text(status.deadline), scratch.metadata.deletion_timestamp is not None
    tried = deleting or world.failure is not None
    if tried and (deadline is None or world.now >= deadline):
        left = f"{outcome.message}; the instance {name} is still there: it goes with this Operation"
        return _end(world, phase, outcome.reason, left)
    progress = Progress(OperationPhase.RUNNING, outcome.message, step=STEP_REMOVE, outcome=outcome)
    if deleting:
        return _tell(world, progress, _LOOK_S)
    return _tell(world, progress, _LOOK_S, unwanted=_unwanted(world, scratch))


def _unwanted(world: VerificationWorld, scratch: DatabaseInstance) -> Delete:
    why = f"Operation {world.operation.metadata.name} has ended"
    return Delete("DatabaseInstance", scratch.metadata.name, scratch.metadata.uid, why=why)


# --- what is told --------------------------------------------------------------------------------
def _running(step: str, message: str) -> Progress:
    return Progress(OperationPhase.RUNNING, message, step=step)


def _end(world: VerificationWorld, phase: OperationPhase, reason: str, message: str) -> Errand:
    progress = Progress(phase, message, finished_at=to_text(world.now), reason=reason)
    ttl_s = world.operation.spec.ttl_seconds_after_finished
    return _tell(world, progress, ttl_s)


def _tell(
    world: VerificationWorld,
    progress: Progress,
    look_s: float | None,
    *,
    calls: tuple[PutTask, ...] = (),
    scratch: Mapping[str, Any] | None = None,
    unwanted: Delete | None = None,
) -> Errand:
    operation = world.operation
    notes: tuple[EventNote, ...] = ()
    if progress.phase not in (operation.status.phase, OperationPhase.NEW):
        good = progress.phase in (OperationPhase.RUNNING, OperationPhase.COMPLETED)
        notes = (EventNote(progress.phase.value, progress.message, warning=not good),)
    return Errand(
        status=wanted_status(operation, progress, world.now),
        events=notes,
        calls=calls,
        scratch=scratch,
        unwanted=unwanted,
        requeue_after_s=_until(world, look_s),
    )


def _until(world: VerificationWorld, look_s: float | None) -> float | None:
    """The next look, or the deadline before it."""
    moments: list[datetime] = []
    for text in (world.operation.status.deadline, world.operation.spec.not_after):
        moment = from_text(text)
        if moment is not None and moment >= world.now:
            moments.append(after(moment, 1.0))
    waits_s = [(moment - world.now).total_seconds() for moment in moments]
    if look_s is not None:
        waits_s.append(look_s)
    return min(waits_s, default=None)
