"""From an applied instance to a ready one, and what is taken up from before."""

from dataclasses import replace
from typing import Any

import pytest

from coffer_common import naming
from coffer_operator.plan.instance import plan_instance
from coffer_operator.plan.model import EnsureDatabase, EnsureUser
from coffer_operator.plan.world import Child, PodFact
from op_plan_cluster import APP, advance, kubelet, ready_world, retained_volume, settle_down
from op_plan_told import conditions, guest_config, writes
from op_plan_worlds import (
    UID,
    catalogue,
    datastore_version,
    edited,
    instance,
    later,
    with_status,
    world,
)


def test_one_pass_goes_from_nothing_to_all_objects() -> None:
    plan = plan_instance(world())
    names = [(a.obj["kind"], a.obj["metadata"]["name"]) for a in plan.apply]
    assert names[0] == ("PersistentVolumeClaim", "shop-data")
    assert names[-1] == ("StatefulSet", "shop")
    assert {kind for kind, _ in names} == {
        "PersistentVolumeClaim",
        "ConfigMap",
        "EndpointSlice",
        "NetworkPolicy",
        "Role",
        "RoleBinding",
        "Service",
        "ServiceAccount",
        "StatefulSet",
    }
    assert plan.certificate is not None
    assert plan.status is not None
    assert plan.status["phase"] == "Building"
    assert plan.status["datastore"]["name"] == "mariadb-10.11"
    assert not plan.deletes
    assert not plan.calls


def test_only_the_volume_is_create_only() -> None:
    plan = plan_instance(world())
    assert [a.obj["kind"] for a in plan.apply if a.create_only] == ["PersistentVolumeClaim"]


def test_the_way_to_ready_and_silence_afterwards() -> None:
    subject = world(instance(**APP))
    phases = []
    for _ in range(10):
        plan = plan_instance(subject)
        assert plan.status is not None
        phases.append(plan.status["phase"])
        subject = kubelet(advance(subject, plan))
    assert phases[0] == "Building"
    assert phases[-1] == "Active"
    assert phases == sorted(phases, reverse=True), "Building, then Active, and never back"
    plan = plan_instance(subject)
    assert conditions(plan) == {
        "Ready": ("True", "Ready"),
        "Available": ("True", "EngineAnswers"),
        "VolumeHealthy": ("True", "AsWanted"),
        "ConfigurationApplied": ("True", "Applied"),
    }
    assert writes(subject, plan) == []


def test_creation_stays_within_its_budget_of_writes() -> None:
    subject, count = world(instance(**APP)), 0
    for _ in range(10):
        plan = plan_instance(subject)
        count += len(writes(subject, plan))
        subject = kubelet(advance(subject, plan))
    assert count <= 30, "of 40 requests, since some of these are read first"


def test_the_data_id_is_on_claim_and_configuration_before_or_with_the_status() -> None:
    subject = world()
    for _ in range(8):
        plan = plan_instance(subject)
        assert plan.status is not None
        if "dataId" in plan.status:
            break
        subject = kubelet(advance(subject, plan))
    assert plan.annotate[0].annotations == {naming.ANNOTATION_DATA_ID: "data-1"}
    assert guest_config(plan)["data_id"] == "data-1"


def test_databases_and_users_are_made_once_the_engine_answers() -> None:
    subject, calls = world(instance(**APP)), []
    for _ in range(10):
        plan = plan_instance(subject)
        calls.append(plan.calls)
        subject = kubelet(advance(subject, plan))
    made = [call for plan_calls in calls for call in plan_calls]
    database, user = made
    assert isinstance(database, EnsureDatabase)
    assert (database.name, database.request.character_set) == ("shop", "utf8mb4")
    assert isinstance(user, EnsureUser)
    assert (user.secret_name, user.databases) == ("shop-app", ("shop",))
    assert user.binding == {
        "type": "mariadb",
        "provider": "coffer",
        "host": "shop-rw.prod.svc",
        "port": "3306",
        "database": "shop",
    }


