"""The parameters of one instance's engine: what is wanted, what is, and whose turn it is.

Pure. What the agent cannot be asked about stays as it was reported last; nothing is sent to an
agent that does not vouch for the volume, for it keeps the request there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from coffer_common.errors import UserError
from coffer_common.resources.base import Condition
from coffer_common.resources.catalogue import DatastoreVersion
from coffer_common.resources.instance_status import ConfigurationReport
from coffer_common.wire import ConfigurationRequest, ConfigurationStatus, RejectionCause
from coffer_operator.plan import reasons
from coffer_operator.plan.agent import AgentView
from coffer_operator.plan.finding import Finding, Severity, Truth
from coffer_operator.plan.known import Known
from coffer_operator.plan.model import PutConfiguration
from coffer_operator.plan.rollout import (
    DEFAULT_MAX_CONCURRENT,
    Rollout,
    Stage,
    is_live,
    roll_out,
)
from coffer_operator.plan.values import Wanted, is_bare, wanted_of, wanted_port
from coffer_operator.plan.wording import one_line, some
from coffer_operator.plan.world import Member, World

TURN_S: Final = 30.0  # whose turn it is, is woken at once; in case that was lost
_MAX_DRIFT: Final = 1024
_OF_THE_SPEC: Final = frozenset({reasons.CONFIGURATION_NOT_FOUND, reasons.CONFIGURATION_MISMATCH})


@dataclass(frozen=True)
class Applied:
    """Status, reason and message of the condition ConfigurationApplied."""

    truth: Truth
    reason: str
    message: str


@dataclass(frozen=True)
class Configured:
    """What was found out.

    `request`: None where it cannot be told. `error`: why; it holds back an instance that was not
    built yet. `mounted`: what a new instance starts with. `put`: the call to make now. `port`: of
    the running engine as far as is known. `applied`: None: the former condition stays.
    `cohort`: those of the rollout, this instance among them; `stopped`: it has failed.
    """

    request: ConfigurationRequest | None = None
    error: UserError | None = None
    mounted: ConfigurationRequest | None = None
    put: PutConfiguration | None = None
    port: int | None = None
    applied: Applied | None = None
    report: ConfigurationReport | None = None
    cohort: tuple[Member, ...] = ()
    max_concurrent: int = DEFAULT_MAX_CONCURRENT
    stage: Stage = Stage.UNREACHABLE
    stopped: bool = False
    turn_in_s: float | None = None

    @property
    def pending(self) -> tuple[str, ...]:
        """Parameters that take effect at the next restart, as reported last."""
        return self.report.pending_restart if self.report is not None else ()

    @property
    def finding(self) -> Finding | None:
        """What a person must mend in the instance's own spec; what runs goes on."""
        if self.error is None or self.error.reason not in _OF_THE_SPEC:
            return None
        return Finding(Severity.STALLED, self.error.reason, self.error.message)

    @property
    def is_at_work(self) -> bool:
        """Whether the agent has the values, or gets them now, and is not done with them."""
        return self.put is not None or self.stage is Stage.RUNNING

    @property
    def is_on_its_way(self) -> bool:
        """Whether other values than those the agent has worked off are still to come."""
        return self.stage in (Stage.RUNNING, Stage.WAITING)

    @property
    def change(self) -> str:
        """What a restart would bring into force."""
        return self.request.hash if self.request is not None and self.pending else ""


def judge_configuration(
    world: World,
    known: Known,
    version: DatastoreVersion | None,
    view: AgentView,
    *,
    vouched: bool,
    built: bool,
    former: Mapping[str, Condition],
) -> Configured:
    """The verdict.

    `vouched`: the agent's word that the volume is the right one; `former`: the conditions by type.
    """
    said = view.last.configuration if view.last is not None else None
    if version is None:
        return Configured(report=_report(world, None, said))
    try:
        wanted = wanted_of(world, version)
    except UserError as error:
        return Configured(
            error=error,
            port=_port(world, None, version, said, built),
            applied=Applied(Truth.FALSE, _reason(error), _keeps(error, built)),
            report=_report(world, None, said),
        )
    request = wanted.request
    cohort = _cohort(world, known, version, view, vouched=vouched)
    limit = _max_concurrent(world)
    rollout = roll_out(cohort, request, limit, by_failing=world.failure is not None)
    me = _me(world)
    stage = rollout.stages[me]
    puts = me in rollout.turn
    waits = stage is Stage.WAITING and not rollout.failed and not puts
    found = Configured(
        request=request,
        mounted=None if built or is_bare(request) or (said and said.accepted) else request,
        put=PutConfiguration(request) if puts else None,
        port=_port(world, request, version, said, built),
        report=_report(world, request, said),
        cohort=cohort,
        max_concurrent=limit,
        stage=stage,
        stopped=bool(rollout.failed),
        turn_in_s=TURN_S if waits else None,
    )
    return replace(found, applied=_applied(wanted, found, rollout, view, former))


def _me(world: World) -> tuple[str, str]:
    metadata = world.instance.metadata
    return metadata.namespace or "default", metadata.name


def _cohort(
    world: World, known: Known, version: DatastoreVersion, view: AgentView, *, vouched: bool
) -> tuple[Member, ...]:
    """Those of this version, with this instance as this very World has it."""
    namespace, name = me = _me(world)
    others = (
        member
        for member in world.cohort
        if (member.namespace, member.name) != me
        and member.version_name in (None, version.metadata.name)
    )
    own = Member(
        namespace=namespace,
        name=name,
        role=known.role,
        version_name=version.metadata.name,
        configuration=view.last.configuration if view.last is not None else None,
        reachable=view.live is not None,
        held=not vouched,
        failing=world.failure is not None,
    )
    return (*others, own)


