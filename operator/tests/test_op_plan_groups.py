"""ConfigurationGroups: what is refused, and what their status tells."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffer_common.resources.configuration import ConfigurationGroupStatus
from coffer_common.rules import Rules
from coffer_common.wire import ConfigurationStatus, RejectionCause
from coffer_operator.plan.configuration import (
    MAX_HISTORY_BYTES,
    plan_configuration,
    validate_group,
)
from coffer_operator.plan.validate import validate_datastore_version, validate_instance
from coffer_operator.plan.values import build_request, judge_group, mismatch, wanted_request
from coffer_operator.plan.world import Catalogue, GroupWorld, Member
from op_plan_groups import (
    GOOD_VALUES,
    LIVE,
    MEMBERS,
    group,
    group_conditions,
    group_edited,
    group_obj,
    group_world,
    groups,
    history,
    member,
    refused,
    reported,
    request_of,
    states,
    taken,
)
from op_plan_worlds import (
    RULES,
    catalogue,
    datastore_version,
    instance_obj,
    later,
    parameter,
    world,
)

NEW = request_of(LIVE).hash
OLD = request_of({}).hash


# --- what is refused -----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("obj", "reason", "words"),
    [
        (group_obj({"max_conections": 5}), "InvalidParameter", "did you mean max_connections?"),
        (group_obj({"max_connections": 0}), "InvalidParameter", "from 1 to 1000"),
        (group_obj({"max_connections": [1]}), "InvalidParameter", "max_connections"),
        (group_obj({"datadir": "/tmp"}), "InvalidParameter", "datadir"),
        (group_obj({"port": 80, "wait_timeout": 0}), "InvalidParameter", "; wait_timeout"),
        (
            group_obj(datastore={"type": "mariadb", "version": "9"}),
            "UnknownVersion",
            "choose 10.11",
        ),
        (group_obj(datastore={"type": "x", "version": "9"}), "UnknownDatastore", "mariadb, redis"),
        (group_obj(rollout={"maxConcurrent": 0}), "Invalid", "rollout.maxConcurrent"),
        (group_obj(datastore={"type": "mariadb"}), "Invalid", "version"),
    ],
)
def test_a_bad_group_is_refused_in_one_line(obj: Any, reason: str, words: str) -> None:
    (error,) = validate_group(obj, catalogue(), None)
    assert error.reason == reason
    assert words in error.message
    assert "\n" not in error.message


def test_a_version_that_is_not_active_has_groups_all_the_same() -> None:
    inactive = replace(
        catalogue(datastore_version(active=False, default=False)), rules={"mariadb-10.11": RULES}
    )
    assert validate_group(group_obj(LIVE), inactive, None) == []


def test_the_datastore_cannot_change() -> None:
    redis = group_obj(datastore={"type": "redis", "version": "7.0"})
    errors = validate_group(redis, catalogue(), group_obj())
    assert [e.reason for e in errors] == ["Immutable", "Immutable"]


def test_what_did_not_change_is_never_held_back() -> None:
    bad = group_obj({"max_connections": 0})
    labelled = {**bad, "metadata": {**bad["metadata"], "labels": {"a": "b"}}}
    assert validate_group(labelled, catalogue(), bad) == []
    one, true = group_obj({"max_connections": 1}), group_obj({"max_connections": True})
    assert validate_group(one, catalogue(), None) == []
    (error,) = validate_group(true, catalogue(), one)
    assert "max_connections" in error.message, "1 and true are equal, but not the same"


def test_webhook_and_plan_say_the_same() -> None:
    for values in ({"max_connections": 0}, {"nothing_like_it": 1}, {"datadir": "x"}):
        (said,) = validate_group(group_obj(values), catalogue(), None)
        plan = plan_configuration(group_world(group(values)))
        (stalled,) = [c for c in plan.status["conditions"] if c["type"] == "Stalled"]
        assert (stalled["reason"], stalled["message"]) == (said.reason, said.message)
        assert group_conditions(plan)["Ready"] == ("False", said.reason)


def test_defaults_and_parameters_of_a_version_are_checked() -> None:
    def check(**spec: Any) -> list[str]:
        obj = datastore_version("redis-9", **spec).model_dump(by_alias=True, mode="json")
        return [e.message for e in validate_datastore_version(obj, catalogue(), None, RULES)]

    assert check(default=False, defaultValues={"max_connections": 7}) == []
    assert check(default=False) == []
    (line,) = check(default=False, defaultValues={"max_connections": 0})
    assert line.startswith("spec.defaultValues: max_connections")
    (line,) = check(default=False, parameters=[{"name": "new"}])
    assert line.startswith("spec.parameters: new")
    narrow = {"name": "max_connections", "max": 5}
    (line,) = check(default=False, parameters=[narrow], defaultValues={"max_connections": 7})
    assert "from 1 to 5" in line
    bad = datastore_version("redis-9", default=False, defaultValues={"nothing": 1})
    obj = bad.model_dump(by_alias=True, mode="json")
    assert validate_datastore_version(obj, catalogue(), obj, RULES) == [], "it was so before"
    assert validate_datastore_version(obj, catalogue(), None) == [], "cannot tell"


def test_an_instance_is_refused_a_group_for_something_else() -> None:
    obj = instance_obj(configurationRef={"name": "conf"})
    assert validate_instance(obj, catalogue(), None, group(LIVE)) == []
    assert validate_instance(obj, catalogue(), None, None) == [], "it may come later"
    other = group(datastore={"type": "redis", "version": "7.0"})
    (error,) = validate_instance(obj, catalogue(), None, other)
    assert error.reason == "ConfigurationMismatch"
    assert "conf is for redis 7.0" in error.message
    assert "mariadb 10.11" in error.message
    assert validate_instance(instance_obj(), catalogue(), None, other) == []


# --- values and hashes ---------------------------------------------------------------------------
def test_the_hash_is_that_of_the_contents_alone() -> None:
    one = build_request("conf", {"b": 1, "a": 2}, {"x": True}, RULES)
    assert build_request("conf", {"a": 2, "b": 1}, {"x": True}, RULES) == one
    others = [
        build_request("other", {"b": 1, "a": 2}, {"x": True}, RULES),
        build_request("conf", {"b": 1}, {"x": True}, RULES),
        build_request("conf", {"b": 1, "a": 2}, {"x": 1}, RULES),
        build_request("conf", {}, {"b": 1, "a": 2, "x": True}, RULES),
    ]
    assert len({one.hash, *(other.hash for other in others)}) == 5
    assert one.hash == "700b1fd964bbe6c4", (
        "that of the release before: another one is a call to every agent"
    )


def test_spellings_of_one_value_are_one_request() -> None:
    spelt = [{"sort_buffer_size": v} for v in ("1M", 1048576, "1048576", "1024K")]
    assert len({request_of(values).hash for values in spelt}) == 1
    assert request_of({"innodb_log_buffer_size": "4M", **LIVE}).restart_required == (
        "innodb_log_buffer_size",
    )


@pytest.mark.parametrize(
    ("revisions", "given"),
    [
        ([], None),
        ([{"max_connections": "7"}, {"max_connections": 8}], {"max_connections": 7}),
        # the catalogue has become stricter: nobody asked for what was before that
        ([{"max_connections": 10**9}, {"max_connections": "7"}], None),
    ],
)
def test_an_invalid_group_gives_out_the_values_before_or_nothing(
    revisions: list[dict[str, object]], given: dict[str, object] | None
) -> None:
    subject = group({"max_connections": 0})
    content = subject.model_dump(by_alias=True, mode="json")
    content["status"] = {
        "history": [
            {"revision": 9 - n, "hash": "h", "time": "2026-11-22T11:00:00Z", "values": values}
            for n, values in enumerate(revisions)
        ]
    }
    verdict = judge_group(type(subject).model_validate(content), catalogue(), "mariadb-10.11")
    assert verdict.values == given
    assert verdict.error is not None


# --- status --------------------------------------------------------------------------------------
def test_the_life_of_an_edit() -> None:
    members = [member(name, taken(OLD, OLD)) for name in "abc"]
    subject = group_world(group(LIVE, rollout={"maxConcurrent": 1}), *members)
    plan = plan_configuration(subject)
    assert states(plan) == {"a": "Applying", "b": "Waiting", "c": "Waiting"}
    assert group_conditions(plan) == {
        "Ready": ("False", "Applying"),
        "Reconciling": ("True", "Applying"),
    }
    assert plan.wake == ("a", "b", "c"), "all of them have something new to tell"
    subject = reported(subject, plan)
    assert plan_configuration(subject).wake == ("a",), "whose turn it is"
    subject = replace(subject, members=(member("a", taken(NEW, OLD)), *members[1:]))
    plan = plan_configuration(subject)
    assert plan.wake == ()
    assert plan.status == subject.group.status.model_dump(
        mode="json", by_alias=True, exclude_none=True
    )
    subject = replace(subject, members=(member("a", taken(NEW, NEW, "port")), *members[1:]))
    plan = plan_configuration(subject)
    assert states(plan) == {"a": "PendingRestart", "b": "Applying", "c": "Waiting"}
    assert set(plan.wake) == {"a", "b"}
    done = [member(name, taken(NEW, NEW)) for name in "ab"]
    subject = replace(reported(subject, plan), members=(*done, member("c", reachable=False)))
    plan = plan_configuration(subject)
    assert states(plan) == {"a": "Applied", "b": "Applied", "c": "Unreachable"}
    assert group_conditions(plan) == {"Ready": ("True", "Ready")}
    assert (plan.status["attached"], plan.status["applied"]) == (3, 2)
    assert [event.reason for event in plan.events] == ["ConfigurationApplied"]
    assert "c" in plan.events[0].message
    assert plan_configuration(reported(subject, plan)).events == ()


@pytest.mark.parametrize(
    ("cause", "state"),
    [(RejectionCause.REFUSED, "Refused"), (RejectionCause.DID_NOT_START, "RolledBack")],
)
def test_a_rollout_that_fails_stops_and_says_where(cause: RejectionCause, state: str) -> None:
    waiting = member("b", taken(OLD, OLD))
    subject = group_world(group(LIVE), member("a", refused(NEW, cause, OLD)), waiting)
    plan = plan_configuration(subject)
    assert states(plan) == {"a": state, "b": "Waiting"}
    assert group_conditions(plan)["Stalled"] == ("True", "RolloutStopped")
    assert [(e.reason, e.warning) for e in plan.events] == [("RolloutStopped", True)]
    assert "no such value" in plan.events[0].message
    assert "\n" not in plan.events[0].message
    after = reported(subject, plan)
    again = plan_configuration(after)
    assert (again.events, again.wake) == ((), ())
    mended = group_edited(after, {"max_connections": 51})
    assert states(plan_configuration(mended)) == {"a": "Applying", "b": "Applying"}


def test_one_that_is_hindered_is_named_with_what_hinders_it() -> None:
    hindered = taken(NEW, OLD).model_copy(update={"hindered": "lock wait timeout"})
    subject = group_world(group(LIVE, rollout={"maxConcurrent": 1}), member("a", hindered))
    subject = replace(subject, members=(*subject.members, member("b", taken(OLD, OLD))))
    plan = plan_configuration(subject)
    assert states(plan) == {"a": "Unreachable", "b": "Applying"}
    assert "lock wait timeout" in plan.status["instances"][0]["message"]


def test_members_that_the_group_is_not_for_do_not_take_part() -> None:
    strange = member("b", version_name="redis-7.0")
    subject = group_world(group(LIVE), member("a", taken(NEW, NEW)), strange)
    plan = plan_configuration(subject)
    assert states(plan) == {"a": "Applied"}
    assert plan.status["attached"] == 1
    assert group_conditions(plan)["Ready"] == ("True", "Ready")


def test_history_has_the_last_ten_values_as_they_were_written() -> None:
    subject = group_world(group({"sort_buffer_size": "1M"}))
    for count in range(12):
        subject = reported(subject, plan_configuration(subject))
        subject = group_edited(subject, {"max_connections": str(count + 1)})
    subject = reported(subject, plan_configuration(subject))
    found = subject.group.status.history
    assert [r.revision for r in found] == list(range(13, 3, -1))
    assert found[0].values == {"max_connections": "12"}
    same = group_edited(subject, {"MAX-CONNECTIONS": 12})
    assert (
        plan_configuration(same).status["history"]
        == reported(subject, plan_configuration(subject)).group.status.model_dump(
            mode="json", by_alias=True
        )["history"]
    )
    bad = group_edited(subject, {"max_connections": 0})
    plan = plan_configuration(bad)
    assert plan.status["history"][0]["values"] == {"max_connections": "12"}
    assert group_conditions(plan)["Stalled"][0] == "True"


def test_history_stays_small_enough_to_be_stored() -> None:
    long = "x" * (MAX_HISTORY_BYTES // 3)
    subject = group_world(group({"sort_buffer_size": 1024}))
    content = subject.group.model_dump(by_alias=True, mode="json")
    content["status"]["history"] = [
        {"revision": 9 - n, "hash": "h", "time": "2026-11-22T11:00:00Z", "values": {"x": long}}
        for n in range(9)
    ]
    full = replace(subject, group=type(subject.group).model_validate(content))
    assert len(plan_configuration(full).status["history"]) == 3


@given(groups(), MEMBERS, st.booleans())
def test_a_plan_of_a_group_never_raises_and_settles(
    subject: Any, members: tuple[Member, ...], ruled: bool
) -> None:
    known = catalogue() if ruled else replace(catalogue(), rules={})
    before = GroupWorld(later(world(), 60).now, subject, known, members)
    plan = plan_configuration(before)
    status = ConfigurationGroupStatus.model_validate(plan.status)
    types = [c.type for c in status.conditions]
    assert types[0] == "Ready"
    assert not {"Reconciling", "Stalled"} <= set(types)
    assert all(c.message and "\n" not in c.message for c in status.conditions)
    versions = known.datastore_versions
    fitting = [
        m
        for m in members
        if m.version_name is None
        or m.version_name not in versions
        or mismatch(subject, versions[m.version_name]) is None
    ]
    assert status.attached == len(fitting) == len(status.instances)
    assert set(plan.wake) <= {m.name for m in members}
    after = reported(before, plan)
    again = plan_configuration(after)
    assert again.status == plan.status
    assert again.events == ()


@given(st.lists(GOOD_VALUES, min_size=1, max_size=10), st.lists(st.booleans(), max_size=10))
def test_edits_end_in_the_last(edits: list[dict[str, Any]], seen: list[bool]) -> None:
    """Whichever of the edits the plan has seen."""
    subject = group_world(group(edits[0]), member("a", ConfigurationStatus()))
    for values, looked in zip(edits, [*seen, *[False] * len(edits)], strict=False):
        subject = group_edited(subject, values)
        if looked:
            subject = reported(subject, plan_configuration(subject))
    plan = plan_configuration(subject)
    assert plan.status["history"][0]["values"] == edits[-1]
    wanted = request_of(edits[-1]).hash
    done = replace(subject, members=(member("a", taken(wanted, wanted)),))
    assert states(plan_configuration(done)) == {"a": "Applied"}


def test_a_catalogue_without_rules_is_not_the_groups_fault() -> None:
    unruled: Catalogue = replace(catalogue(), rules={})
    plan = plan_configuration(group_world(group(LIVE), catalogue=unruled))
    assert group_conditions(plan)["Stalled"] == ("True", "InvalidCatalogue")
    plan = plan_configuration(group_world(group({}), catalogue=unruled))
    assert group_conditions(plan)["Ready"] == ("True", "Ready")
    assert history({}) == plan.status


def test_values_that_one_of_two_entries_forbids_are_told_and_not_called_applied() -> None:
    """Two entries of the catalogue for one engine version, of which one is stricter."""
    strict = datastore_version("mariadb-strict", version="10.11", default=False)
    entries = catalogue(datastore_version(), strict)
    narrow = Rules({**RULES.parameters, "max_connections": parameter("max_connections", max=100)})
    entries = replace(entries, rules={**entries.rules, "mariadb-strict": narrow})
    before = group_edited(group_world(group(LIVE)), {"max_connections": 200}, history(LIVE))
    new = wanted_request(before.group, datastore_version(), entries).request
    old = wanted_request(before.group, strict, entries).request
    assert new.hash != old.hash
    members = (
        member("a", taken(new.hash, new.hash)),
        member("b", taken(old.hash, old.hash), version_name="mariadb-strict"),
    )
    plan = plan_configuration(replace(before, catalogue=entries, members=members))
    assert states(plan) == {"a": "Applied", "b": "Waiting"}
    assert group_conditions(plan)["Stalled"][0] == "True"
    said = next(c["message"] for c in plan.status["conditions"] if c["type"] == "Ready")
    assert "max_connections" in said
    assert "mariadb-strict" in said
    assert plan.status["history"][0]["values"] == {"max_connections": 200}
