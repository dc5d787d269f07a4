"""Whether the database accepts connections: the condition Available, from agent and kubelet.

Pure. The agent's word counts first; while it is silent, kubelet's; and where neither can tell,
the answer is Unknown, which is no error.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from coffer_common.resources.base import Condition
from coffer_common.wire import EngineState, EngineStatus
from coffer_operator.plan import reasons
from coffer_operator.plan.agent import AgentView
from coffer_operator.plan.clock import after
from coffer_operator.plan.finding import Finding, Severity, Truth
from coffer_operator.plan.pod import PodVerdict, crash_loops
from coffer_operator.plan.wording import one_line
from coffer_operator.plan.world import ContainerFact, PodFact, World

STARTS_SLOWLY_S: Final = 60.0  # on its node; then kubelet's events are worth a look
_USUAL: Final = frozenset({"ContainerCreating", "PodInitializing"})


@dataclass(frozen=True)
class Serving:
    """Status of Available, and what it means for the instance; `wake_at`: it may change by then."""

    available: Truth
    finding: Finding
    wake_at: datetime | None = None


def judge_serving(
    world: World, view: AgentView, pod: PodVerdict, conditions: Mapping[str, Condition]
) -> Serving:
    """The verdict; `conditions` are the instance's present ones, by type."""
    if world.pod is None:
        return _no(Severity.PROGRESS, reasons.NO_POD, "the pod is not there yet")
    if view.live is not None and view.live.engine.state is not EngineState.UNKNOWN:
        if world.pod.deleting and not view.engine_answers:
            return _stopping()
        return _by_engine(view.live.engine)
    return _by_kubelet(world, world.pod, view, pod, conditions)


_NOT_SERVING: Final[Mapping[EngineState, tuple[Severity, str, str]]] = {
    EngineState.WAITING: (
        Severity.PROGRESS,
        reasons.PREPARING,
        "the data are laid out, or looked at, before the engine is started",
    ),
    EngineState.STARTING: (
        Severity.PROGRESS,
        reasons.ENGINE_STARTING,
        "the engine has been started and does not answer yet",
    ),
    EngineState.STOPPED: (
        Severity.PROGRESS,
        reasons.ENGINE_STOPPED,
        "the engine was stopped by request; a Restart operation starts it",
    ),
    EngineState.CRASHED: (
        Severity.PROGRESS,
        reasons.ENGINE_CRASHED,
        "the engine died and is being started again",
    ),
    EngineState.CRASH_LOOP: (
        Severity.ERROR,
        reasons.ENGINE_CRASH_LOOP,
        "the engine dies again and again; see the log of the container database, mend the cause, "
        "then run a ResetStatus operation",
    ),
}

_DIED: Final = frozenset({EngineState.CRASHED, EngineState.CRASH_LOOP})


def _by_engine(engine: EngineStatus) -> Serving:
    if engine.state is EngineState.RUNNING:
        return Serving(
            Truth.TRUE, Finding(Severity.GOOD, reasons.ANSWERS, "the engine answers queries")
        )
    if engine.state is EngineState.UNRESPONSIVE:
        return _unknown(
            reasons.ENGINE_UNRESPONSIVE,
            "the engine runs, but does not answer a query now; if that lasts, see its log and run "
            "a Restart operation",
        )
    severity, reason, message = _NOT_SERVING.get(
        engine.state, (Severity.UNKNOWN, reasons.LAUNCHER_UNREACHABLE, "the engine is not known of")
    )
    died = engine.state in _DIED and engine.last_exit  # then that says it all
    parts = (
        "" if died else engine.message,
        f"last exit: {engine.last_exit}" if engine.last_exit else "",
    )
    if engine.state is EngineState.STOPPED and engine.message:
        return _no(severity, reason, engine.message)  # on its way, and nobody asked for a rest
    details = "; ".join(part for part in parts if part)
    return _no(severity, reason, f"{message} ({' '.join(details.split())})" if details else message)


