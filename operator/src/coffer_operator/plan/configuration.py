"""ConfigurationGroups: whether one is valid, and what its status says of the attached instances.

Pure. A group hands nothing out: each attached instance's own plan does; see rollout.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic import ValidationError

from coffer_common import naming
from coffer_common.errors import UserError
from coffer_common.resources.base import Condition
from coffer_common.resources.configuration import (
    HISTORY_LENGTH,
    AttachedInstance,
    AttachedState,
    ConfigurationGroup,
    ConfigurationGroupSpec,
    ConfigurationGroupStatus,
    Revision,
)
from coffer_common.wire import ConfigurationRequest, ConfigurationStatus, RejectionCause
from coffer_operator.plan import reasons
from coffer_operator.plan.clock import to_text
from coffer_operator.plan.conditions import Conditions, by_type
from coffer_operator.plan.finding import Truth
from coffer_operator.plan.model import EventNote, GroupPlan
from coffer_operator.plan.rollout import Rollout, Stage, name_of, roll_out
from coffer_operator.plan.values import (
    check_values,
    group_version,
    mismatch,
    wanted_request,
)
from coffer_operator.plan.wording import malformed, one_line, some
from coffer_operator.plan.world import Catalogue, GroupWorld, Member

MAX_HISTORY_BYTES: Final = 256 * 1024  # of the values, apart from the newest ones


def validate_group(
    obj: Mapping[str, Any], catalogue: Catalogue, old: Mapping[str, Any] | None
) -> list[UserError]:
    """The errors of a group as the API has it; `old` is what it replaces, None on creation."""
    try:
        group = ConfigurationGroup.model_validate(obj)
    except ValidationError as error:
        return [malformed(error)]
    errors: list[UserError] = []
    if old is not None:
        try:
            before = ConfigurationGroup.model_validate(old)
        except ValidationError:
            before = None
        if before is not None:
            if _content(before.spec) == _content(group.spec):
                return []  # labels, finalizers and the like are never held back
            errors += _immutable(group.spec, before.spec)
    invalid = _error(group, catalogue)
    return errors or ([invalid] if invalid is not None else [])


def plan_configuration(world: GroupWorld) -> GroupPlan:
    """What to do for the group now. Never raises, whatever the GroupWorld is."""
    group, former = world.group, world.group.status
    error = _error(group, world.catalogue)
    entries, forbidden = _entries(world, error)
    attached = tuple(entry.attached for entry in entries)
    conditions = _conditions(world, error or forbidden, entries)
    history = former.history if error is not None else _history(world)
    status = ConfigurationGroupStatus(
        observed_generation=group.metadata.generation,
        conditions=conditions,
        attached=len(attached),
        applied=sum(one.state is AttachedState.APPLIED for one in attached),
        instances=attached,
        history=history,
    )
    return GroupPlan(
        status=_as_api(status),
        events=_events(by_type(former.conditions), by_type(conditions), len(attached)),
        wake=_wake(former.instances, entries),
    )


# --- validity ------------------------------------------------------------------------------------
def _error(group: ConfigurationGroup, catalogue: Catalogue) -> UserError | None:
    try:
        version = group_version(group, catalogue)
        check_values(group.spec.values, catalogue, version.metadata.name)
    except UserError as error:
        return error
    return None


def _content(spec: ConfigurationGroupSpec) -> str:
    """As text: 1, 1.0 and true are equal to Python, but not one value."""
    return json.dumps(spec.model_dump(mode="json"), sort_keys=True)


def _immutable(spec: ConfigurationGroupSpec, old: ConfigurationGroupSpec) -> list[UserError]:
    settled = (
        ("spec.datastore.type", old.datastore.type, spec.datastore.type),
        ("spec.datastore.version", old.datastore.version, spec.datastore.version),
    )
    return [
        UserError(
            reasons.IMMUTABLE,
            f"{field} cannot change; put the former value back, or make another group",
        )
        for field, before, now in settled
        if before != now
    ]


# --- the attached instances ----------------------------------------------------------------------
@dataclass(frozen=True)
class _Entry:
    """One attached instance.

    `has_turn`: its own plan can go on now; `at_work`: the rollout goes on, and it is part of it.
    """

    attached: AttachedInstance
    has_turn: bool = False
    at_work: bool = False


def _entries(
    world: GroupWorld, error: UserError | None
) -> tuple[tuple[_Entry, ...], UserError | None]:
    """One per member, by name. Members of a version go along together, whatever others have.

    `error`: of the group itself. And the error of values that are valid but for the entry of the
    catalogue that some members are of: they keep the former ones, which is not to have them.
    """
    found: list[_Entry] = []
    forbidden: UserError | None = None
    named = _by_version(world)
    for version_name, members in named.items():
        version = world.catalogue.datastore_versions.get(version_name)
        if version is None:
            found += (_told(m, AttachedState.WAITING, "its version is unknown") for m in members)
            continue
        if mismatch(world.group, version) is not None:
            continue  # naming a group of another datastore is not being attached to it
        try:
            wanted = wanted_request(world.group, version, world.catalogue)
        except UserError as invalid:
            if invalid.reason == reasons.CONFIGURATION_INVALID:  # else it is the catalogue's fault
                forbidden = forbidden or _of_version(invalid, version_name)
            found += (
                _told(m, AttachedState.WAITING, "they are not valid for it; it keeps what it has")
                for m in members
            )
            continue
        if wanted.invalid is not None and error is None:
            told = UserError(reasons.CONFIGURATION_INVALID, wanted.invalid)
            forbidden = forbidden or _of_version(told, version_name)
            found += (
                _told(m, AttachedState.WAITING, "they are not valid for it; it keeps what it has")
                for m in members
            )
            continue
        rollout = roll_out(members, wanted.request, world.group.spec.rollout.max_concurrent)
        found += (_entry(member, wanted.request, rollout) for member in members)
    return tuple(sorted(found, key=lambda entry: entry.attached.name)), forbidden


def _wake(former: Iterable[AttachedInstance], entries: Iterable[_Entry]) -> tuple[str, ...]:
    """The members whose own plans go on, or say something else than before."""
    before = {one.name: one for one in former}
    # who is held back names those that failed
    others_failed = _failed(before.values()) != _failed(entry.attached for entry in entries)
    return tuple(
        entry.attached.name
        for entry in entries
        if entry.has_turn
        or before.get(entry.attached.name) != entry.attached
        or (others_failed and entry.attached.state is AttachedState.WAITING)
    )


def _of_version(error: UserError, version_name: str) -> UserError:
    where = f"for instances of DatastoreVersion {version_name}: "
    return UserError(error.reason, where + error.message)


def _by_version(world: GroupWorld) -> dict[str, list[Member]]:
    """Members by the name of their DatastoreVersion; one that has none yet gets the group's."""
    try:
        own = group_version(world.group, world.catalogue).metadata.name
    except UserError:
        own = ""
    result: dict[str, list[Member]] = {}
    for member in {name_of(m): m for m in world.members}.values():
        result.setdefault(member.version_name or own, []).append(member)
    return result


