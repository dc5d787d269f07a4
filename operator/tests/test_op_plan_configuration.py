"""The values of one instance: who gets them when, what is told, and where its port leads."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffer_common.wire import ConfigurationStatus, DataState, Drift, EngineState, RejectionCause
from coffer_operator.build.pod import pod_template, template_hash
from coffer_operator.plan.instance import plan_instance
from coffer_operator.plan.known import settle
from coffer_operator.plan.model import EnsureUser, FillSlice, Plan, PutConfiguration
from coffer_operator.plan.target import aim
from coffer_operator.plan.world import SliceFact, World
from op_plan_cluster import (
    APP,
    advance,
    conditions,
    guest_config,
    kubelet,
    ready_world,
    settle_down,
    silent,
    take,
    with_agent,
    with_data,
    writes,
)
from op_plan_groups import (
    GOOD_VALUES,
    LIVE,
    MEMBERS,
    STATIC,
    group,
    history,
    member,
    refused,
    request_of,
    taken,
    with_group,
)
from op_plan_worlds import catalogue, datastore_version, edited, instance, world

NEW = request_of(LIVE).hash
REDIS = {"type": "redis", "version": "7.0"}


def puts(plan: Plan) -> list[str]:
    return [call.request.hash for call in plan.calls if isinstance(call, PutConfiguration)]


def message(plan: Plan, kind: str = "ConfigurationApplied") -> str:
    assert plan.status is not None
    return str(next(c["message"] for c in plan.status["conditions"] if c["type"] == kind))


def attached(values: dict[str, Any] | None = None, **spec: Any) -> World:
    """A converged instance that is attached to a group just now."""
    return with_group(ready_world(), LIVE if values is None else values, **spec)


def converged(values: dict[str, Any]) -> World:
    return settle_down(attached(values), plan_instance, 4)


def new(values: dict[str, Any]) -> World:
    subject = world(instance(**APP, configurationRef={"name": "conf"}))
    return replace(subject, configuration_group=group(values))


# --- a new instance ------------------------------------------------------------------------------
def test_a_new_instance_starts_with_its_groups_values() -> None:
    subject = new(LIVE | STATIC)
    plan = plan_instance(subject)
    told = guest_config(plan)["configuration"]
    assert told["values"] == {"max_connections": 50, "innodb_log_buffer_size": 4 * 2**20}
    assert (told["group"], told["restart_required"]) == ("conf", ["innodb_log_buffer_size"])
    calls = []
    for _ in range(8):
        plan = plan_instance(subject)
        calls += puts(plan)
        subject = kubelet(advance(subject, plan))
    assert calls == [], "there is nothing left to say"
    plan = plan_instance(subject)
    assert plan.status is not None
    assert plan.status["phase"] == "Active"
    assert plan.status["configuration"]["group"] == "conf"
    assert conditions(plan)["ConfigurationApplied"] == ("True", "Applied")
    assert "configuration" not in guest_config(plan), "later edits leave the ConfigMap alone"
    later_on = with_group(subject, {"max_connections": 51})
    assert [a for a in writes(later_on, plan_instance(later_on)) if "ConfigMap" in a] == []


def test_an_edit_while_it_is_built_is_taken_along() -> None:
    subject = new(LIVE)
    subject = advance(subject, plan_instance(subject))
    edited_group = replace(subject, configuration_group=group({"max_connections": 51}))
    told = guest_config(plan_instance(edited_group))["configuration"]
    assert told["values"] == {"max_connections": 51}


def test_an_instance_is_not_ready_before_its_values_are_in_force() -> None:
    subject = edited(new(LIVE), databases=[], users=[])
    for _ in range(4):
        subject = kubelet(advance(subject, plan_instance(subject)))
    subject = with_agent(subject, configuration=taken(NEW, None))
    assert conditions(plan_instance(subject))["Ready"] == ("False", "ConfigurationPending")
    done = with_agent(subject, configuration=refused(NEW))
    assert conditions(plan_instance(done))["Ready"][1] != "ConfigurationPending"


@pytest.mark.parametrize(
    ("subject", "reason", "words"),
    [
        (replace(new(LIVE), configuration_group=None), "ConfigurationNotFound", "conf"),
        (new({"max_conections": 1}), "ConfigurationInvalid", "did you mean max_connections"),
        (
            replace(new(LIVE), configuration_group=group(datastore=REDIS)),
            "ConfigurationMismatch",
            "redis 7.0",
        ),
        (
            replace(new(LIVE), catalogue=replace(catalogue(), rules={})),
            "ConfigurationInvalid",
            "tell the administrator",
        ),
    ],
)
def test_a_new_instance_waits_for_values_that_count(
    subject: World, reason: str, words: str
) -> None:
    plan = plan_instance(subject)
    assert plan.apply == ()
    assert plan.certificate is None
    assert conditions(plan)["Stalled"][0] == "True"
    assert conditions(plan)["ConfigurationApplied"] == ("False", reason)
    assert words in message(plan, "Stalled")
    mended = replace(subject, configuration_group=group(LIVE), catalogue=catalogue())
    assert plan_instance(advance(mended, plan)).apply != ()


# --- attached, edited, detached ------------------------------------------------------------------
def test_an_edit_is_put_once_and_told() -> None:
    subject = attached()
    plan = plan_instance(subject)
    assert puts(plan) == [NEW]
    assert conditions(plan)["ConfigurationApplied"] == ("False", "Applying")
    assert conditions(plan)["Ready"] == ("True", "Ready")
    subject = with_agent(advance(subject, plan), configuration=taken(NEW, None))
    assert puts(plan_instance(subject)) == [], "the agent has it and is at work"
    subject = advance(with_agent(subject, configuration=taken(NEW, NEW)), plan)
    plan = plan_instance(with_agent(subject, configuration=taken(NEW, NEW)))
    assert conditions(plan)["ConfigurationApplied"] == ("True", "Applied")
    assert [event.reason for event in plan.events] == ["ConfigurationApplied"]
    assert plan.status is not None
    assert plan.status["configuration"] == {"group": "conf", "hash": NEW, "pendingRestart": []}


def test_what_only_a_restart_brings_is_named() -> None:
    subject = converged(LIVE | STATIC | {"port": 3310})
    plan = plan_instance(subject)
    assert plan.status is not None
    assert plan.status["phase"] == "RestartRequired"
    assert plan.status["configuration"]["pendingRestart"] == ["innodb_log_buffer_size", "port"]
    assert conditions(plan)["RestartRequired"] == ("True", "PendingRestart")
    assert conditions(plan)["ConfigurationApplied"] == ("False", "PendingRestart")
    assert conditions(plan)["Ready"] == ("True", "Ready")
    assert "innodb_log_buffer_size, port" in message(plan, "RestartRequired")
    assert writes(subject, plan) == []
    both = edited(subject, flavor="small")
    both = advance(both, plan_instance(both))
    plan = plan_instance(both)
    assert conditions(plan)["RestartRequired"] == ("True", "TemplateChanged")
    assert "flavor" in message(plan, "RestartRequired")
    assert "port" in message(plan, "RestartRequired")


def test_detached_it_goes_back_to_the_template() -> None:
    subject = edited(converged(LIVE), configurationRef=None)
    bare = replace(subject, configuration_group=None)
    plan = plan_instance(bare)
    (call,) = [c for c in plan.calls if isinstance(c, PutConfiguration)]
    assert (call.request.group, call.request.values) == (None, {})
    after = settle_down(bare, plan_instance, 3)
    assert writes(after, plan_instance(after)) == []
    assert conditions(plan_instance(after))["ConfigurationApplied"] == ("True", "Applied")
    report = after.instance.status.configuration
    assert report is not None
    assert report.group is None


def test_an_instance_without_values_needs_no_call() -> None:
    assert puts(plan_instance(ready_world())) == []
    assert "configuration" not in guest_config(plan_instance(world()))


def test_defaults_of_the_version_lie_below_the_groups_values() -> None:
    defaults = catalogue(datastore_version(defaultValues={"wait_timeout": "9", **LIVE}))
    plain = replace(ready_world(), catalogue=defaults)
    (call,) = [c for c in plan_instance(plain).calls if isinstance(c, PutConfiguration)]
    assert call.request.defaults == {"wait_timeout": 9, "max_connections": 50}
    subject = replace(attached({"max_connections": 60}), catalogue=defaults)
    (call,) = [c for c in plan_instance(subject).calls if isinstance(c, PutConfiguration)]
    assert call.request.values == {"max_connections": 60}
    assert call.request.defaults == {"wait_timeout": 9, "max_connections": 50}


@pytest.mark.parametrize(
    ("change", "reason", "stalled"),
    [
        (lambda w: replace(w, configuration_group=None), "ConfigurationNotFound", True),
        (
            lambda w: replace(w, configuration_group=group(datastore=REDIS)),
            "ConfigurationMismatch",
            True,
        ),
        (lambda w: replace(w, configuration_group=group({"x": 1})), "ConfigurationInvalid", False),
        (
            lambda w: replace(
                w, catalogue=catalogue(datastore_version(defaultValues={"nothing": 1}))
            ),
            "ConfigurationInvalid",
            False,
        ),
    ],
)
def test_a_running_instance_keeps_its_values_and_says_so(
    change: Any, reason: str, stalled: bool
) -> None:
    subject = change(converged(LIVE))
    plan = plan_instance(subject)
    assert puts(plan) == []
    assert conditions(plan)["ConfigurationApplied"] == ("False", reason)
    assert ("Stalled" in conditions(plan)) is stalled
    assert plan.status is not None
    assert plan.status["phase"] == "Active"
    assert plan.apply != (), "everything else goes on"
    after = advance(subject, plan)
    assert writes(after, plan_instance(after)) == []


def test_an_invalid_edit_leaves_the_last_valid_values_in_force() -> None:
    subject = converged(LIVE)
    bad = group({"max_connections": 0})
    content = bad.model_dump(by_alias=True, mode="json") | {"status": history(LIVE)}
    subject = replace(subject, configuration_group=type(bad).model_validate(content))
    plan = plan_instance(subject)
    assert puts(plan) == []
    assert conditions(plan)["ConfigurationApplied"] == ("False", "ConfigurationInvalid")
    assert "from 1 to 1000" in message(plan)
    newcomer = with_agent(subject, configuration=ConfigurationStatus())
    assert puts(plan_instance(newcomer)) == [NEW], "it gets them as well"


# --- whose turn ----------------------------------------------------------------------------------
def test_a_rollout_is_waited_for_and_a_failed_one_goes_no_further() -> None:
    subject = replace(
        attached(rollout={"maxConcurrent": 1}), cohort=(member("other", taken(NEW, "x")),)
    )
    plan = plan_instance(subject)
    assert puts(plan) == []
    assert conditions(plan)["ConfigurationApplied"] == ("False", "WaitingForTurn")
    assert plan.requeue_after_s == 30
    done = replace(subject, cohort=(member("other", taken(NEW, NEW)),))
    assert puts(plan_instance(done)) == [NEW]
    failed = replace(subject, cohort=(member("other", refused(NEW)),))
    plan = plan_instance(failed)
    assert puts(plan) == []
    assert conditions(plan)["ConfigurationApplied"] == ("False", "RolloutStopped")
    assert "other" in message(plan)
    strange = member("other", taken(NEW, "x"), version_name="redis-7.0")
    assert puts(plan_instance(replace(subject, cohort=(strange,)))) == [NEW]


@pytest.mark.parametrize(
    ("cause", "reason", "event"),
    [
        (RejectionCause.REFUSED, "Refused", "ConfigurationRefused"),
        (RejectionCause.DID_NOT_START, "RolledBack", "ConfigurationRolledBack"),
    ],
)
def test_values_that_the_engine_did_not_take(
    cause: RejectionCause, reason: str, event: str
) -> None:
    subject = with_agent(attached(), configuration=refused(NEW, cause, "old"))
    plan = plan_instance(subject)
    assert puts(plan) == []
    assert conditions(plan)["ConfigurationApplied"] == ("False", reason)
    assert "no such value" in message(plan)
    assert [(e.reason, e.warning) for e in plan.events] == [(event, True)]
    after = advance(subject, plan)
    assert plan_instance(after).events == ()
    mended = with_group(after, {"max_connections": 51})
    assert puts(plan_instance(mended)) == [request_of({"max_connections": 51}).hash]


@pytest.mark.parametrize(
    "change",
    [
        silent,
        lambda w: replace(w, agent=None),
        lambda w: with_agent(w, configuration=None),
        lambda w: with_data(w, DataState.FOREIGN, message="other data"),
        lambda w: with_data(w, DataState.PREPARING),
        lambda w: replace(w, volume=None),
    ],
)
def test_nothing_is_put_where_nobody_vouches_for_the_volume(change: Any) -> None:
    plan = plan_instance(change(attached()))
    assert puts(plan) == []
    applied = conditions(plan)["ConfigurationApplied"]
    assert applied in (("Unknown", "AgentUnreachable"), ("True", "Applied"))


def test_a_spec_that_turned_invalid_does_not_hold_the_values_back() -> None:
    """Others would wait for this one's turn."""
    assert puts(plan_instance(edited(attached(), flavor="huge"))) == [NEW]


