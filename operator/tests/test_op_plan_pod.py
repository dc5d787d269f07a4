"""The pod: when it is replaced, what is told of it, and what only looks like an outage."""

from dataclasses import replace
from typing import Any

import pytest

from coffer_common.wire import EngineState
from coffer_operator.plan.clock import after
from coffer_operator.plan.instance import plan_instance
from coffer_operator.plan.model import EmptySlice, FillSlice
from coffer_operator.plan.serving import STARTS_SLOWLY_S
from coffer_operator.plan.world import ContainerFact, PodFact, SliceFact, World
from op_plan_cluster import advance, kubelet, ready_world, settle_down, silent, with_engine
from op_plan_told import conditions, writes
from op_plan_worlds import NOW, edited, later, world


def with_pod(before: World, **fields: Any) -> World:
    assert before.pod is not None
    return replace(before, pod=replace(before.pod, **fields))


def container(**fields: Any) -> ContainerFact:
    return replace(ContainerFact("database", running=False, ready=False, restarts=0), **fields)


def unschedulable() -> World:
    subject = world()
    subject = kubelet(advance(subject, plan_instance(subject)))
    return with_pod(subject, unschedulable="0/1 nodes: insufficient\n  memory")


def message_of(status: Any, kind: str) -> str:
    return str(next(c["message"] for c in status["conditions"] if c["type"] == kind))


# --- templates -----------------------------------------------------------------------------------
def test_a_new_flavor_asks_for_a_restart_and_does_not_restart() -> None:
    subject = edited(ready_world(), flavor="small")
    plan = plan_instance(subject)
    assert [a.obj["kind"] for a in plan.apply if a.obj["kind"] == "StatefulSet"]
    subject = advance(subject, plan)
    plan = plan_instance(subject)
    assert plan.deletes == ()
    assert plan.status is not None
    assert plan.status["phase"] == "RestartRequired"
    assert conditions(plan)["RestartRequired"] == ("True", "TemplateChanged")
    assert conditions(plan)["Ready"] == ("True", "Ready")
    after = advance(subject, plan)
    assert writes(after, plan_instance(after)) == []
    back = edited(after, flavor="tiny")
    back = advance(back, plan_instance(back))
    assert "RestartRequired" not in conditions(plan_instance(back))


def test_an_unschedulable_pod_whose_flavor_is_corrected_is_replaced() -> None:
    subject = unschedulable()
    plan = plan_instance(subject)
    assert conditions(plan)["Ready"] == ("False", "Unschedulable")
    assert "\n" not in message_of(plan.status, "Ready")
    assert plan.deletes == ()
    fixed = edited(advance(subject, plan), flavor="small")
    plan = plan_instance(fixed)
    assert plan.deletes == (), "the StatefulSet does not have the new template yet"
    fixed = advance(fixed, plan)
    plan = plan_instance(fixed)
    assert [(d.kind, d.name) for d in plan.deletes] == [("Pod", "shop-0")]
    settled = settle_down(fixed, plan_instance)
    assert settled.instance.status.phase == "Active"


def test_a_pod_is_not_replaced_before_its_controller_knows_the_template() -> None:
    fixed = edited(unschedulable(), flavor="small")
    fixed = advance(fixed, plan_instance(fixed))
    assert fixed.stateful_set is not None
    behind = replace(fixed.stateful_set, generation=9)
    assert plan_instance(replace(fixed, stateful_set=behind)).deletes == ()


@pytest.mark.parametrize(
    "fields",
    [
        {"phase": "Unknown"},
        {"database": None},
        {"deleting": True, "phase": "Failed"},
    ],
)
def test_a_pod_that_cannot_be_told_about_is_not_deleted(fields: dict[str, Any]) -> None:
    outdated = with_pod(ready_world(), template_hash="old", **fields)
    assert plan_instance(replace(outdated, agent=None)).deletes == ()


def test_a_pod_on_a_silent_node_is_not_deleted() -> None:
    outdated = with_pod(ready_world(), template_hash="old", database=container())
    plan = plan_instance(replace(silent(outdated), node_ready=False))
    assert plan.deletes == ()
    assert conditions(plan)["Available"] == ("Unknown", "NodeNotReady")
    assert plan.status is not None
    assert plan.status["phase"] == "Active"