def _entry(member: Member, request: ConfigurationRequest, rollout: Rollout) -> _Entry:
    stage, has_turn = rollout.stages[name_of(member)], name_of(member) in rollout.turn
    said = member.configuration
    if stage is Stage.FAILED and said is not None and said.rejected is not None:
        refused = said.rejected.cause is RejectionCause.REFUSED
        state = AttachedState.REFUSED if refused else AttachedState.ROLLED_BACK
        return _told(member, state, one_line(said.rejected.message))
    if stage is Stage.DONE and said is not None:
        return _told(member, _done(said))
    if stage is Stage.RUNNING or has_turn:
        applying = AttachedInstance(name=member.name, state=AttachedState.APPLYING)
        return _Entry(applying, has_turn, at_work=True)
    if stage is Stage.WAITING:
        text = "the rollout has stopped" if rollout.failed else "waits for its turn"
        waiting = _told(member, AttachedState.WAITING, text)
        return replace(waiting, at_work=not rollout.failed)
    if member.reachable and said is not None:
        why = f"tried on: {one_line(said.hindered)}" if said.hindered else "see it"
        return _told(member, AttachedState.UNREACHABLE, f"it cannot take values now; {why}")
    return _told(member, AttachedState.UNREACHABLE, "it gets the values when it answers")


def _done(said: ConfigurationStatus) -> AttachedState:
    return AttachedState.PENDING_RESTART if said.pending_restart else AttachedState.APPLIED


def _told(member: Member, state: AttachedState, message: str | None = None) -> _Entry:
    said = member.configuration
    shown = state is AttachedState.PENDING_RESTART and said is not None
    pending = said.pending_restart if shown and said is not None else ()
    return _Entry(
        AttachedInstance(name=member.name, state=state, pending_restart=pending, message=message)
    )