def test_drift_is_told_once() -> None:
    drift = Drift(name="max_connections", found="9\n9", restored="50", at="2026-11-22T11:00:00Z")
    said = ConfigurationStatus(accepted=NEW, live=NEW, drift=drift)
    subject = with_agent(converged(LIVE), configuration=said)
    plan = plan_instance(subject)
    assert [(e.reason, e.warning) for e in plan.events] == [("ConfigurationDrift", True)]
    assert "max_connections was 9 9, put back to 50" in plan.events[0].message
    after = advance(subject, plan)
    assert writes(after, plan_instance(after)) == []
    forgotten = with_agent(after, configuration=taken(NEW, NEW))
    assert writes(forgotten, plan_instance(forgotten)) == [], "an agent that was restarted"


def test_a_restarted_operator_keeps_what_was_told() -> None:
    subject = replace(converged(LIVE | STATIC), agent=None)
    assert writes(subject, plan_instance(subject)) == []


# --- the port ------------------------------------------------------------------------------------
def ports(plan: Plan) -> set[int]:
    """Where Services and NetworkPolicy lead."""
    found = set()
    for apply in plan.apply:
        if apply.obj["kind"] == "Service":
            found |= {p["targetPort"] for p in apply.obj["spec"]["ports"]}
        if apply.obj["kind"] == "NetworkPolicy":
            found |= {p["port"] for p in apply.obj["spec"]["ingress"][0]["ports"]}
    return found


