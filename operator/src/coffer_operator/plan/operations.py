"""Operations on an instance: one at a time, the oldest first, each with a step and a deadline.

Pure. A plan moves the running Operation by at most one step. The step stands in the Operation's
status, so an operator that starts anew goes on where the former one was.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from coffer_common.resources.backup import BackupProgress
from coffer_common.resources.instance_status import OperationInProgress
from coffer_common.resources.operation import Operation, OperationPhase, OperationType
from coffer_common.wire import EngineAction
from coffer_operator.plan import reasons
from coffer_operator.plan.agent import AgentView
from coffer_operator.plan.clock import after, from_text, to_text
from coffer_operator.plan.events import operation_events
from coffer_operator.plan.load_databases import abandoned, load_databases
from coffer_operator.plan.model import (
    CancelTask,
    Delete,
    EngineCall,
    OperationStatusPatch,
    Plan,
    PutTask,
)
from coffer_operator.plan.operation_status import Progress, present_status, wanted_status
from coffer_operator.plan.pod import PodVerdict, crash_loops, volume_allows_restart
from coffer_operator.plan.world import PodFact, World

DEADLINE_S: Final[dict[OperationType, float]] = {
    OperationType.RESTART: 600.0,
    OperationType.RESET_STATUS: 120.0,
    OperationType.RESTORE_DATABASES: 86400.0,
}
ORPHAN_GRACE_S: Final = 60.0  # for an instance that is applied along with it
FINISHED: Final = frozenset(
    {OperationPhase.COMPLETED, OperationPhase.FAILED, OperationPhase.EXPIRED}
)

STEP_ENGINE: Final = "RestartEngine"
STEP_POD: Final = "ReplacePod"
STEP_RESET: Final = "Reset"
STEP_LOAD: Final = "Load"


@dataclass(frozen=True)
class Operations:
    """What Operations ask of the plan.

    `current` is what status.operation shows; `wake_at` when deadlines and times to live end.
    """

    patches: tuple[OperationStatusPatch, ...] = ()
    expired: tuple[str, ...] = ()
    calls: tuple[EngineCall | PutTask | CancelTask, ...] = ()
    deletes: tuple[Delete, ...] = ()
    current: OperationInProgress | None = None
    restarting: bool = False
    wake_at: tuple[datetime, ...] = field(default=())


def plan_operations(world: World, view: AgentView, pod: PodVerdict) -> Operations:
    """The next step of the Operation whose turn it is, and what is due for the others."""
    result = Operations()
    active: Operation | None = None
    for operation in _in_turn(world.operations):
        if operation.status.phase in FINISHED:
            result = _after_life(result, operation, world.now)
        elif _began_on_another(operation, world):
            result = _fail_replaced(result, operation, world.now)
        elif active is None and not _is_expired(operation, world.now):
            active = operation
            result = _advance(result, world, operation, view, pod)
        else:
            result = _wait(result, operation, active, world.now)
    if view.live is not None:
        cancelled = abandoned(world.operations, view.live.tasks)
        result = replace(result, calls=(*result.calls, *cancelled))
    return result


def plan_orphan(operation: Operation, now: datetime) -> Plan:
    """What becomes of an Operation whose instance does not exist: it fails after a short grace."""
    if operation.status.phase in FINISHED:
        result = _after_life(Operations(), operation, now)
    elif _is_expired(operation, now):
        result = _wait(Operations(), operation, None, now)
    else:
        result = _await_instance(operation, now)
    return Plan(
        operations=result.patches,
        expired_operations=result.expired,
        events=operation_events(result.patches, {operation.metadata.name: operation.status.phase}),
        requeue_after_s=wake_after_s(result.wake_at, now),
    )


def _await_instance(operation: Operation, now: datetime) -> Operations:
    reference = operation.spec.instance_ref
    name = reference.name if reference is not None else ""
    created = from_text(operation.metadata.creation_timestamp) or now
    grace_ends = after(created, ORPHAN_GRACE_S)
    over = now >= grace_ends
    progress = Progress(
        OperationPhase.FAILED if over else OperationPhase.NEW,
        message=f"there is no DatabaseInstance {name} in this namespace",
        finished_at=to_text(now) if over else None,
    )
    result = _patch(Operations(), operation, progress, now)
    if over:
        return result
    not_after = from_text(operation.spec.not_after)
    if not_after is not None:
        result = _wake(result, after(not_after, 1.0))
    return _wake(result, grace_ends)


def wake_after_s(moments: Sequence[datetime], now: datetime) -> float | None:
    """Seconds until the earliest of the moments that are still to come."""
    ahead = [(moment - now).total_seconds() for moment in moments]
    return min((max(seconds, 0.0) for seconds in ahead), default=None)


def _in_turn(operations: Sequence[Operation]) -> list[Operation]:
    """One that runs goes first: a clock that went back must not let a second one start."""
    running = [o for o in operations if o.status.phase is OperationPhase.RUNNING]
    return running + [o for o in operations if o.status.phase is not OperationPhase.RUNNING]


def _began_on_another(operation: Operation, world: World) -> bool:
    """Whether it began on a former instance of this name: what it was for is gone."""
    begun = operation.status.phase is OperationPhase.RUNNING
    uid = operation.status.instance_uid
    return begun and uid is not None and uid != world.instance.metadata.uid


def _fail_replaced(result: Operations, operation: Operation, now: datetime) -> Operations:
    progress = Progress(
        OperationPhase.FAILED,
        message="the instance on which it began was deleted; this is another one of its name",
        finished_at=to_text(now),
        reason=reasons.INSTANCE_REPLACED,
    )
    return _patch(result, operation, progress, now)


def _is_expired(operation: Operation, now: datetime) -> bool:
    not_after = from_text(operation.spec.not_after)
    begun = operation.status.phase is OperationPhase.RUNNING
    return not begun and not_after is not None and now > not_after


def _after_life(result: Operations, operation: Operation, now: datetime) -> Operations:
    """An ended Operation is removed once its time to live, if it has one, is over."""
    ttl_s = operation.spec.ttl_seconds_after_finished
    finished_at = from_text(operation.status.finished_at)
    if ttl_s is None or finished_at is None or operation.metadata.deletion_timestamp is not None:
        return result
    ends_at = after(finished_at, ttl_s)
    if now >= ends_at:
        return replace(result, expired=(*result.expired, operation.metadata.name))
    return _wake(result, ends_at)


def _wait(
    result: Operations, operation: Operation, active: Operation | None, now: datetime
) -> Operations:
    """Not its turn, or too late for it."""
    if _is_expired(operation, now):
        progress = Progress(
            OperationPhase.EXPIRED,
            message=f"it was not begun by {operation.spec.not_after}",
            finished_at=to_text(now),
        )
        return _patch(result, operation, progress, now)
    ahead = active.metadata.name if active is not None else "another Operation"
    result = _patch(
        result, operation, Progress(OperationPhase.NEW, message=f"waits for {ahead}"), now
    )
    not_after = from_text(operation.spec.not_after)
    return _wake(result, after(not_after, 1.0)) if not_after is not None else result


def _advance(
    result: Operations, world: World, operation: Operation, view: AgentView, pod: PodVerdict
) -> Operations:
    started_at = from_text(operation.status.started_at)
    begins = operation.status.phase is not OperationPhase.RUNNING or started_at is None
    if begins or started_at is None:
        started_at = world.now
    deadline = from_text(operation.status.deadline) if not begins else None
    if deadline is None:
        deadline = after(started_at, DEADLINE_S[operation.spec.type])
    turn = _Turn(world, operation, view, pod, started_at, begins)
    move = _MOVES[operation.spec.type](turn)
    running = Progress(
        OperationPhase.RUNNING,
        step=move.step,
        message=move.message,
        started_at=to_text(started_at),
        deadline=to_text(deadline),
        instance_uid=world.instance.metadata.uid,
        amount=move.amount,
    )
    if world.now >= deadline and not move.done and move.failed is None:
        late = f"given up after its deadline: {move.message}"
        failed = replace(
            running, phase=OperationPhase.FAILED, message=late, finished_at=to_text(world.now)
        )
        return _patch(result, operation, failed, world.now)
    if move.failed is not None:
        failed = replace(
            running,
            phase=OperationPhase.FAILED,
            reason=move.failed,
            finished_at=to_text(world.now),
        )
        return _patch(result, operation, failed, world.now)
    if not move.done:
        result = _patch(result, operation, running, world.now)
    result = replace(result, calls=move.calls, deletes=move.deletes)
    if move.done:
        completed = replace(running, phase=OperationPhase.COMPLETED, finished_at=to_text(world.now))
        return _patch(result, operation, completed, world.now, after_calls=bool(move.calls))
    result = replace(
        result,
        current=_in_progress(operation, running),
        restarting=operation.spec.type is OperationType.RESTART,
    )
    return _wake(result, deadline if move.look_s is None else after(world.now, move.look_s))


def _in_progress(operation: Operation, progress: Progress) -> OperationInProgress:
    """What the instance's status shows of the running Operation."""
    return OperationInProgress(
        name=operation.metadata.name,
        type=operation.spec.type.value,
        step=progress.step or "",
        started_at=progress.started_at or "",
        deadline=progress.deadline or "",
    )