# --- waiting has an end and polls nothing --------------------------------------------------------
def test_what_waits_too_long_stalls_and_says_so() -> None:
    subject = unschedulable()
    plan = plan_instance(subject)
    assert plan.requeue_after_s == 1800
    subject = later(advance(subject, plan), 1801)
    plan = plan_instance(subject)
    assert plan.status is not None
    assert plan.status["phase"] == "Error"
    assert conditions(plan)["Stalled"] == ("True", "Unschedulable")
    assert "Reconciling" not in conditions(plan)
    assert "30 minutes" in message_of(plan.status, "Ready")
    after = advance(subject, plan)
    again = plan_instance(later(after, 3600))
    assert writes(after, again) == []


def test_a_new_pod_has_its_time_anew() -> None:
    subject = unschedulable()
    subject = later(advance(subject, plan_instance(subject)), 1801)
    fresh = with_pod(subject, created_at=subject.now)
    assert "Stalled" not in conditions(plan_instance(fresh))


def test_an_agent_that_never_answers_stalls_the_building_without_an_error() -> None:
    subject = world()
    for _ in range(3):
        subject = kubelet(advance(subject, plan_instance(subject)))
    subject = replace(subject, agent=None)
    plan = plan_instance(subject)
    assert conditions(plan)["Available"] == ("False", "AgentPending")
    plan = plan_instance(later(advance(subject, plan), 2000))
    assert conditions(plan)["Stalled"][0] == "True"


def test_an_image_that_cannot_be_pulled_is_named() -> None:
    subject = world()
    subject = kubelet(advance(subject, plan_instance(subject)))
    guest = ContainerFact(
        "guest", False, False, 0, "ImagePullBackOff", "back-off pulling registry.test/x"
    )
    plan = plan_instance(with_pod(subject, guest=guest, node="node-1"))
    assert conditions(plan)["Ready"] == ("False", "ImageUnavailable")
    assert "registry.test/x" in message_of(plan.status, "Ready")


# --- the engine and its agent --------------------------------------------------------------------
@pytest.mark.parametrize(
    ("state", "phase", "available", "reason"),
    [
        (EngineState.CRASHED, "Active", "False", "EngineCrashed"),
        (EngineState.STARTING, "Active", "False", "EngineStarting"),
        (EngineState.STOPPED, "Active", "False", "EngineStopped"),
        (EngineState.WAITING, "Active", "False", "Preparing"),
        (EngineState.UNRESPONSIVE, "Active", "Unknown", "EngineUnresponsive"),
        (EngineState.UNKNOWN, "Active", "Unknown", "LauncherUnreachable"),
        (EngineState.CRASH_LOOP, "Error", "False", "EngineCrashLoop"),
    ],
)
def test_what_the_agent_says_of_the_engine(
    state: EngineState, phase: str, available: str, reason: str
) -> None:
    plan = plan_instance(with_engine(ready_world(), state))
    assert plan.status is not None
    assert plan.status["phase"] == phase
    assert conditions(plan)["Available"] == (available, reason)
    assert conditions(plan)["Ready"] == (available, reason)
    assert plan.deletes == ()


def test_only_an_engine_at_rest_is_said_to_need_a_restart() -> None:
    at_rest = with_engine(ready_world(), EngineState.STOPPED)
    assert "a Restart operation starts it" in message_of(plan_instance(at_rest).status, "Ready")
    ending = with_engine(ready_world(), EngineState.STOPPED, message="the engine is being stopped")
    assert message_of(plan_instance(ending).status, "Ready") == "the engine is being stopped"


def test_how_an_engine_died_is_said_once() -> None:
    said = "the engine died again and again, last with signal 9"
    subject = with_engine(ready_world(), EngineState.CRASH_LOOP, message=said, last_exit="signal 9")
    text = message_of(plan_instance(subject).status, "Ready")
    assert text.count("signal 9") == 1
    assert text.endswith("(last exit: signal 9)")


@pytest.mark.parametrize("ready", [True, False])
def test_a_silent_agent_is_unknown_and_never_an_error(ready: bool) -> None:
    subject = with_pod(silent(ready_world()), ready=ready)
    plan = plan_instance(subject)
    assert plan.status is not None
    assert plan.status["phase"] == "Active"
    assert conditions(plan)["Available"] == ("Unknown", "AgentUnreachable")
    assert conditions(plan)["Ready"][0] == "Unknown"
    assert (plan.deletes, plan.calls, plan.slices) == ((), (), ())
    assert ("kubelet reports the pod ready" in message_of(plan.status, "Available")) is ready
    back = advance(subject, plan)
    back = replace(ready_world(), instance=back.instance)
    assert conditions(plan_instance(back))["Ready"] == ("True", "Ready")