def test_status_names_a_secret_only_after_its_user_was_set() -> None:
    subject = ready_world()
    assert subject.agent is not None
    content = subject.instance.status.model_dump(by_alias=True, mode="json", exclude_none=True)
    del content["bindingSecrets"]
    forgotten = with_status(replace(subject, ensured_users=frozenset()), content)
    plan = plan_instance(forgotten)
    assert plan.status is not None
    assert "bindingSecrets" not in plan.status
    assert [type(call) for call in plan.calls] == [EnsureUser]
    again = plan_instance(advance(forgotten, plan))
    assert again.status is not None
    assert [b["name"] for b in again.status["bindingSecrets"]] == ["shop-app"]
    assert again.calls == ()


def test_a_change_of_grants_reaches_the_engine() -> None:
    subject = ready_world()
    more = [{"name": "shop"}, {"name": "logs"}]
    change = edited(subject, databases=more, users=[{"name": "app", "databases": ["shop", "logs"]}])
    plan = plan_instance(change)
    assert [c.name for c in plan.calls if isinstance(c, EnsureDatabase)] == ["logs"]
    assert [c.databases for c in plan.calls if isinstance(c, EnsureUser)] == [("shop", "logs")]
    assert [(e.reason, e.warning) for e in plan.events] == [("AccountsPending", False)]
    settled = settle_down(change, plan_instance, 3)
    assert writes(settled, plan_instance(settled)) == []


def test_a_user_dropped_by_hand_is_made_again_under_the_same_secret() -> None:
    subject = ready_world()
    assert subject.agent is not None
    status = subject.agent.status.model_copy(update={"users": ()})
    plan = plan_instance(replace(subject, agent=replace(subject.agent, status=status)))
    assert [c.secret_name for c in plan.calls if isinstance(c, EnsureUser)] == ["shop-app"]
    assert plan.status is not None
    assert [b["name"] for b in plan.status["bindingSecrets"]] == ["shop-app"]


def test_secrets_of_one_name_from_two_hosts_keep_apart_and_keep_their_names() -> None:
    one = [{"name": "app", "host": "10.1.%"}]
    subject = settle_down(world(instance(users=one)), plan_instance)
    both = edited(subject, users=[{"name": "app"}, *one])
    settled = settle_down(both, plan_instance, 4)
    bindings = {b.host: b.name for b in settled.instance.status.binding_secrets}
    assert bindings["10.1.%"] == "shop-app", "the name that applications know stays"
    assert len(set(bindings.values())) == 2


def test_no_name_of_a_user_leads_to_the_secret_of_the_agent() -> None:
    rules = {"pattern": ".+", "allowed": "anything", "maxLength": 80}
    version = datastore_version(userNames=rules)
    subject = world(instance(users=[{"name": "agent-tls"}]), catalogue=catalogue(version))
    settled = settle_down(subject, plan_instance)
    names = [b.name for b in settled.instance.status.binding_secrets]
    assert len(names) == 1
    assert names[0] != naming.agent_tls("shop")


def test_what_is_settled_survives_a_change_of_the_default_version() -> None:
    subject = ready_world()
    newer = catalogue(
        datastore_version(default=False), datastore_version("mariadb-11.8", image="new:1")
    )
    plan = plan_instance(replace(subject, catalogue=newer))
    assert plan.status is not None
    assert plan.status["datastore"]["version"] == "10.11"
    assert writes(subject, plan) == []


def test_an_instance_restored_without_status_is_the_same() -> None:
    subject = ready_world()
    assert subject.agent is not None
    bare = replace(with_status(subject, None), ensured_users=frozenset())
    plan = plan_instance(bare)
    assert plan.status is not None
    former = subject.instance.status.model_dump(by_alias=True, mode="json", exclude_none=True)
    for field in ("role", "group", "datastore", "dataId", "endpoints"):
        assert plan.status[field] == former[field]
    assert [a.obj["kind"] for a in plan.apply if a.create_only] == []
    settled = settle_down(bare, plan_instance, 4)
    assert settled.instance.status.phase == "Active"
    assert writes(settled, plan_instance(settled)) == []


