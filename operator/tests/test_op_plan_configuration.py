"""The values of one instance: who gets them when, what is told, and where its port leads."""

from dataclasses import replace
from typing import Any

import pytest

from coffer_common.wire import ConfigurationStatus
from coffer_operator.plan.instance import plan_instance
from coffer_operator.plan.model import PutConfiguration
from coffer_operator.plan.world import World
from op_plan_cluster import advance, kubelet, ready_world, settle_down, with_agent
from op_plan_configured import (
    NEW,
    attached,
    converged,
    message,
    new,
    puts,
)
from op_plan_groups import (
    LIVE,
    STATIC,
    group,
    history,
    refused,
    taken,
    with_group,
)
from op_plan_told import conditions, guest_config, writes
from op_plan_worlds import catalogue, datastore_version, edited, world

REDIS = {"type": "redis", "version": "7.0"}


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
