"""plan_instance: from the World of one instance to what is to be done now.

Pure and level-triggered: every decision is taken from the World alone, every plan may be carried
out again, and a converged World gives a plan that writes nothing. Deleting an instance needs no
plan: owner references take what goes with it, and what has none stays.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from coffer_common.errors import UserError
from coffer_common.resources.instance_status import InstanceStatus, Phase
from coffer_common.wire import EngineAction
from coffer_operator.build.identity import Blueprint, identify
from coffer_operator.build.pod import pod_template, template_hash
from coffer_operator.plan import reasons
from coffer_operator.plan.accounts import Accounts, plan_accounts
from coffer_operator.plan.addresses import address_is_served, plan_addresses
from coffer_operator.plan.agent import AgentView, view_agent
from coffer_operator.plan.auto_restart import AutoRestart, plan_auto_restart
from coffer_operator.plan.backup_health import BackedUp, judge_backups
from coffer_operator.plan.certificate import plan_certificate
from coffer_operator.plan.clock import after
from coffer_operator.plan.conditions import Conditions, by_type
from coffer_operator.plan.configured import Configured, judge_configuration
from coffer_operator.plan.events import instance_events, operation_events
from coffer_operator.plan.finding import Finding, Severity, Truth
from coffer_operator.plan.known import Known, settle
from coffer_operator.plan.model import (
    Annotate,
    Apply,
    Call,
    CancelTask,
    Delete,
    EngineCall,
    IssueCertificate,
    Plan,
    PutConfiguration,
    PutTask,
)
from coffer_operator.plan.objects import (
    annotate_volume,
    apply_children,
    apply_volume,
    former_objects,
    taken_name,
)
from coffer_operator.plan.operations import Operations, plan_operations, wake_after_s
from coffer_operator.plan.pod import (
    PodVerdict,
    delete_outdated,
    judge_pod,
    volume_allows_restart,
)
from coffer_operator.plan.restore import Restore, judge_restore
from coffer_operator.plan.serving import Serving, judge_serving
from coffer_operator.plan.status import (
    Findings,
    as_api,
    progress_deadline,
    wanted_status,
    was_built,
)
from coffer_operator.plan.target import Target, aim
from coffer_operator.plan.volume import VolumeVerdict, judge_volume
from coffer_operator.plan.world import World

_AT_ONCE_S: Final = 0.001  # not 0, which is easily taken for no time at all
# objects that are not watched:
_TAKEN_S: Final = 30.0  # whether a name that another's object had is free again
_FORMER_S: Final = 1.0  # whether garbage collection has taken a namesake's Secret


@dataclass(frozen=True)
class _View:
    """What was found out about the World, before anything is decided."""

    known: Known
    agent: AgentView
    volume: VolumeVerdict
    target: Target
    errors: tuple[UserError, ...]
    former: Finding | None  # objects of a deleted namesake are still there
    pod: PodVerdict
    serving: Serving
    configured: Configured
    restore: Restore

    @property
    def blueprint(self) -> Blueprint | None:
        return self.target.blueprint

    @property
    def may_apply(self) -> bool:
        return not self.errors and not self.volume.hold and self.former is None


def plan_instance(world: World) -> Plan:
    """What to do for the instance now. Never raises, whatever the World is."""
    if world.instance.metadata.deletion_timestamp is not None or world.namespace_terminating:
        return _leave(world)
    view = _look(world)
    operations = plan_operations(world, view.agent, view.pod)
    accounts = _accounts(world, view)
    obstacle = _obstacle(world, view, accounts)
    backed_up = judge_backups(world)
    found = Findings(
        known=view.known,
        target=view.target,
        volume=view.volume,
        serving=view.serving,
        obstacle=obstacle,
        outdated=_is_outdated(view.pod),
        configured=view.configured,
        restore=view.restore.report,
        bindings=accounts.bindings if accounts else world.instance.status.binding_secrets,
        operation=operations.current,
        restarting=operations.restarting,
        backed_up=backed_up,
    )
    status = wanted_status(world, found, view.agent)
    certificate, renewal_in_s = _certificate(world, view)
    put = view.configured.put
    calls: tuple[Call, ...] = (
        *((put,) if put is not None else ()),
        *((view.restore.call,) if view.restore.call is not None else ()),
        *operations.calls,
        *(accounts.calls if accounts and view.may_apply else ()),
    )
    auto = _auto_restart(world, view)
    return Plan(
        deletes=_deletes(world, view, operations),
        certificate=certificate,
        apply=_apply(world, view),
        annotate=_annotate(world, view),
        slices=plan_addresses(world, view.agent, view.known.group, view.configured.port),
        calls=calls,
        status=status,
        operations=operations.patches,
        expired_operations=operations.expired,
        start_operation=auto.start,
        events=(
            *instance_events(world.instance.status, InstanceStatus.model_validate(status)),
            *operation_events(
                operations.patches,
                {o.metadata.name: o.status.phase for o in world.operations},
            ),
        ),
        requeue_after_s=_requeue(
            world,
            obstacle,
            calls,
            [*operations.wake_at, *_wake_at(world, view, auto, renewal_in_s, backed_up)],
        ),
    )


def _look(world: World) -> _View:
    """Everything that is judged, each part on its own."""
    known, agent = settle(world), view_agent(world)
    volume = judge_volume(world, known, agent)
    target = aim(world, known, volume.data_id)
    built, conditions = was_built(world), by_type(world.instance.status.conditions)
    configured = judge_configuration(
        world,
        known,
        target.version,
        agent,
        vouched=volume.record,
        built=built,
        former=conditions,
    )
    restore = judge_restore(world, known, target.version, agent)
    target = target.configured(configured.port, configured.mounted).restored_from(restore.path)
    identity = identify(
        world.instance.metadata, group=known.group, datastore=world.instance.spec.datastore.type
    )
    taken = taken_name(world, identity)
    wanted_hash = (
        template_hash(pod_template(target.blueprint)) if target.blueprint is not None else None
    )
    pod = judge_pod(world, wanted_hash)
    held_back = configured.error if not built else None
    return _View(
        known=known,
        agent=agent,
        volume=volume,
        target=target,
        errors=(*target.errors, *(e for e in (taken, held_back, restore.error) if e is not None)),
        former=former_objects(world, identity),
        pod=pod,
        serving=judge_serving(world, agent, pod, conditions),
        configured=configured,
        restore=restore,
    )


def _certificate(world: World, view: _View) -> tuple[IssueCertificate | None, float | None]:
    """Renewed for whatever runs, valid or not; made for nothing that is refused."""
    refused = view.errors and world.stateful_set is None
    return (None, None) if refused else plan_certificate(world)


def _accounts(world: World, view: _View) -> Accounts | None:
    if view.blueprint is None or not view.volume.record:
        return None
    return plan_accounts(world, view.blueprint, view.agent)


def _obstacle(world: World, view: _View, accounts: Accounts | None) -> Finding | None:
    """What keeps the instance from being Ready: the first of these, in this order."""
    if view.volume.finding is not None and view.volume.finding.severity is Severity.ERROR:
        return view.volume.finding
    if view.errors:
        first, more = view.errors[0], len(view.errors) - 1
        text = first.message + (f" (and {more} more)" if more else "")
        return Finding(Severity.STALLED, first.reason, text)
    if view.former is not None or view.volume.finding is not None:
        return view.former or view.volume.finding
    if world.failure is not None:
        severity = Severity.STALLED if world.failure.permanent else Severity.PROGRESS
        text = f"{world.failure.step}: {world.failure.message}"
        return Finding(severity, world.failure.reason, text)
    if view.restore.finding is not None or view.serving.finding.severity is not Severity.GOOD:
        return view.restore.finding or view.serving.finding
    return view.configured.finding or _last_steps(world, view, accounts)


def _last_steps(world: World, view: _View, accounts: Accounts | None) -> Finding | None:
    """What is left to do once the engine answers; what cannot be told counts only at first."""
    built = was_built(world)
    if accounts is None:
        if built:
            return None
        return Finding(
            Severity.PROGRESS, reasons.PREPARING, "waits for the agent's word on the volume"
        )
    if accounts.missing or (accounts.missing is None and not built):
        what = accounts.missing or "databases and users"
        return Finding(Severity.PROGRESS, reasons.ACCOUNTS_PENDING, f"to be set: {what}")
    if not built and view.configured.is_at_work:
        return Finding(
            Severity.PROGRESS,
            reasons.CONFIGURATION_PENDING,
            "the engine answers; its values are being applied",
        )
    served = address_is_served(world)
    if served is False or (served is None and not built):
        return Finding(
            Severity.PROGRESS,
            reasons.ADDRESS_PENDING,
            "the engine answers; its address is being published",
        )
    return None


def _apply(world: World, view: _View) -> tuple[Apply, ...]:
    """All that is to be there; execute knows the order."""
    if view.blueprint is None or not view.may_apply:
        return ()
    volume = (apply_volume(view.blueprint),) if view.volume.make else ()
    return (*volume, *apply_children(world, view.blueprint))


def _annotate(world: World, view: _View) -> tuple[Annotate, ...]:
    if view.volume.hold or view.former is not None:
        return ()
    data_id = view.volume.data_id if view.volume.record else None
    return annotate_volume(world, view.blueprint, data_id)


def _deletes(world: World, view: _View, operations: Operations) -> tuple[Delete, ...]:
    """At most one pod; and, of an instance refused at birth, what would start work."""
    if _is_refused_at_birth(world, view):
        child = world.children.get(("StatefulSet", world.instance.metadata.name))
        if child is not None and child.ours and not child.deleting:
            why = "the instance is refused before it held any data"
            return (Delete("StatefulSet", child.name, child.uid, why=why),)
    if operations.deletes:
        return operations.deletes
    if not view.may_apply or not volume_allows_restart(world):
        return ()
    outdated = delete_outdated(world, view.pod)
    return (outdated,) if outdated is not None else ()


def _is_refused_at_birth(world: World, view: _View) -> bool:
    """NameTaken before there are data; an edit that turns invalid leaves what was valid."""
    taken = any(error.reason == reasons.NAME_TAKEN for error in view.errors)
    data = view.agent.data
    return taken and view.known.data_id is None and (data is None or data.data_id is None)


def _auto_restart(world: World, view: _View) -> AutoRestart:
    """In a maintenance window, once whatever is to be restarted for has arrived."""
    outdated, configured = _is_outdated(view.pod) is True, view.configured
    if not (outdated or configured.pending) or not view.agent.engine_answers:
        return AutoRestart()
    if configured.is_on_its_way or (configured.pending and configured.stopped):
        return AutoRestart()
    if view.blueprint is None or not view.may_apply or not volume_allows_restart(world):
        return AutoRestart()
    template = template_hash(pod_template(view.blueprint)) if outdated else ""
    return plan_auto_restart(
        world,
        view.blueprint.identity,
        f"{configured.change} {template}",
        configured.cohort,
        configured.max_concurrent,
    )


def _is_outdated(pod: PodVerdict) -> bool | None:
    """True for a pod that runs and is outdated; None where that cannot be told."""
    if pod.outdated is None or pod.runs is None:
        return None
    return pod.outdated and pod.runs


def _requeue(
    world: World, obstacle: Finding | None, calls: tuple[Call, ...], moments: list[datetime]
) -> float | None:
    """Deadlines, at once after calls that nothing else may announce, a look at names taken."""
    if any(_goes_unseen(call) for call in calls):
        return _AT_ONCE_S
    if obstacle is not None and obstacle.severity in (Severity.PROGRESS, Severity.UNKNOWN):
        deadline = progress_deadline(world)
        if deadline > world.now:
            moments.append(deadline)
    if obstacle is not None and obstacle.reason == reasons.NAME_TAKEN:
        moments.append(after(world.now, _TAKEN_S))
    if obstacle is not None and obstacle.reason == reasons.FORMER_OBJECTS:
        moments.append(after(world.now, _FORMER_S))
    return wake_after_s(moments, world.now)


def _wake_at(
    world: World,
    view: _View,
    auto: AutoRestart,
    renewal_in_s: float | None,
    backed_up: BackedUp,
) -> list[datetime]:
    """When the certificate, the turn in a rollout and the maintenance window come."""
    waits_s = [s for s in (renewal_in_s, view.configured.turn_in_s) if s is not None]
    moments = [after(world.now, wait_s) for wait_s in waits_s]
    overdue = backed_up.health.wake_at if backed_up.health is not None else None
    more = (auto.wake_at, view.restore.wake_at, view.serving.wake_at, overdue)
    return [*moments, *(moment for moment in more if moment is not None)]


def _goes_unseen(call: Call) -> bool:
    """Whether the agent's status need not change by the call."""
    if isinstance(call, PutConfiguration | PutTask | CancelTask):
        return False
    return not isinstance(call, EngineCall) or call.action is EngineAction.RESET


def _leave(world: World) -> Plan:
    """An instance under deletion: nothing is made, nothing is held back; its phase says so."""
    former = world.instance.status
    conditions = Conditions(
        by_type(former.conditions), world.instance.metadata.generation, world.now
    )
    message = "the instance is being deleted"
    conditions.add("Ready", Truth.FALSE, reasons.DELETING, message)
    for condition in former.conditions:
        if condition.type in ("Available", "VolumeHealthy"):
            conditions.add(condition.type, condition.status, condition.reason, condition.message)
    conditions.add("Reconciling", Truth.TRUE, reasons.DELETING, message)
    status = former.model_copy(
        update={
            "phase": Phase.DELETING,
            "observed_generation": world.instance.metadata.generation,
            "conditions": conditions.result(),
            "operation": None,
        }
    )
    return Plan(status=as_api(status))
