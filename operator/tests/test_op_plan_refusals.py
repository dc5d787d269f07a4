"""What is refused: nothing half-made runs, and what ran before runs on."""

from dataclasses import replace
from typing import Any

import pytest

from coffer_common import naming
from coffer_common.wire import DataState
from coffer_operator.plan.instance import plan_instance
from coffer_operator.plan.validate import validate_instance
from coffer_operator.plan.world import ActFailure, Child, World
from op_plan_cluster import advance, kubelet, ready_world, retained_volume, settle_down, with_data
from op_plan_told import conditions, writes
from op_plan_worlds import NOW, catalogue, datastore_version, edited, instance, instance_obj, world

BAD_SPECS: list[tuple[dict[str, Any], str]] = [
    ({"datastore": {"type": "oracle"}}, "UnknownDatastore"),
    ({"datastore": {"type": "mariadb", "version": "9"}}, "UnknownVersion"),
    ({"flavor": "huge"}, "UnknownFlavor"),
    ({"volume": {"size": "1Gi", "storageClassName": "none"}}, "UnknownStorageClass"),
    ({"volume": {"size": "100Mi"}}, "VolumeTooSmall"),
    ({"databases": [{"name": "mysql"}]}, "InvalidDatabaseName"),
    ({"users": [{"name": "root"}]}, "InvalidUserName"),
    ({"datastore": {"type": "redis"}, "databases": [{"name": "x1"}]}, "DatabasesNotSupported"),
]


@pytest.mark.parametrize(("spec", "reason"), BAD_SPECS)
def test_a_bad_new_instance_makes_nothing(spec: dict[str, Any], reason: str) -> None:
    subject = world(instance(**spec))
    plan = plan_instance(subject)
    assert writes(subject, plan) == [f"event {reason}", "status"]
    assert plan.status is not None
    assert plan.status["phase"] == "Error"
    assert conditions(plan)["Ready"] == ("False", reason)
    assert conditions(plan)["Stalled"] == ("True", reason)
    assert "Reconciling" not in conditions(plan)
    assert plan.status["observedGeneration"] == 1
    assert plan.requeue_after_s is None
    again = advance(subject, plan)
    assert writes(again, plan_instance(again)) == []


@pytest.mark.parametrize(("spec", "reason"), BAD_SPECS)
def test_webhook_and_condition_say_the_same(spec: dict[str, Any], reason: str) -> None:
    errors = validate_instance(instance_obj(**spec), catalogue(), None)
    plan = plan_instance(world(instance(**spec)))
    assert plan.status is not None
    ready = next(c for c in plan.status["conditions"] if c["type"] == "Ready")
    assert errors[0].reason == reason
    assert ready["message"].startswith(errors[0].message)
    assert "\n" not in errors[0].message


def test_an_inactive_version_is_for_running_instances_only() -> None:
    inactive = catalogue(datastore_version(active=False))
    spec: dict[str, Any] = {"datastore": {"type": "mariadb", "version": "10.11"}}
    plan = plan_instance(world(instance(**spec), catalogue=inactive))
    assert conditions(plan)["Stalled"] == ("True", "InactiveVersion")
    running = replace(ready_world(), catalogue=inactive)
    assert writes(running, plan_instance(running)) == []


@pytest.mark.parametrize(
    "edit",
    [
        {"flavor": "huge"},
        {"datastore": {"type": "redis"}},
        {"datastore": {"type": "mariadb", "version": "11.8"}},
        {"users": [{"name": "root"}]},
        {"databases": [{"name": "a b"}]},
    ],
)
def test_an_invalid_edit_leaves_the_running_instance_as_it_is(edit: dict[str, Any]) -> None:
    subject = edited(ready_world(), **edit)
    plan = plan_instance(subject)
    assert (plan.apply, plan.deletes, plan.calls, plan.annotate) == ((), (), (), ())
    assert plan.status is not None
    assert plan.status["phase"] == "Active"
    assert plan.status["observedGeneration"] == 2
    found = conditions(plan)
    assert found["Available"] == ("True", "EngineAnswers")
    assert found["Ready"][0] == "False"
    assert found["Stalled"][0] == "True"
    former = subject.instance.status.model_dump(by_alias=True, mode="json", exclude_none=True)
    for field in ("bindingSecrets", "endpoints", "datastore", "volume", "dataId"):
        assert plan.status[field] == former[field]
    after = advance(subject, plan)
    assert writes(after, plan_instance(after)) == []


def test_an_edit_taken_back_heals() -> None:
    subject = ready_world()
    bad = edited(subject, flavor="huge")
    bad = advance(bad, plan_instance(bad))
    good = edited(bad, flavor="tiny")
    plan = plan_instance(good)
    assert conditions(plan)["Ready"] == ("True", "Ready")
    assert [event.reason for event in plan.events] == ["Recovered"]


def test_the_data_id_is_recorded_even_if_the_spec_turned_invalid_meanwhile() -> None:
    subject = world()
    for _ in range(3):
        subject = kubelet(advance(subject, plan_instance(subject)))
    assert subject.agent is not None
    bad = edited(subject, flavor="huge")
    plan = plan_instance(bad)
    assert plan.annotate[0].annotations == {naming.ANNOTATION_DATA_ID: "data-1"}
    assert plan.status is not None
    assert plan.status["dataId"] == "data-1"