def test_a_guest_image_that_cannot_be_pulled_costs_no_phase() -> None:
    guest = ContainerFact("guest", False, False, 1, "ImagePullBackOff")
    plan = plan_instance(with_pod(silent(ready_world()), guest=guest, ready=False))
    assert plan.status is not None
    assert plan.status["phase"] == "Active"
    assert "ImagePullBackOff" in message_of(plan.status, "Available")
    assert plan.deletes == ()


def test_an_agent_whose_container_ended_is_told_of_with_where_to_look() -> None:
    guest = ContainerFact("guest", False, False, 0, None, last_exit="exit 0")
    plan = plan_instance(with_pod(silent(ready_world()), guest=guest, ready=False))
    text = message_of(plan.status, "Available")
    assert "does not run: exit 0; see kubectl describe pod shop-0" in text


@pytest.mark.parametrize("state", [EngineState.STOPPED, EngineState.WAITING, EngineState.UNKNOWN])
def test_an_engine_that_stops_with_its_pod_is_not_said_to_need_a_restart(
    state: EngineState,
) -> None:
    plan = plan_instance(with_pod(with_engine(ready_world(), state), deleting=True))
    assert conditions(plan)["Available"] == ("False", "PodStopping")
    assert conditions(plan)["Ready"] == ("False", "PodStopping")
    ended = with_pod(silent(ready_world()), deleting=True, database=container(running=False))
    assert conditions(plan_instance(ended))["Ready"] == ("False", "PodStopping")


def test_a_restarted_operator_writes_nothing_before_it_has_asked() -> None:
    subject = replace(ready_world(), agent=None, ensured_users=frozenset())
    assert writes(subject, plan_instance(subject)) == []
    crashed = with_engine(ready_world(), EngineState.RUNNING, restarts=1, last_exit="signal 9")
    crashed = advance(crashed, plan_instance(crashed))
    subject = replace(crashed, agent=None)
    assert writes(subject, plan_instance(subject)) == []


def test_a_crash_that_the_launcher_mended_is_announced_once() -> None:
    subject = with_engine(ready_world(), EngineState.RUNNING, restarts=1, last_exit="signal 9")
    plan = plan_instance(subject)
    assert [(e.reason, e.warning) for e in plan.events] == [("EngineRestarted", True)]
    assert "signal 9" in plan.events[0].message
    after = advance(subject, plan)
    assert writes(after, plan_instance(after)) == []
    twice = with_engine(after, EngineState.RUNNING, restarts=2)
    assert [e.reason for e in plan_instance(twice).events] == ["EngineRestarted"]
    unknown = with_engine(after, EngineState.UNKNOWN, restarts=0)
    unknown = advance(unknown, plan_instance(unknown))
    known = with_engine(unknown, EngineState.RUNNING, restarts=1)
    assert "EngineRestarted" not in [e.reason for e in plan_instance(known).events]


def crashes(*seen: tuple[EngineState, int]) -> list[str]:
    """The Events of a crash, as its signs are seen one after another."""
    subject, found = ready_world(), []
    for state, restarts in seen:
        subject = with_engine(subject, state, restarts=restarts, last_exit="signal 9")
        plan = plan_instance(subject)
        found += [event.reason for event in plan.events]
        subject = advance(subject, plan)
    return found


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        (
            [(EngineState.CRASHED, 0), (EngineState.STARTING, 1), (EngineState.RUNNING, 1)],
            ["EngineCrashed", "Recovered"],
        ),
        ([(EngineState.CRASHED, 1), (EngineState.RUNNING, 1)], ["EngineRestarted", "Recovered"]),
        ([(EngineState.CRASHED, 0), (EngineState.RUNNING, 1)], ["EngineCrashed", "Recovered"]),
        ([(EngineState.STARTING, 1), (EngineState.RUNNING, 1)], ["EngineRestarted", "Recovered"]),
        (
            [(EngineState.STARTING, 0), (EngineState.RUNNING, 1)],
            ["EngineStarting", "EngineRestarted"],
        ),
        ([(EngineState.RUNNING, 1)], ["EngineRestarted"]),
    ],
)
def test_a_crash_makes_two_events_at_most(
    seen: list[tuple[EngineState, int]], told: list[str]
) -> None:
    assert crashes(*seen) == told


