"""Events from the difference between two statuses: one per transition, none while nothing moves.

Pure. A restart of the engine that nobody asked for shows as a higher count in status, which is
where the last count that was announced is kept.
"""

from coffer_common.resources.base import Condition
from coffer_common.resources.instance_status import InstanceStatus, Phase
from coffer_common.resources.operation import OperationPhase
from coffer_operator.plan import reasons
from coffer_operator.plan.conditions import by_type
from coffer_operator.plan.finding import Truth
from coffer_operator.plan.model import EventNote, OperationStatusPatch

_GOOD_OPERATIONS = frozenset({OperationPhase.RUNNING, OperationPhase.COMPLETED})

_REJECTED = {
    reasons.REFUSED: reasons.CONFIGURATION_REFUSED,
    reasons.ROLLED_BACK: reasons.CONFIGURATION_ROLLED_BACK,
}
_CRASHES = frozenset({reasons.ENGINE_CRASHED, reasons.ENGINE_CRASH_LOOP})
_OF_A_CRASH = _CRASHES | {reasons.ENGINE_STARTING, reasons.RECOVERED}

_ASKED_FOR = frozenset({reasons.RESTARTING, reasons.ACCOUNTS_PENDING})


def instance_events(former: InstanceStatus, wanted: InstanceStatus) -> tuple[EventNote, ...]:
    """What happened to an instance between two statuses."""
    before, now = by_type(former.conditions), by_type(wanted.conditions)
    notes = [
        *_stalled(before.get("Stalled"), now.get("Stalled")),
        *_ready_and_engine(former, wanted, before.get("Ready"), now.get("Ready")),
        *_configuration(former, wanted),
    ]
    volume_was, volume_is = before.get("VolumeHealthy"), now.get("VolumeHealthy")
    turned_bad = volume_is is not None and volume_is.status == Truth.FALSE
    if turned_bad and volume_is is not None and not _same(volume_was, volume_is):
        stalled = now.get("Stalled")
        if stalled is None or stalled.reason != volume_is.reason:
            notes.append(EventNote(volume_is.reason, volume_is.message, warning=True))
    healthy = now.get("BackupHealthy")
    unsafe = healthy is not None and healthy.status == Truth.FALSE
    if unsafe and healthy is not None and not _same(before.get("BackupHealthy"), healthy):
        notes.append(EventNote(healthy.reason, healthy.message, warning=True))
    required = now.get("RestartRequired")
    if required is not None and "RestartRequired" not in before:
        notes.append(EventNote("RestartRequired", required.message))
    return tuple({note.reason: note for note in reversed(notes)}.values())[::-1]


def operation_events(
    patches: tuple[OperationStatusPatch, ...], former: dict[str, OperationPhase | None]
) -> tuple[EventNote, ...]:
    """What happened to Operations; `former` has their phases by name."""
    notes = []
    for patch in patches:
        phase = OperationPhase(patch.status["phase"])
        if phase is former.get(patch.name) or phase is OperationPhase.NEW:
            continue
        notes.append(
            EventNote(
                phase.value,
                str(patch.status.get("message", "")),
                warning=phase not in _GOOD_OPERATIONS,
                operation=patch.name,
            )
        )
    return tuple(notes)


def _same(one: Condition | None, other: Condition) -> bool:
    return one is not None and one.status == other.status and one.reason == other.reason


def _stalled(before: Condition | None, now: Condition | None) -> list[EventNote]:
    if now is None or _same(before, now):
        return []
    return [EventNote(now.reason, now.message, warning=True)]


def _ready(
    former: InstanceStatus, before: Condition | None, now: Condition | None
) -> list[EventNote]:
    if now is None:
        return []
    was_ready = before is not None and before.status == Truth.TRUE
    if now.status == Truth.TRUE and not was_ready:
        first = former.phase in (None, Phase.BUILDING)
        reason = reasons.READY if first else reasons.RECOVERED
        return [EventNote(reason, now.message)]
    if was_ready and now.status != Truth.TRUE:
        warning = now.reason not in _ASKED_FOR
        return [EventNote(now.reason, now.message, warning=warning)]
    return []


def _ready_and_engine(
    former: InstanceStatus, wanted: InstanceStatus, before: Condition | None, now: Condition | None
) -> list[EventNote]:
    """A crash is told once, and its end once, whichever of its signs was seen first."""
    ready, engine = _ready(former, before, now), _engine(former, wanted)
    if not engine:
        return ready
    if before is not None and before.status != Truth.TRUE and before.reason in _CRASHES:
        return ready  # it was told when the engine ceased to answer
    return [*(note for note in ready if note.reason not in _OF_A_CRASH), *engine]


def _configuration(former: InstanceStatus, wanted: InstanceStatus) -> list[EventNote]:
    """What became of the values of parameters."""
    was = by_type(former.conditions).get("ConfigurationApplied")
    now = by_type(wanted.conditions).get("ConfigurationApplied")
    notes = []
    if was is not None and now is not None and was.reason != now.reason:
        if now.reason == reasons.APPLIED and was.status == Truth.FALSE:
            notes.append(EventNote(reasons.CONFIGURATION_APPLIED, now.message))
        elif now.reason in _REJECTED:
            notes.append(EventNote(_REJECTED[now.reason], now.message, warning=True))
    drift = wanted.configuration.drift if wanted.configuration is not None else None
    if drift is not None and drift != (former.configuration and former.configuration.drift):
        notes.append(EventNote(reasons.CONFIGURATION_DRIFT, drift, warning=True))
    return notes


def _engine(former: InstanceStatus, wanted: InstanceStatus) -> list[EventNote]:
    known = former.engine.restarts if former.engine else 0
    engine = wanted.engine
    if engine is None or engine.restarts <= known:
        return []
    how = f" ({engine.last_exit})" if engine.last_exit else ""
    times = f"; {engine.restarts} times in this pod" if engine.restarts > 1 else ""
    message = f"the engine died{how} and was started again{times}"
    return [EventNote(reasons.ENGINE_RESTARTED, message, warning=True)]