def moved(before: World, port: int | None) -> World:
    """The engine runs with another port; None: it is stopped, so that nobody knows."""
    assert before.agent is not None
    said = before.agent.status.configuration
    assert said is not None
    configuration = said.model_copy(update={"port": port, "pending_restart": ()})
    return with_agent(before, configuration=configuration)


def test_what_leads_to_the_engine_moves_when_the_engine_does() -> None:
    subject = converged({"port": 3310})
    plan = plan_instance(subject)
    assert ports(plan) == {3306}, "it has not been restarted"
    assert plan.status is not None
    assert plan.status["endpoints"]["port"] == 3306
    for before_it_answers in (
        moved(subject, None),
        replace(subject, agent=None),
        silent(subject),
        replace(moved(subject, None), pod=None),
    ):
        assert ports(plan_instance(before_it_answers)) == {3306}
    there = moved(subject, 3310)
    plan = plan_instance(there)
    assert ports(plan) == {3310}
    assert plan.status is not None
    assert plan.status["endpoints"]["port"] == 3310
    (user,) = [call for call in plan.calls if isinstance(call, EnsureUser)]
    assert user.binding["port"] == "3310"
    after = settle_down(there, plan_instance, 3)
    assert writes(after, plan_instance(after)) == []
    assert ports(plan_instance(replace(after, agent=None))) == {3310}
    emptied = replace(after, read_write=SliceFact((), None, 1, "5"))
    (fill,) = plan_instance(emptied).slices
    assert isinstance(fill, FillSlice)
    assert fill.port == 3310