@pytest.mark.parametrize(
    ("guest", "database", "said"),
    [
        (None, container(waiting_reason="ContainerCreating"), "the pod is being started"),
        (
            container(waiting_reason="CreateContainerConfigError", waiting_message="no secret\n x"),
            container(waiting_reason="PodInitializing"),
            "the pod is being started (CreateContainerConfigError: no secret x)",
        ),
        (
            container(waiting_reason="CrashLoopBackOff", waiting_message="back-off 20s"),
            None,
            "the pod is being started (CrashLoopBackOff)",
        ),
    ],
)
def test_what_kubelet_waits_for_is_told(
    guest: ContainerFact | None, database: ContainerFact | None, said: str
) -> None:
    subject = with_pod(ready_world(), phase="Pending", ready=False, guest=guest, database=database)
    plan = plan_instance(replace(subject, agent=None))
    assert message_of(plan.status, "Available") == said


def test_a_pod_that_takes_long_to_start_sends_to_kubelets_events() -> None:
    waits = container(waiting_reason="ContainerCreating")
    subject = with_pod(ready_world(), phase="Pending", ready=False, guest=waits, database=None)
    assert subject.pod is not None
    pod = replace(subject.pod, scheduled_at=subject.now)
    subject = replace(subject, agent=None, pod=pod)
    plan = plan_instance(subject)
    assert message_of(plan.status, "Available") == "the pod is being started"
    assert plan.requeue_after_s is not None
    assert plan.requeue_after_s <= STARTS_SLOWLY_S
    later = replace(subject, now=after(subject.now, STARTS_SLOWLY_S))
    said = message_of(plan_instance(later).status, "Available")
    assert f"kubectl describe pod {pod.name}" in said


def test_a_container_in_back_off_is_a_crash_loop() -> None:
    subject = with_pod(
        with_engine(ready_world(), EngineState.UNKNOWN),
        ready=False,
        database=container(waiting_reason="CrashLoopBackOff", last_exit="exit 1"),
    )
    plan = plan_instance(subject)
    assert plan.status is not None
    assert plan.status["phase"] == "Error"
    assert conditions(plan)["Stalled"] == ("True", "EngineCrashLoop")
    assert "exit 1" in message_of(plan.status, "Ready")
    assert plan.deletes == ()


def test_a_deleted_pod_comes_back_without_an_error() -> None:
    subject = ready_world()
    gone = replace(subject, pod=None)
    plan = plan_instance(gone)
    assert plan.status is not None
    assert plan.status["phase"] == "Active"
    assert conditions(plan)["Available"] == ("False", "NoPod")
    assert isinstance(plan.slices[0], EmptySlice)
    settled = settle_down(gone, plan_instance)
    assert conditions(plan_instance(settled))["Ready"] == ("True", "Ready")
    assert settled.instance.status.data_id == subject.instance.status.data_id


# --- addresses -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "fields", [{"phase": "Failed"}, {"uid": "another"}, {"ip": "10.0.0.99"}, {"phase": "Succeeded"}]
)
def test_an_address_that_leads_nowhere_is_taken_out(fields: dict[str, Any]) -> None:
    plan = plan_instance(with_pod(ready_world(), **fields))
    assert plan.slices == (EmptySlice("shop-rw", "2"),)


@pytest.mark.parametrize("fields", [{"deleting": True}, {"ip": None}, {"ready": False}])
def test_an_address_stays_while_its_pod_may_serve(fields: dict[str, Any]) -> None:
    assert plan_instance(with_pod(ready_world(), **fields)).slices == ()


def test_a_missing_address_is_put_back() -> None:
    subject = replace(ready_world(), read_write=SliceFact((), None, 1, "5"))
    plan = plan_instance(subject)
    (fill,) = plan.slices
    assert isinstance(fill, FillSlice)
    assert isinstance(subject.pod, PodFact)
    assert (fill.address, fill.pod_uid, fill.port) == (subject.pod.ip, subject.pod.uid, 3306)
    assert conditions(plan)["Ready"] == ("False", "AddressPending")
    after = advance(subject, plan)
    assert conditions(plan_instance(after))["Ready"] == ("True", "Ready")


def test_an_address_is_not_put_back_on_a_silent_agents_behalf() -> None:
    subject = replace(silent(ready_world()), read_write=SliceFact((), None, 1, "5"))
    assert plan_instance(subject).slices == ()


def test_nothing_is_ready_before_its_address_is_published() -> None:
    subject = replace(ready_world(), read_write=None, now=NOW)
    assert conditions(plan_instance(subject))["Ready"] == ("True", "Ready"), "cannot tell"
    subject = with_pod(replace(ready_world(), read_write=SliceFact((), None, 1, "5")), ready=False)
    assert conditions(plan_instance(subject))["Ready"] == ("False", "AddressPending")