# --- status --------------------------------------------------------------------------------------
def _conditions(
    world: GroupWorld, error: UserError | None, entries: Sequence[_Entry]
) -> tuple[Condition, ...]:
    """Ready, and Reconciling or Stalled only while true (kstatus)."""
    metadata = world.group.metadata
    former = by_type(world.group.status.conditions)
    conditions = Conditions(former, metadata.generation, world.now)
    attached = [entry.attached for entry in entries]
    failed = _failed(attached)
    if error is not None:
        conditions.add("Ready", Truth.FALSE, error.reason, error.message)
        conditions.add("Stalled", Truth.TRUE, error.reason, error.message)
    elif failed:
        text = _stopped(failed)
        conditions.add("Ready", Truth.FALSE, reasons.ROLLOUT_STOPPED, text)
        conditions.add("Stalled", Truth.TRUE, reasons.ROLLOUT_STOPPED, text)
    elif any(entry.at_work for entry in entries):
        text = _progress(attached)
        conditions.add("Ready", Truth.FALSE, reasons.APPLYING, text)
        conditions.add("Reconciling", Truth.TRUE, reasons.APPLYING, text)
    else:
        conditions.add("Ready", Truth.TRUE, reasons.READY, _progress(attached))
    return conditions.result()


def _failed(attached: Iterable[AttachedInstance]) -> list[AttachedInstance]:
    """Those that stop a rollout."""
    failures = (AttachedState.REFUSED, AttachedState.ROLLED_BACK)
    return [one for one in attached if one.state in failures]


def _stopped(failed: list[AttachedInstance]) -> str:
    first = failed[0]
    how = (
        "refused the values" if first.state is AttachedState.REFUSED else "did not start with them"
    )
    more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
    return (
        f"the engine of {first.name} {how}{more}: {first.message}; edit the values, or run a "
        f"ResetStatus operation on {first.name} to try them again"
    )


def _progress(attached: list[AttachedInstance]) -> str:
    if not attached:
        return "the values are valid; no instance names the group"
    names: dict[AttachedState, list[str]] = {}
    for one in attached:
        names.setdefault(one.state, []).append(one.name)
    done = len(names.get(AttachedState.APPLIED, ()))
    text = f"{done} of {len(attached)} instances have all values"
    if pending := names.get(AttachedState.PENDING_RESTART):
        text += f"; all but some until their next restart: {some(pending)}"
    if away := names.get(AttachedState.UNREACHABLE):
        text += f"; cannot be reached, and will follow: {some(away)}"
    return text


def _history(world: GroupWorld) -> tuple[Revision, ...]:
    """The former values, with the present ones in front where they are others. They are valid."""
    group, former = world.group, world.group.status.history
    version = group_version(group, world.catalogue).metadata.name
    normal = check_values(group.spec.values, world.catalogue, version)
    digest = naming.short_hash(json.dumps(normal, sort_keys=True), length=16)
    if former and former[0].hash == digest:
        return former
    newest = Revision(
        revision=former[0].revision + 1 if former else 1,
        hash=digest,
        time=to_text(world.now),
        values=group.spec.values,
    )
    kept: list[Revision] = []
    room = MAX_HISTORY_BYTES
    for revision in former[: HISTORY_LENGTH - 1]:
        room -= len(json.dumps(revision.values, default=str))
        if room < 0:
            break
        kept.append(revision)
    return (newest, *kept)


def _events(
    before: Mapping[str, Condition], now: Mapping[str, Condition], attached: int
) -> tuple[EventNote, ...]:
    stalled, was = now.get("Stalled"), before.get("Stalled")
    if stalled is not None:
        same = was is not None and was.reason == stalled.reason
        return () if same else (EventNote(stalled.reason, stalled.message, warning=True),)
    ready, was_ready = now["Ready"], before.get("Ready")
    turned = was_ready is not None and was_ready.status != Truth.TRUE
    if ready.status == Truth.TRUE and turned and attached:
        return (EventNote(reasons.CONFIGURATION_APPLIED, ready.message),)
    return ()


def _as_api(status: ConfigurationGroupStatus) -> dict[str, Any]:
    """A status as the API has it: no nulls, no empty lists."""
    content = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {key: value for key, value in content.items() if value != []}