def _max_concurrent(world: World) -> int:
    group = world.configuration_group
    if world.instance.spec.configuration_ref is None or group is None:
        return DEFAULT_MAX_CONCURRENT
    return group.spec.rollout.max_concurrent


def _port(
    world: World,
    request: ConfigurationRequest | None,
    version: DatastoreVersion,
    said: ConfigurationStatus | None,
    built: bool,
) -> int:
    """What the engine was started with; while nobody can say, what it was told to be."""
    if said is not None and said.port is not None:
        return said.port
    endpoints = world.instance.status.endpoints
    if built and endpoints is not None:
        return endpoints.port
    return wanted_port(request, version)


def _report(
    world: World, request: ConfigurationRequest | None, said: ConfigurationStatus | None
) -> ConfigurationReport | None:
    """What status says: of the agent's last answer, or as it was."""
    former = world.instance.status.configuration
    if said is None:
        return former
    group = former.group if former is not None and former.hash == said.live else None
    if request is not None and is_live(said, request):
        group = request.group
    drift = former.drift if former is not None else None
    if said.drift is not None:
        what = said.drift
        text = f"{what.name} was {what.found}, put back to {what.restored} at {what.at}"
        if what.others:
            text += f", and with it {some(what.others)}"
        drift = one_line(text)[:_MAX_DRIFT]
    report = ConfigurationReport(
        group=group, hash=said.live, pending_restart=said.pending_restart, drift=drift
    )
    return report if report != ConfigurationReport() else None


# --- the condition -------------------------------------------------------------------------------
def _reason(error: UserError) -> str:
    return error.reason if error.reason in _OF_THE_SPEC else reasons.CONFIGURATION_INVALID


def _keeps(error: UserError, built: bool) -> str:
    return f"{error.message} (the former values run on)" if built else error.message


def _applied(
    wanted: Wanted,
    found: Configured,
    rollout: Rollout,
    view: AgentView,
    former: Mapping[str, Condition],
) -> Applied | None:
    if wanted.invalid is not None:
        text = f"{wanted.invalid} (the last valid values are used)"
        return Applied(Truth.FALSE, reasons.CONFIGURATION_INVALID, text)
    said = view.live.configuration if view.live is not None else None
    if said is not None and said.hindered is not None:
        text = one_line(f"the values are not in force yet, and tried on: {said.hindered}")
        return Applied(Truth.FALSE, reasons.APPLYING, text)
    if found.stage is Stage.UNREACHABLE:
        return _unreachable(view, former)
    if found.stage is Stage.FAILED:
        return _failed(view)
    if found.stage is Stage.DONE:
        return _done(wanted.request, found.pending)
    return _on_its_way(found, rollout)


def _on_its_way(found: Configured, rollout: Rollout) -> Applied:
    if found.stage is Stage.RUNNING or found.put is not None:
        return Applied(Truth.FALSE, reasons.APPLYING, "the values are being applied")
    if rollout.failed:
        names = some([member.name for member in rollout.failed])
        return Applied(
            Truth.FALSE,
            reasons.ROLLOUT_STOPPED,
            f"{names} did not take the values, so nobody else gets them; edit them, or run a "
            f"ResetStatus operation on {names}",
        )
    return Applied(
        Truth.FALSE, reasons.WAITING_FOR_TURN, "waits until others have applied the values"
    )


def _unreachable(view: AgentView, former: Mapping[str, Condition]) -> Applied | None:
    """Not asked yet is no news; an agent that does not answer is."""
    if view.live is None and view.error is None and "ConfigurationApplied" in former:
        return None
    if view.live is not None and view.live.configuration is not None:
        message = "waits for the agent's word on the volume"
    elif view.live is not None:
        message = "the agent does not say what became of the values"
    elif view.error is not None:
        message = one_line(f"the agent cannot be reached ({view.error}); it gets them when it is")
    else:
        message = "the agent has not answered yet"
    return Applied(Truth.UNKNOWN, reasons.AGENT_UNREACHABLE, message)


def _failed(view: AgentView) -> Applied:
    said = view.last.configuration if view.last is not None else None
    rejected = said.rejected if said is not None else None
    why = one_line(rejected.message) if rejected is not None else ""
    way_out = "edit the values, or run a ResetStatus operation to try them again"
    if rejected is not None and rejected.cause is RejectionCause.DID_NOT_START:
        text = f"the engine did not start with the values, so the former ones run: {why}; {way_out}"
        return Applied(Truth.FALSE, reasons.ROLLED_BACK, text)
    text = f"the engine refused the values, so the former ones run: {why}; {way_out}"
    return Applied(Truth.FALSE, reasons.REFUSED, text)


def _done(request: ConfigurationRequest, pending: tuple[str, ...]) -> Applied:
    if pending:
        text = f"take effect at the next restart: {', '.join(pending)}"
        return Applied(Truth.FALSE, reasons.PENDING_RESTART, text)
    nothing = "no values are set, so those of the template count"
    message = nothing if is_bare(request) else "the values are in force"
    return Applied(Truth.TRUE, reasons.APPLIED, message)