def _by_kubelet(
    world: World,
    pod: PodFact,
    view: AgentView,
    verdict: PodVerdict,
    conditions: Mapping[str, Condition],
) -> Serving:
    if verdict.runs is False:
        return _stopping() if pod.deleting else _not_running(pod, verdict, world.now)
    if world.node_ready is False:
        return _unknown(
            reasons.NODE_NOT_READY,
            f"the node {pod.node} of the pod does not report, so whether the database serves "
            "cannot be told; bring the node back, or delete it once it is surely off",
        )
    if pod.deleting:
        return _stopping()
    if view.live is not None:
        return _unknown(
            reasons.LAUNCHER_UNREACHABLE,
            "the agent cannot reach the launcher, so it cannot tell what the engine does",
        )
    if view.error is None and (first := _not_asked_yet(pod, conditions.get("Available"))):
        return first
    return _unknown(reasons.AGENT_UNREACHABLE, _silence(pod, view))


def _not_asked_yet(pod: PodFact, former: Condition | None) -> Serving | None:
    """No word from this pod's agent so far: the operator, or the pod, has just started."""
    if former is None or former.status == Truth.FALSE:
        return _no(Severity.PROGRESS, reasons.AGENT_PENDING, "waits for the agent's first answer")
    if former.status == Truth.TRUE and pod.ready:
        # Kubelet's probe has the agent's own word that the engine answers.
        return Serving(
            Truth.TRUE, Finding(Severity.GOOD, former.reason, former.message or former.reason)
        )
    return None


def _not_running(pod: PodFact, verdict: PodVerdict, now: datetime) -> Serving:
    if verdict.trouble is not None:
        return Serving(Truth.FALSE, verdict.trouble)
    database = pod.database
    if crash_loops(database):
        last = database.last_exit if database is not None else None
        return _no(
            Severity.ERROR,
            reasons.ENGINE_CRASH_LOOP,
            f"the container database ends again and again (last exit: {last or 'not known'}); see "
            "its log, mend the cause, then run a ResetStatus operation",
        )
    said = _waits_for(pod.guest) or _waits_for(database)
    if said:
        return _no(Severity.PROGRESS, reasons.POD_STARTING, f"the pod is being started ({said})")
    slow_at = after(pod.scheduled_at, STARTS_SLOWLY_S) if pod.scheduled_at is not None else None
    text = "the pod is being started"
    if slow_at is not None and slow_at <= now:
        text = (
            f"the pod takes long to start; kubectl describe pod {pod.name} tells what it waits "
            "for, such as a volume that cannot be mounted"
        )
    finding = Finding(Severity.PROGRESS, reasons.POD_STARTING, text)
    return Serving(Truth.FALSE, finding, slow_at if slow_at is not None and slow_at > now else None)


def _waits_for(container: ContainerFact | None) -> str | None:
    """Why kubelet does not start it, but for what is usual: each would be a write of its own."""
    if container is None or container.waiting_reason in (None, *_USUAL):
        return None
    if crash_loops(container) or not container.waiting_message:
        return container.waiting_reason
    return one_line(f"{container.waiting_reason}: {container.waiting_message}")


def _silence(pod: PodFact, view: AgentView) -> str:
    guest = pod.guest
    said = view.error
    if guest is not None and not guest.running:
        # Kubelet goes on to show the end of the former one while it cannot pull another image.
        how = guest.waiting_reason or guest.last_exit
        said = f"its container does not run: {how}" if how else "its container does not run"
        said = f"{said}; see kubectl describe pod {pod.name}"
    kubelet = "kubelet reports the pod ready" if pod.ready else "the pod is not ready"
    text = f"the agent cannot be reached ({said or 'no answer yet'}); {kubelet}, and the database "
    return " ".join((text + "goes on without the agent").split())


def _stopping() -> Serving:
    return _no(Severity.PROGRESS, reasons.POD_STOPPING, "the pod is being replaced")


def _no(severity: Severity, reason: str, message: str) -> Serving:
    return Serving(Truth.FALSE, Finding(severity, reason, message))


def _unknown(reason: str, message: str) -> Serving:
    return Serving(Truth.UNKNOWN, Finding(Severity.UNKNOWN, reason, message))