@dataclass(frozen=True)
class _Turn:
    """What the step of the Operation whose turn it is depends on."""

    world: World
    operation: Operation
    view: AgentView
    pod: PodVerdict
    started_at: datetime
    begins: bool


@dataclass(frozen=True)
class _Move:
    """What the step does."""

    step: str
    message: str
    done: bool = False
    failed: str | None = None  # the reason, in one word
    calls: tuple[EngineCall | PutTask | CancelTask, ...] = ()
    deletes: tuple[Delete, ...] = ()
    amount: BackupProgress | None = None
    look_s: float | None = None  # when there is more to tell


def _restart(turn: _Turn) -> _Move:
    """A new engine process; a new pod where the template is outdated or the pod does not run."""
    if turn.begins:
        needs_pod = turn.pod.outdated is True or crash_loops(
            turn.world.pod.database if turn.world.pod else None
        )
        step = STEP_POD if needs_pod else STEP_ENGINE
    else:
        step = turn.operation.status.step or STEP_ENGINE
    return _replace_pod(turn) if step == STEP_POD else _restart_engine(turn)


def _restart_engine(turn: _Turn) -> _Move:
    uid, engine = turn.operation.metadata.uid, turn.view.live.engine if turn.view.live else None
    if engine is None:
        return _Move(
            STEP_ENGINE,
            "the agent cannot be reached; it is asked as soon as it answers "
            f"(to force a restart, delete the pod {turn.world.instance.metadata.name}-0)",
        )
    if engine.restarted_for != uid:
        call = EngineCall(EngineAction.RESTART, token=uid)
        return _Move(STEP_ENGINE, "the engine is being restarted", calls=(call,))
    if not turn.view.engine_answers:
        return _Move(STEP_ENGINE, f"the engine was restarted and is {engine.state.value}")
    return _Move(STEP_ENGINE, "the engine was restarted and answers", done=True)


