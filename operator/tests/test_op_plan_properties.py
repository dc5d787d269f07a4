"""What holds for every World, however it came about."""

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from coffer_common.resources.instance_status import InstanceStatus
from coffer_common.resources.operation import Operation
from coffer_common.wire import DataState
from coffer_operator.plan.instance import plan_instance
from coffer_operator.plan.model import Plan
from coffer_operator.plan.world import (
    ContainerFact,
    PodFact,
    SliceFact,
    World,
)
from op_plan_cluster import advance, kubelet, ready_world, settle_down
from op_plan_strategies import GOOD_SPECS, MAYBE, OPERATIONS, PRESENT_POD, worlds
from op_plan_told import conditions, writes
from op_plan_worlds import (
    UID,
    edited,
    later,
    with_status,
)


@given(worlds())
def test_a_plan_never_raises_and_keeps_its_rules(subject: World) -> None:
    plan = plan_instance(subject)
    says_how_things_are(subject, plan)
    makes_no_volume_where_data_have_been(subject, plan)
    deletes_only_what_is_known_not_to_run(subject, plan)


def says_how_things_are(subject: World, plan: Plan) -> None:
    assert plan.status is not None
    status = InstanceStatus.model_validate(plan.status)
    assert status.phase is not None
    assert status.observed_generation == subject.instance.metadata.generation
    types = [condition.type for condition in status.conditions]
    assert len(types) == len(set(types))
    assert "Ready" in types
    assert not {"Reconciling", "Stalled"} <= set(types)
    for condition in status.conditions:
        assert condition.message
        assert "\n" not in condition.message
        assert condition.last_transition_time
        if condition.type in ("Reconciling", "Stalled"):
            assert condition.status == "True"
    assert plan.requeue_after_s is None or plan.requeue_after_s >= 0


def makes_no_volume_where_data_have_been(subject: World, plan: Plan) -> None:
    agent, pod = subject.agent, subject.pod
    told = (
        agent is not None
        and pod is not None
        and agent.pod_uid == pod.uid == agent.status.pod_uid
        and agent.status.instance_uid == UID
        and agent.status.data.state is DataState.LAID_OUT
    )
    if subject.instance.status.data_id is not None or subject.volume is not None or told:
        assert not any(a.obj["kind"] == "PersistentVolumeClaim" for a in plan.apply)
    assert all(d.kind != "PersistentVolumeClaim" for d in plan.deletes)


def deletes_only_what_is_known_not_to_run(subject: World, plan: Plan) -> None:
    pods = [d for d in plan.deletes if d.kind == "Pod"]
    if not pods:
        return
    pod, volume = subject.pod, subject.volume
    assert pod is not None
    assert [d.uid for d in pods] == [pod.uid]
    assert volume is not None
    assert not volume.deleting
    ended = pod.phase in ("Failed", "Succeeded")
    stopped = pod.phase == "Pending" or (pod.database is not None and not pod.database.running)
    known = ended or (stopped and pod.phase != "Unknown" and subject.node_ready is not False)
    assert known or any(is_open(o) for o in subject.operations)


def is_open(subject: Operation) -> bool:
    return subject.status.phase not in ("Completed", "Failed", "Expired")


RUNNING = st.none() | st.just(ContainerFact("database", running=True, ready=True, restarts=0))


@given(
    st.sampled_from(["refused", "", None]),
    st.builds(
        lambda ready, outdated, database, deleting: replace(
            PRESENT_POD,
            ready=ready,
            template_hash="old" if outdated else PRESENT_POD.template_hash,
            database=database,
            deleting=deleting,
        ),
        MAYBE,
        MAYBE,
        RUNNING,
        MAYBE,
    ),
    st.sampled_from([None, True, False]),
    st.sampled_from([1.0, 10.0**7]),
)
def test_silence_is_never_an_error_and_deletes_nothing(
    error: str | None, pod: PodFact, node_ready: bool | None, age_s: float
) -> None:
    converged = ready_world()
    assert converged.agent is not None
    agent = replace(converged.agent, error=error, age_s=age_s) if error is not None else None
    silent = replace(converged, agent=agent, pod=pod, node_ready=node_ready)
    for subject in (silent, later(advance(silent, plan_instance(silent)), 10**5)):
        plan = plan_instance(subject)
        assert plan.deletes == ()
        assert plan.status is not None
        assert plan.status["phase"] in ("Active", "RestartRequired")


@given(worlds())
def test_a_status_that_was_written_stays_as_it_is(subject: World) -> None:
    """No World makes a plan write a status that the next plan writes differently."""
    first = plan_instance(subject)
    after = with_status(subject, first.status)
    second = plan_instance(after)
    third = plan_instance(with_status(after, second.status))
    assert third.status == second.status
    assert not [event for event in third.events if event.operation is None]


@settings(max_examples=8)
@given(GOOD_SPECS, st.lists(st.sampled_from(["pod", "agent", "slice", "kubelet"]), max_size=6))
def test_whatever_happens_it_converges_and_falls_silent(
    spec: dict[str, Any], shocks: list[str]
) -> None:
    subject = edited(ready_world(), **spec)
    for shock in shocks:
        if shock == "pod":
            subject = replace(subject, pod=None)
        elif shock == "agent":
            subject = replace(subject, agent=None)
        elif shock == "slice":
            subject = replace(subject, read_write=SliceFact((), None, 1, "7"))
        subject = kubelet(advance(subject, plan_instance(subject)))
    subject = settle_down(subject, plan_instance)
    plan = plan_instance(subject)
    assert writes(subject, plan) == []
    assert conditions(plan)["Ready"] == ("True", "Ready")


@given(OPERATIONS, OPERATIONS)
def test_operations_run_one_at_a_time(some: list[Operation], more: list[Operation]) -> None:
    named = tuple(
        operation_named(subject, f"op-{index}") for index, subject in enumerate((*some, *more))
    )
    plan = plan_instance(replace(ready_world(), operations=named))
    begun = {p.name for p in plan.operations if p.status["phase"] == "Running"}
    running = {o.metadata.name for o in named if o.status.phase == "Running"}
    assert len(begun) <= 1
    assert not begun or not running or begun <= running


def operation_named(subject: Operation, name: str) -> Operation:
    content = subject.model_dump(by_alias=True, mode="json")
    content["metadata"] |= {"name": name, "uid": f"uid-{name}"}
    return Operation.model_validate(content)
