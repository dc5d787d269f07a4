"""The status of an instance from what the parts of the plan found. Pure.

Written so that an instance at which nothing changes has the same status byte for byte: no times
but those of transitions, no figure finer than a percent, and what cannot be told keeps its value.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from coffer_common import naming
from coffer_common.resources.base import Condition
from coffer_common.resources.instance_status import (
    BindingSecret,
    Endpoints,
    EngineReport,
    InstanceStatus,
    OperationInProgress,
    Phase,
    ResolvedDatastore,
    RestoreReport,
    VolumeStatus,
)
from coffer_common.wire import EngineState
from coffer_operator.build.identity import Blueprint
from coffer_operator.plan import reasons
from coffer_operator.plan.accounts import service_host
from coffer_operator.plan.agent import AgentView
from coffer_operator.plan.backup_health import BackedUp
from coffer_operator.plan.clock import after, from_text
from coffer_operator.plan.conditions import Conditions, by_type, since
from coffer_operator.plan.configured import Configured
from coffer_operator.plan.finding import Finding, Severity, Truth
from coffer_operator.plan.known import Known
from coffer_operator.plan.serving import Serving
from coffer_operator.plan.target import Target
from coffer_operator.plan.volume import VolumeVerdict, used_percent
from coffer_operator.plan.wording import some
from coffer_operator.plan.world import World

_NOT_IN_FORCE: Final = frozenset(
    {reasons.REFUSED, reasons.ROLLED_BACK, reasons.CONFIGURATION_INVALID}
)
_SERVES: Final = "the instance serves as it was asked to"
PROGRESS_DEADLINE_S: Final = 1800.0  # Trove's time for a guest to come up


@dataclass(frozen=True)
class Findings:
    """All that the status says.

    `obstacle`: what keeps the instance from being Ready, the gravest; None: nothing does.
    `outdated`: the pod runs and is not the wanted one; None: cannot tell, the former word counts.
    """

    known: Known
    target: Target
    volume: VolumeVerdict
    serving: Serving
    obstacle: Finding | None
    outdated: bool | None
    configured: Configured
    bindings: tuple[BindingSecret, ...]
    restore: RestoreReport | None
    operation: OperationInProgress | None
    restarting: bool
    backed_up: BackedUp


def was_built(world: World) -> bool:
    """Whether the instance has served before, so that it is not Building any more."""
    status = world.instance.status
    return status.data_id is not None and status.phase not in (None, Phase.BUILDING)


def progress_deadline(world: World) -> datetime:
    """Until when what is under way has time: counted from the pod, or from when Ready was lost."""
    ready = by_type(world.instance.status.conditions).get("Ready")
    begun = world.now
    if ready is not None and ready.status != Truth.TRUE:
        begun = since(ready, world.now)
    if world.pod is not None and world.pod.created_at is not None:
        begun = max(begun, world.pod.created_at)
    restore = world.instance.status.restore
    if restore is not None and restore.progress is not None:
        begun = max(begun, from_text(restore.progress.updated_at) or begun)
    return after(min(begun, world.now), PROGRESS_DEADLINE_S)


def wanted_status(world: World, found: Findings, view: AgentView) -> dict[str, Any]:
    """The whole status, as the API has it."""
    former = world.instance.status
    blueprint, version = found.target.blueprint, found.target.version
    identity = world.instance.metadata
    namespace = identity.namespace or "default"
    status = InstanceStatus(
        phase=_phase(world, found),
        observed_generation=identity.generation,
        conditions=_conditions(world, found, view),
        role=found.known.role if blueprint else former.role,
        group=found.known.group if blueprint else former.group,
        endpoints=Endpoints(
            host=service_host(naming.read_write_service(found.known.group), namespace),
            port=blueprint.service_port,
            read_only_host=service_host(naming.read_only_service(found.known.group), namespace),
        )
        if blueprint
        else former.endpoints,
        binding_secrets=found.bindings,
        datastore=ResolvedDatastore(
            type=version.spec.datastore, version=version.spec.version, name=version.metadata.name
        )
        if blueprint and version
        else former.datastore,
        volume=_volume(world, blueprint),
        data_id=found.volume.data_id if found.volume.record else former.data_id,
        engine=_engine(world, view),
        configuration=found.configured.report,
        operation=found.operation,
        restore=found.restore,
        last_backup=found.backed_up.last,
    )
    return as_api(status)


def as_api(status: InstanceStatus) -> dict[str, Any]:
    """A status as the API has it: no nulls, no empty lists."""
    content = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {key: value for key, value in content.items() if value != []}


def _is_late(world: World, finding: Finding) -> bool:
    if finding.reason == reasons.RESTORING:
        return False  # it has deadlines of its own
    waits = finding.severity in (Severity.PROGRESS, Severity.UNKNOWN)
    return waits and world.now >= progress_deadline(world)


def _phase(world: World, found: Findings) -> Phase:
    obstacle, built = found.obstacle, was_built(world)
    if obstacle is not None:
        if obstacle.severity is Severity.ERROR:
            return Phase.ERROR
        if found.restarting and built:
            return Phase.RESTARTING
        if not built:
            refused = obstacle.severity is Severity.STALLED and world.stateful_set is None
            late = obstacle.severity is Severity.PROGRESS and _is_late(world, obstacle)
            return Phase.ERROR if refused or late else Phase.BUILDING
    if found.restarting:
        return Phase.RESTARTING
    if found.backed_up.taking is not None:
        return Phase.BACKUP
    outdated, pending = _is_outdated(world, found), found.configured.pending
    return Phase.RESTART_REQUIRED if outdated or pending else Phase.ACTIVE


def _is_outdated(world: World, found: Findings) -> bool:
    if found.outdated is None:
        former = by_type(world.instance.status.conditions).get("RestartRequired")
        return (
            former is not None and former.status == Truth.TRUE and former.reason == reasons.OUTDATED
        )
    return found.outdated


def _restart_required(conditions: Conditions, world: World, found: Findings) -> None:
    """The condition, while there is something that only a restart brings."""
    awaited = _awaiting_restart(world, found)
    if not awaited:
        return
    maintenance = world.instance.spec.maintenance
    how = "run a Restart operation"
    if maintenance is not None and maintenance.auto_restart:
        how = "it is done in the maintenance window, or run a Restart operation"
    reason = reasons.OUTDATED if _is_outdated(world, found) else reasons.PENDING_RESTART
    text = f"a restart is needed for {' and '.join(awaited)}; {how}"
    conditions.add("RestartRequired", Truth.TRUE, reason, text)


def _serving_text(world: World, found: Findings) -> str:
    """What an instance that serves lacks of what it was asked for."""
    applied, awaited = found.configured.applied, _awaiting_restart(world, found)
    if applied is not None and applied.reason in _NOT_IN_FORCE:
        return f"it serves, without the values of its ConfigurationGroup: {applied.message}"
    return f"it serves; a restart is needed for {' and '.join(awaited)}" if awaited else _SERVES


def _awaiting_restart(world: World, found: Findings) -> list[str]:
    """What only a restart brings into force."""
    outdated, pending = _is_outdated(world, found), found.configured.pending
    changed = ["flavor, image or scheduling, changed since the pod was made"] if outdated else []
    return changed + ([f"the parameters {some(pending)}"] if pending else [])


def _configuration_applied(
    conditions: Conditions, found: Findings, former: Mapping[str, Condition]
) -> None:
    applied, last = found.configured.applied, former.get("ConfigurationApplied")
    if applied is not None:
        conditions.add("ConfigurationApplied", applied.truth, applied.reason, applied.message)
    elif last is not None:
        conditions.add("ConfigurationApplied", last.status, last.reason, last.message)


def _conditions(world: World, found: Findings, view: AgentView) -> tuple[Condition, ...]:
    former = by_type(world.instance.status.conditions)
    conditions = Conditions(former, world.instance.metadata.generation, world.now)
    _ready(conditions, world, found)
    conditions.add(
        "Available",
        found.serving.available,
        found.serving.finding.reason,
        found.serving.finding.message,
    )
    _volume_healthy(conditions, world, found, view, former)
    _configuration_applied(conditions, found, former)
    _restart_required(conditions, world, found)
    health = found.backed_up.health
    if health is not None:
        conditions.add("BackupHealthy", health.truth, health.reason, health.message)
    return conditions.result()


def _ready(conditions: Conditions, world: World, found: Findings) -> None:
    """Ready, and Reconciling or Stalled only while true (kstatus)."""
    obstacle = found.obstacle
    if obstacle is None and found.restarting:  # the Operation has a deadline of its own
        message = "a Restart operation runs"
        conditions.add("Ready", Truth.FALSE, reasons.RESTARTING, message)
        conditions.add("Reconciling", Truth.TRUE, reasons.RESTARTING, message)
        return
    if obstacle is None:
        conditions.add("Ready", Truth.TRUE, reasons.READY, _serving_text(world, found))
        return
    reason, message = obstacle.reason, obstacle.message
    late = _is_late(world, obstacle)
    if late:
        message = f"{message} (for more than {PROGRESS_DEADLINE_S / 60:.0f} minutes)"
    unknown = obstacle.severity is Severity.UNKNOWN
    conditions.add("Ready", Truth.UNKNOWN if unknown else Truth.FALSE, reason, message)
    if obstacle.severity in (Severity.STALLED, Severity.ERROR) or late:
        conditions.add("Stalled", Truth.TRUE, reason, message)
    else:
        conditions.add("Reconciling", Truth.TRUE, reason, message)


def _volume_healthy(
    conditions: Conditions,
    world: World,
    found: Findings,
    view: AgentView,
    former: Mapping[str, Condition],
) -> None:
    bad = found.volume.finding or found.volume.warning
    volume = world.volume
    name = naming.data_volume(world.instance.metadata.name)
    if bad is not None and bad.severity in (Severity.ERROR, Severity.STALLED):
        conditions.add("VolumeHealthy", Truth.FALSE, bad.reason, bad.message)
    elif volume is None or not volume.bound:
        said = "is not bound to a volume yet; its StorageClass may wait for the pod"
        conditions.add("VolumeHealthy", Truth.UNKNOWN, reasons.VOLUME_PENDING, f"{name} {said}")
    elif view.data is None and "VolumeHealthy" in former:
        # Nobody has looked into it since: what was last known stays.
        last = former["VolumeHealthy"]
        conditions.add("VolumeHealthy", last.status, last.reason, last.message)
    else:
        conditions.add("VolumeHealthy", Truth.TRUE, reasons.AS_WANTED, f"{name} is bound")


def _volume(world: World, blueprint: Blueprint | None) -> VolumeStatus | None:
    """Size and use. The bytes move only with the percent: an idle instance is silent."""
    former = world.instance.status.volume
    size = world.instance.spec.volume.size if blueprint else None
    if size is None:
        return former
    percent = used_percent(world)
    used_bytes = former.used_bytes if former else None
    if percent is not None and (former is None or former.used_percent != percent):
        used_bytes = world.agent.status.data.used_bytes if world.agent else used_bytes
    return VolumeStatus(size=size, used_bytes=used_bytes, used_percent=percent)


def _engine(world: World, view: AgentView) -> EngineReport | None:
    former = world.instance.status.engine
    if view.live is None or view.live.engine.state is EngineState.UNKNOWN:
        return former
    engine = view.live.engine
    version = engine.version or (former.version if former else None)
    return EngineReport(version=version, restarts=engine.restarts, last_exit=engine.last_exit)