def _replace_pod(turn: _Turn) -> _Move:
    """The pod is deleted once the StatefulSet would make the wanted one; done when that serves."""
    world, pod = turn.world, turn.world.pod
    if not volume_allows_restart(world):
        return _Move(STEP_POD, "the pod is not touched: its volume is gone or being deleted")
    if pod is None or pod.deleting:
        return _Move(STEP_POD, "the pod is being replaced")
    if turn.pod.outdated is True and not turn.pod.settled:
        return _Move(STEP_POD, "waits until the StatefulSet has the new template")
    if turn.pod.outdated is True or (_is_former(pod, turn) and turn.pod.runs is False):
        why = f"Operation {turn.operation.metadata.name} restarts the instance"
        delete = Delete("Pod", pod.name, pod.uid, why=why)
        return _Move(STEP_POD, "the pod is being replaced", deletes=(delete,))
    if not turn.view.engine_answers:
        return _Move(STEP_POD, "the new pod is there; its engine does not answer yet")
    return _Move(STEP_POD, "the pod was replaced and its engine answers", done=True)


def _is_former(pod: PodFact, turn: _Turn) -> bool:
    """Whether the pod was there before the Operation began (times are whole seconds)."""
    return pod.created_at is None or pod.created_at < turn.started_at


def _reset(turn: _Turn) -> _Move:
    """Forget crashes and back-offs: the launcher's by a call, kubelet's by a new pod."""
    world, pod = turn.world, turn.world.pod
    stuck = pod is not None and (
        crash_loops(pod.database) or (turn.pod.trouble is not None and turn.pod.runs is False)
    )
    if pod is not None and stuck and not pod.deleting and volume_allows_restart(world):
        if _is_former(pod, turn):
            why = f"Operation {turn.operation.metadata.name} clears the back-off"
            delete = Delete("Pod", pod.name, pod.uid, why=why)
            return _Move(STEP_RESET, "the pod is being replaced", deletes=(delete,))
        return _Move(STEP_RESET, "the pod was replaced", done=True)
    if turn.view.live is None:
        return _Move(STEP_RESET, "waits for the agent")
    call = EngineCall(EngineAction.RESET, token=turn.operation.metadata.uid)
    # The first plan starts the clock, the second one ends it: a call that fails has a deadline.
    text = "errors and back-offs are being cleared" if turn.begins else "errors are cleared"
    return _Move(STEP_RESET, text, done=not turn.begins, calls=(call,))


def _load(turn: _Turn) -> _Move:
    """A dump into the instance that serves."""
    loading = load_databases(turn.world, turn.operation, turn.view)
    calls = (loading.call,) if loading.call is not None else ()
    return _Move(
        STEP_LOAD,
        loading.message,
        done=loading.done,
        failed=loading.failed,
        calls=calls,
        amount=loading.progress,
        look_s=loading.look_s,
    )


_MOVES: Final[Mapping[OperationType, Callable[[_Turn], _Move]]] = {
    OperationType.RESTART: _restart,
    OperationType.RESET_STATUS: _reset,
    OperationType.RESTORE_DATABASES: _load,
}


def _patch(
    result: Operations,
    operation: Operation,
    progress: Progress,
    now: datetime,
    *,
    after_calls: bool = False,
) -> Operations:
    """Adds the patch of the Operation's status, if it says anything new."""
    wanted = wanted_status(operation, progress, now)
    if wanted == present_status(operation):
        return result
    patch = OperationStatusPatch(operation.metadata.name, wanted, after_calls=after_calls)
    return replace(result, patches=(*result.patches, patch))


def _wake(result: Operations, moment: datetime) -> Operations:
    return replace(result, wake_at=(*result.wake_at, moment))