def test_the_port_leaves_the_pods_template_alone() -> None:
    subject = converged({"port": 3310})
    hashes = set()
    for one in (ready_world(), subject, moved(subject, 3310)):
        plan = plan_instance(one)
        (found,) = [a.obj for a in plan.apply if a.obj["kind"] == "StatefulSet"]
        hashes.add(template_hash(dict(found["spec"]["template"])))
        assert guest_config(plan)["port"] == 3306
    blueprint = aim(ready_world(), settle(ready_world()), None).blueprint
    assert blueprint is not None
    assert hashes == {template_hash(pod_template(replace(blueprint, service_port=1)))}


def test_a_new_instance_is_found_where_its_group_puts_it() -> None:
    assert ports(plan_instance(new({"port": 3310}))) == {3310}
    after = settle_down(new({"port": 3310}), plan_instance, 8)
    assert ports(plan_instance(after)) == {3310}
    assert conditions(plan_instance(after))["Ready"] == ("True", "Ready")


# --- in any order --------------------------------------------------------------------------------
@given(
    st.lists(st.none() | GOOD_VALUES, min_size=1, max_size=8),
    st.lists(st.sampled_from(["plan", "agent", "away", "back", "restart", "none"]), max_size=12),
)
def test_attach_detach_and_edit_end_in_the_last(
    edits: list[dict[str, Any] | None], between: list[str]
) -> None:
    """Whatever is seen in between; and never a mixture: each request is that of one edit."""
    subject = ready_world()
    whole = {request_of(values).hash for values in edits if values is not None}
    for index, values in enumerate(edits):
        if values is None:
            subject = replace(edited(subject, configurationRef=None), configuration_group=None)
        else:
            subject = with_group(subject, values)
        for what in between[index :: len(edits)]:
            subject = happens(subject, what, whole)
    assert subject.agent is not None
    subject = replace(subject, agent=replace(subject.agent, error=None))
    subject = settle_down(subject, plan_instance, 6)
    plan = plan_instance(subject)
    assert writes(subject, plan) == []
    assert subject.agent is not None
    said = subject.agent.status.configuration
    assert said is not None
    last = edits[-1]
    if last is None:
        assert said.accepted not in whole
    else:
        assert (said.accepted, said.live) == (request_of(last).hash,) * 2
    assert conditions(plan)["ConfigurationApplied"][1] in ("Applied", "PendingRestart")


