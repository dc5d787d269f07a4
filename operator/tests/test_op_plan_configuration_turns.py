"""Whose turn it is to get values, where the port leads, and that order does not matter."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffer_common.wire import ConfigurationStatus, DataState, Drift, EngineState, RejectionCause
from coffer_operator.build.pod import pod_template, template_hash
from coffer_operator.plan.configuration import plan_configuration
from coffer_operator.plan.instance import plan_instance
from coffer_operator.plan.known import settle
from coffer_operator.plan.model import EnsureUser, FillSlice, Plan, PutConfiguration
from coffer_operator.plan.target import aim
from coffer_operator.plan.turns import plan_turns
from coffer_operator.plan.values import wanted_request
from coffer_operator.plan.world import ActFailure, SliceFact, World
from op_plan_cluster import (
    advance,
    kubelet,
    ready_world,
    settle_down,
    silent,
    take,
    with_agent,
    with_data,
)
from op_plan_configured import (
    NEW,
    attached,
    converged,
    message,
    new,
    puts,
)
from op_plan_groups import (
    GOOD_VALUES,
    LIVE,
    MEMBERS,
    STATIC,
    group,
    group_world,
    member,
    refused,
    reported,
    request_of,
    taken,
    with_group,
)
from op_plan_told import conditions, guest_config, writes
from op_plan_worlds import catalogue, datastore_version, edited


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


def test_one_whose_plans_failed_lets_those_in_the_same_state_go_first() -> None:
    subject = replace(
        attached(rollout={"maxConcurrent": 1}),
        cohort=(member("a", taken("old", "old"), failing=True),),
    )
    assert puts(plan_instance(subject)) == [NEW]
    failure = ActFailure("apply ConfigMap", "ApiServerUnavailable", "away", False, subject.now)
    assert puts(plan_instance(replace(subject, failure=failure))) == []


def test_who_waits_looks_again_whenever_others_fail() -> None:
    waiting = [member("c", taken("old", "old")), member("d", taken("old", "old"))]
    first = group_world(
        group(LIVE), member("a", taken(NEW, "old")), member("b", refused(NEW)), *waiting
    )
    told = reported(first, plan_configuration(first))
    assert plan_configuration(told).wake == ()
    second = replace(told, members=(member("a", refused(NEW)), member("b", refused(NEW)), *waiting))
    assert plan_configuration(second).wake == ("a", "c", "d")


def test_who_waits_for_values_of_the_version_looks_again_whenever_others_fail() -> None:
    known = catalogue(datastore_version(defaultValues=LIVE))
    version = known.datastore_versions["mariadb-10.11"]
    wanted = wanted_request(None, version, known).request.hash
    waiting = [member("c"), member("d")]
    assert plan_turns("mariadb-10.11", known, [member("a", refused(wanted)), *waiting]) == (
        ("prod", "c"),
        ("prod", "d"),
    )


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
