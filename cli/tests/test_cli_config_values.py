"""Values as people write and read them, and the patches that follow."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli_objects import group, group_status, member
from coffer_cli import judge
from coffer_cli.errors import CliError, Exit
from coffer_cli.judge import Outcome
from coffer_cli.values import (
    changes,
    merge_patch,
    normal,
    parse_assignments,
    parse_document,
    respelled,
    shown,
)
from coffer_common.resources.configuration import AttachedState
from coffer_common.rules import Rules, parse_rules

SCALARS = st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["", "0", "true"])
VALUES = st.dictionaries(st.sampled_from("abcdef"), SCALARS.filter(lambda v: v is not None))

RULES = parse_rules(
    '{"configuration-parameters": ['
    '{"name": "max_size", "type": "size", "description": "d", "restart_required": false},'
    '{"name": "wait", "type": "duration", "unit": "s", "description": "d",'
    ' "restart_required": false},'
    '{"name": "log", "type": "boolean", "description": "d", "restart_required": false}]}'
)


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("a=1", {"a": "1"}),
        ("a=", {"a": ""}),
        ("a=b=c", {"a": "b=c"}),
        ("a=normal 0 0 0", {"a": "normal 0 0 0"}),
    ],
)
def test_assignments_are_strings(argument: str, expected: dict[str, str]) -> None:
    assert parse_assignments([argument]) == expected


@pytest.mark.parametrize("arguments", [["a"], ["=1"], [""], ["a=1", "a=2"]])
def test_what_is_no_assignment(arguments: list[str]) -> None:
    with pytest.raises(CliError) as caught:
        parse_assignments(arguments)
    assert caught.value.code is Exit.USAGE


def test_documents_keep_the_types_of_yaml() -> None:
    found = parse_document("a: 1\nb: '1'\nc: on\nd: 1.5\ne: null\n", "f", nulls=True)
    assert found == {"a": 1, "b": "1", "c": True, "d": 1.5, "e": None}
    assert found["c"] is True
    assert parse_document('{"a": 1}', "f", nulls=False) == {"a": 1}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a: [", "f: while parsing"),
        ("- a", "f: write a map"),
        ("", "f: write a map"),
        ("on: 1", "True is no name"),
        ("a: null", "a has no value"),
    ],
)
def test_documents_that_are_refused(text: str, part: str) -> None:
    with pytest.raises(CliError) as caught:
        parse_document(text, "f", nulls=False)
    assert part in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.code is Exit.USAGE


@given(VALUES, VALUES)
def test_a_patch_leads_from_one_to_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    patch = merge_patch(before, after)
    merged = {k: v for k, v in (before | patch).items() if v is not None}
    assert {k: repr(v) for k, v in merged.items()} == {k: repr(v) for k, v in after.items()}
    assert merge_patch(after, after) == {}


@given(VALUES, VALUES)
def test_changes_name_what_differs(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert {one.name for one in changes(before, after)} == set(merge_patch(before, after))


def test_a_parameter_keeps_the_spelling_that_the_group_has() -> None:
    present = {"MAX-SIZE": 1, "other_one": 2}
    wanted = {"max_size": 3, "other-one": 4, "Log": 5, "new": 6}
    expected = {"MAX-SIZE": 3, "other_one": 4, "log": 5, "new": 6}
    assert respelled(wanted, present, RULES) == expected
    assert respelled({"max_size": 3}, present, None) == {"MAX-SIZE": 3}
    with pytest.raises(CliError, match="max_size is given twice"):
        respelled({"max_size": 3, "max-size": 4}, {}, RULES)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("max_size", "4M", "4M"),
        ("max_size", 4194304, "4M"),
        ("max_size", "x", "x"),
        ("wait", "2m", "120s"),
        ("log", "yes", "ON"),
        ("log", 0, "OFF"),
        ("unknown", 5, "5"),
        ("unknown", "", '""'),
        ("unknown", False, "OFF"),
        ("unknown", None, "-"),
    ],
)
def test_values_are_shown_as_people_write_them(name: str, value: object, text: str) -> None:
    assert shown(normal(name, value, RULES), RULES.find(name)) == text


def test_without_rules_values_are_left_alone() -> None:
    assert normal("max_size", "4M", None) == "4M"
    assert normal("unknown", "4M", Rules({})) == "4M"


# --- when a rollout is over -----------------------------------------------------------------------
@pytest.mark.parametrize("state", list(AttachedState))
def test_judging_knows_every_state_of_an_instance(state: AttachedState) -> None:
    expected = {
        AttachedState.APPLIED: Outcome.DONE,
        AttachedState.PENDING_RESTART: Outcome.DONE,
        AttachedState.UNREACHABLE: Outcome.DONE,  # it follows when it is back
        AttachedState.REFUSED: Outcome.FAILED,
        AttachedState.ROLLED_BACK: Outcome.FAILED,
    }
    obj = group() | {"status": group_status(1, member("a"), member("b", state.value))}
    found = judge.group({**obj, "metadata": {"generation": 1}})
    assert found.outcome is expected.get(state, Outcome.PENDING)
    assert "of 2 applied" in found.message


def test_a_status_of_older_values_says_nothing() -> None:
    obj = group() | {"status": group_status(1, member("a", "Refused"))}
    found = judge.group({**obj, "metadata": {"generation": 2}})
    assert found.outcome is Outcome.PENDING


def test_many_instances_are_counted_and_the_first_named() -> None:
    waiting = [member(f"w{number}", "Waiting") for number in range(4)]
    status = group_status(1, member("a"), *waiting, member("u", "Unreachable"))
    found = judge.group({"metadata": {"generation": 1}, "status": status})
    assert found.message == "1 of 6 applied, 1 unreachable (u), 4 waiting (w0, w1, w2, …)"


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [
        ("Applied", Outcome.DONE),
        ("PendingRestart", Outcome.DONE),
        ("Applying", Outcome.PENDING),
        ("WaitingForTurn", Outcome.PENDING),
        ("AgentUnreachable", Outcome.PENDING),
        ("RolloutStopped", Outcome.FAILED),
        ("Refused", Outcome.FAILED),
        ("RolledBack", Outcome.FAILED),
        ("ConfigurationNotFound", Outcome.FAILED),
        ("ConfigurationInvalid", Outcome.FAILED),
        ("ConfigurationMismatch", Outcome.FAILED),
    ],
)
def test_judging_an_instance_by_its_condition(reason: str, outcome: Outcome) -> None:
    entry = {"type": "ConfigurationApplied", "status": "True", "reason": reason, "message": "m"}
    for observed, expected in ((2, outcome), (1, Outcome.PENDING)):
        status = {"conditions": [{**entry, "observedGeneration": observed}]}
        found = judge.configured({"metadata": {"generation": 2}, "status": status})
        assert found.outcome is expected
    assert judge.configured({"metadata": {"generation": 2}}).outcome is Outcome.PENDING