def happens(subject: World, what: str, whole: set[str]) -> World:
    assert subject.agent is not None
    if what == "away":
        return silent(subject)
    if what == "back":
        return replace(subject, agent=replace(subject.agent, error=None))
    if what == "restart":
        return kubelet(replace(subject, pod=None)) if subject.agent.error is None else subject
    plan = plan_instance(subject)
    for call in plan.calls:
        if isinstance(call, PutConfiguration):
            assert call.request.group is None or call.request.hash in whole
            if what == "agent":  # the call arrives, and the operator dies before its report
                return take(subject, call.request)
    return kubelet(advance(subject, plan)) if what == "plan" else subject


@given(MEMBERS, GOOD_VALUES)
def test_nobody_gets_values_out_of_turn(members: Any, values: dict[str, Any]) -> None:
    subject = replace(attached(values, rollout={"maxConcurrent": 2}), cohort=members)
    plan = plan_instance(subject)
    wanted = request_of(values).hash
    others = [m for m in members if m.name != "shop" and m.version_name in (None, "mariadb-10.11")]
    said = [m.configuration for m in others if m.configuration]
    failed = [c for c in said if c.rejected and c.rejected.hash == wanted]
    running = [
        m
        for m in others
        if m.reachable
        and m.configuration
        and m.configuration.accepted == wanted
        and m.configuration.live != wanted
    ]
    if failed or len(running) >= 2:
        assert puts(plan) == []
    if not [m for m in others if m.reachable]:
        assert bool(puts(plan)) == (not failed)


def test_an_engine_that_was_stopped_gets_its_values_too() -> None:
    subject = attached()
    assert subject.agent is not None
    engine = subject.agent.status.engine.model_copy(update={"state": EngineState.STOPPED})
    assert puts(plan_instance(with_agent(subject, engine=engine))) == [NEW]


def test_an_instance_says_what_hinders_its_values() -> None:
    hindered = taken(NEW, "old").model_copy(update={"hindered": "lock wait timeout"})
    subject = with_agent(attached(), configuration=hindered)
    plan = plan_instance(subject)
    assert puts(plan) == []
    assert conditions(plan)["ConfigurationApplied"] == ("False", "Applying")
    assert "lock wait timeout" in message(plan)