@pytest.mark.parametrize("silent", [True, False])
def test_a_retained_volume_is_taken_up_with_its_data(silent: bool) -> None:
    found = retained_volume()
    plan = plan_instance(world(volume=found))
    assert not any(a.obj["kind"] == "PersistentVolumeClaim" for a in plan.apply)
    assert guest_config(plan)["data_id"] == "data-old"
    assert plan.status is not None
    assert "dataId" not in plan.status, "only the agent's word puts it into status"
    settled = settle_down(world(instance(**APP), volume=found), plan_instance)
    assert settled.instance.status.data_id == "data-old"
    assert settled.instance.status.phase == "Active"
    if silent:
        assert writes(settled, plan_instance(settled)) == []


def test_a_claim_that_is_not_labelled_is_adopted_at_the_agents_word() -> None:
    bare = retained_volume(ours=False, data_id=None, datastore_version=None, group=None, role=None)
    settled = settle_down(world(volume=bare), plan_instance, 3)
    assert settled.volume == bare, "nothing is written to it before the agent looked"
    settled = settle_down(settled, plan_instance)
    assert settled.volume is not None
    assert settled.volume.ours
    assert settled.volume.data_id == "data-1"
    assert settled.volume.datastore_version == "mariadb-10.11"
    assert writes(settled, plan_instance(settled)) == []


@pytest.mark.parametrize(
    "leaving", [{"deleting": True}, {"owner_uids": ("uid-of-a-deleted-instance",)}]
)
def test_a_volume_on_its_way_out_is_waited_for(leaving: dict[str, Any]) -> None:
    subject = world(volume=retained_volume(**leaving))
    plan = plan_instance(subject)
    assert plan.apply == ()
    assert plan.annotate == ()
    assert conditions(plan)["Reconciling"] == ("True", "VolumeDeleting")
    gone = plan_instance(replace(advance(subject, plan), volume=None))
    assert gone.apply[0].create_only


def test_objects_of_a_deleted_namesake_are_waited_for() -> None:
    old = Child("Service", "shop", "u", "1", "d", ours=True, owner_uid="uid-before")
    plan = plan_instance(world(children={("Service", "shop"): old}))
    assert plan.apply == ()
    assert conditions(plan)["Reconciling"] == ("True", "FormerObjects")


def test_a_deleted_namesakes_certificate_is_not_relied_on() -> None:
    """Garbage collection takes its Secret, which nobody watches, from under the new pod."""
    name = ("Secret", "shop-agent-tls")
    old = Child(*name, "u", "1", "d", ours=True, owner_uid="uid-before")
    subject = world(children={name: old}, certificate=ready_world().certificate)
    plan = plan_instance(subject)
    assert plan.apply == ()
    assert plan.certificate is None
    assert conditions(plan)["Reconciling"] == ("True", "FormerObjects")
    assert plan.requeue_after_s == 1.0
    gone = plan_instance(replace(advance(subject, plan), children={}, certificate=None))
    assert gone.certificate is not None
    assert gone.apply


def test_orphaned_objects_are_taken_up() -> None:
    old = Child("Service", "shop", "u", "1", "d", ours=True, owner_uid=None)
    plan = plan_instance(world(children={("Service", "shop"): old}))
    assert ("Service", "shop") in [(a.obj["kind"], a.obj["metadata"]["name"]) for a in plan.apply]


def test_an_object_under_deletion_is_not_applied() -> None:
    subject = ready_world()
    child = subject.children["Service", "shop"]
    going = {**subject.children, ("Service", "shop"): replace(child, deleting=True)}
    plan = plan_instance(replace(subject, children=going))
    assert not any(
        a.obj["metadata"]["name"] == "shop" and a.obj["kind"] == "Service" for a in plan.apply
    )