def test_a_flavor_that_is_no_longer_allowed_may_stay_but_not_come() -> None:
    subject = ready_world()
    narrowed = replace(subject, catalogue=catalogue(datastore_version(flavors=["small"])))
    assert writes(narrowed, plan_instance(narrowed)) == []
    fresh = world(catalogue=narrowed.catalogue)
    assert conditions(plan_instance(fresh))["Stalled"] == ("True", "FlavorNotAllowed")


def test_a_flavor_or_version_that_left_the_catalogue_stalls_and_runs_on() -> None:
    subject = ready_world()
    without = replace(subject.catalogue, flavors={}, datastore_versions={})
    plan = plan_instance(replace(subject, catalogue=without))
    assert plan.status is not None
    assert plan.status["phase"] == "Active"
    assert conditions(plan)["Available"][0] == "True"
    assert conditions(plan)["Stalled"][0] == "True"
    assert (plan.apply, plan.deletes) == ((), ())


NEEDED = [
    ("Service", "shop"),
    ("Service", "shop-rw"),
    ("Service", "shop-ro"),
    ("StatefulSet", "shop"),
    ("ConfigMap", "shop-agent"),
    ("EndpointSlice", "shop-rw"),
    ("NetworkPolicy", "shop"),
    ("ServiceAccount", "shop-agent"),
    ("Role", "shop-agent"),
    ("RoleBinding", "shop-agent"),
    ("Secret", "shop-agent-tls"),
]


def foreign(kind: str, name: str) -> dict[tuple[str, str], Child]:
    return {(kind, name): Child(kind, name, "u", "1", "d", ours=False)}


@pytest.mark.parametrize(("kind", "name"), NEEDED)
def test_a_name_that_is_taken_stops_a_new_instance(kind: str, name: str) -> None:
    subject = world(children=foreign(kind, name))
    plan = plan_instance(subject)
    assert writes(subject, plan) == ["event NameTaken", "status"]
    assert plan.status is not None
    assert plan.status["phase"] == "Error"
    ready = next(c for c in plan.status["conditions"] if c["type"] == "Ready")
    assert ready["reason"] == "NameTaken"
    assert f"{kind} {name}" in ready["message"]


def test_what_a_refused_instance_had_begun_is_stopped() -> None:
    begun = world()
    begun = advance(begun, plan_instance(begun))
    late = replace(begun, children={**begun.children, **foreign("Service", "shop-rw")})
    plan = plan_instance(late)
    assert [(d.kind, d.name) for d in plan.deletes] == [("StatefulSet", "shop")]
    assert plan.apply == ()


def test_a_name_taken_from_a_running_instance_stops_nothing() -> None:
    subject = ready_world()
    lost = replace(subject, children={**subject.children, **foreign("Service", "shop")})
    plan = plan_instance(lost)
    assert (plan.deletes, plan.apply) == ((), ())
    assert plan.status is not None
    assert plan.status["phase"] == "Active"
    assert conditions(plan)["Stalled"] == ("True", "NameTaken")


def test_a_volume_of_another_datastore_is_refused_without_a_pod() -> None:
    found = retained_volume(datastore_version="redis-7.0")
    plan = plan_instance(world(volume=found))
    assert (plan.apply, plan.annotate, plan.certificate) == ((), (), None)
    assert conditions(plan)["Stalled"] == ("True", "VolumeInUse")


def test_a_volume_that_the_agent_finds_foreign_is_left_alone() -> None:
    bare = retained_volume(ours=False, data_id=None, datastore_version=None, group=None, role=None)
    subject = settle_down(world(volume=bare), plan_instance, 3)
    subject = with_data(subject, DataState.FOREIGN, data_id=None, message="it holds redis 7")
    plan = plan_instance(subject)
    assert plan.annotate == ()
    assert plan.status is not None
    assert plan.status["phase"] == "Error"
    assert "dataId" not in plan.status
    message = next(c["message"] for c in plan.status["conditions"] if c["type"] == "Stalled")
    assert conditions(plan)["Stalled"] == ("True", "VolumeInUse")
    assert "it holds redis 7" in message
    assert message.count("; to ") == 2, "both ways out"


def failing(subject: World, *, permanent: bool) -> World:
    failure = ActFailure("user app@%", "PasswordSecretMissing", "Secret pw", permanent, NOW)
    return replace(subject, failure=failure)


def test_a_failure_to_act_is_told() -> None:
    subject = ready_world()
    plan = plan_instance(failing(subject, permanent=True))
    assert conditions(plan)["Stalled"] == ("True", "PasswordSecretMissing")
    assert plan.status is not None
    assert plan.status["phase"] == "Active"
    assert conditions(plan)["Available"][0] == "True"
    plan = plan_instance(failing(subject, permanent=False))
    assert conditions(plan)["Reconciling"] == ("True", "PasswordSecretMissing")