def test_the_group_keeps_away_from_a_namesakes_group() -> None:
    other = Child(
        "Service",
        "shop-rw",
        "u",
        "1",
        "d",
        ours=False,
        annotations={naming.ANNOTATION_GROUP: "shop"},
    )
    subject = world(children={("Service", "shop-rw"): other})
    plan = plan_instance(subject)
    assert plan.status is not None
    group = plan.status["group"]
    assert group == f"shop-{naming.short_hash(UID, 5)}"
    names = {a.obj["metadata"]["name"] for a in plan.apply}
    assert f"{group}-rw" in names
    assert "shop-rw" not in names
    later_on = plan_instance(replace(advance(subject, plan), children={}))
    assert later_on.status is not None
    assert later_on.status["group"] == group, "settled, even when the other one is gone"


def test_deletion_policy_moves_the_owner_reference() -> None:
    subject = ready_world()
    change = plan_instance(edited(subject, deletionPolicy="Delete"))
    assert change.annotate[0].owner_references is not None
    assert change.annotate[0].owner_references[0]["uid"] == UID
    owned = advance(edited(subject, deletionPolicy="Delete"), change)
    assert writes(owned, plan_instance(owned)) == []
    back = plan_instance(edited(owned, deletionPolicy="Retain"))
    assert back.annotate[0].owner_references == ()


def test_the_owner_reference_moves_while_the_agent_is_silent() -> None:
    subject = replace(ready_world(), agent=None)
    plan = plan_instance(edited(subject, deletionPolicy="Delete"))
    assert plan.annotate[0].owner_references
    assert plan.annotate[0].annotations == {}


def test_a_certificate_is_renewed_after_two_thirds_of_its_life_or_with_the_ca() -> None:
    subject = ready_world()
    plan = plan_instance(subject)
    assert plan.certificate is None
    assert plan.requeue_after_s is not None
    assert plan_instance(later(subject, plan.requeue_after_s - 1)).certificate is None
    assert plan_instance(later(subject, plan.requeue_after_s + 1)).certificate is not None
    assert plan_instance(replace(subject, ca_fingerprint="ca2")).certificate is not None


def test_a_certificate_that_was_not_looked_at_is_not_made_again() -> None:
    plan = plan_instance(world(certificate_known=False))
    assert plan.certificate is None


def test_deletion_makes_nothing() -> None:
    subject = ready_world()
    content = subject.instance.model_dump(by_alias=True, mode="json")
    content["metadata"]["deletionTimestamp"] = "2026-11-22T12:30:00Z"
    leaving = replace(subject, instance=type(subject.instance).model_validate(content))
    plan = plan_instance(leaving)
    assert (plan.apply, plan.deletes, plan.calls, plan.annotate) == ((), (), (), ())
    assert plan.status is not None
    assert plan.status["phase"] == "Deleting"
    after = advance(leaving, plan)
    assert writes(after, plan_instance(after)) == []


def test_a_terminating_namespace_gets_nothing_new() -> None:
    plan = plan_instance(world(namespace_terminating=True))
    assert plan.apply == ()
    assert plan.certificate is None


def test_an_agent_of_another_pod_or_instance_is_not_listened_to() -> None:
    subject = ready_world()
    assert isinstance(subject.pod, PodFact)
    moved = replace(subject, pod=replace(subject.pod, uid="another", ready=False))
    assert conditions(plan_instance(moved))["Available"][0] != "True"
    assert subject.agent is not None
    foreign = subject.agent.status.model_copy(update={"instance_uid": "before"})
    deaf = replace(
        subject,
        agent=replace(subject.agent, status=foreign),
        pod=replace(subject.pod, ready=False),
    )
    assert plan_instance(deaf).calls == ()
    assert conditions(plan_instance(deaf))["Available"][0] == "Unknown"
