"""Operations: one at a time, each with a step, a deadline and an end."""

from dataclasses import replace
from typing import Any

import pytest

from coffer_common.resources.operation import Operation
from coffer_common.wire import EngineAction, EngineState
from coffer_operator.plan.instance import plan_instance
from coffer_operator.plan.model import EngineCall, Plan
from coffer_operator.plan.operations import plan_orphan
from coffer_operator.plan.world import ContainerFact, World
from op_plan_cluster import advance, kubelet, ready_world, silent, with_engine
from op_plan_told import conditions, writes
from op_plan_worlds import NOW, edited, instance, later, operation, world


def asked(*operations: Operation, subject: World | None = None) -> World:
    return replace(subject or ready_world(), operations=operations)


def status_of(plan: Plan, name: str = "op") -> Any:
    return next(dict(p.status) for p in plan.operations if p.name == name)


def phase_of(subject: World, name: str = "op") -> str | None:
    return next(o.status.phase for o in subject.operations if o.metadata.name == name)


def test_a_restart_restarts_the_engine_and_ends() -> None:
    subject = asked(operation())
    plan = plan_instance(subject)
    assert plan.calls == (EngineCall(EngineAction.RESTART, "uid-op"),)
    begun = status_of(plan)
    assert (begun["phase"], begun["step"]) == ("Running", "RestartEngine")
    assert begun["startedAt"] == "2026-11-22T12:00:00Z"
    assert begun["deadline"] == "2026-11-22T12:10:00Z"
    assert plan.status is not None
    assert plan.status["phase"] == "Restarting"
    assert plan.status["operation"]["name"] == "op"
    assert conditions(plan)["Ready"] == ("False", "Restarting")
    assert plan.requeue_after_s == 600
    assert [(e.reason, e.operation) for e in plan.events] == [
        ("Restarting", None),
        ("Running", "op"),
    ]
    subject = later(advance(subject, plan), 1)
    plan = plan_instance(subject)
    assert plan.calls == (), "the agent has done it; the engine only has to come up"
    subject = kubelet(advance(subject, plan))
    plan = plan_instance(subject)
    assert status_of(plan)["phase"] == "Completed"
    assert status_of(plan)["finishedAt"] == "2026-11-22T12:00:01Z"
    assert plan.status is not None
    assert plan.status["phase"] == "Active"
    assert "operation" not in plan.status
    subject = advance(subject, plan)
    assert phase_of(subject) == "Completed"
    assert writes(subject, plan_instance(subject)) == []


def test_a_restart_goes_on_with_another_operator() -> None:
    subject = asked(operation())
    subject = later(advance(subject, plan_instance(subject)), 5)
    plan = plan_instance(replace(subject, agent=None))
    assert plan.calls == ()
    assert plan.status is not None
    assert plan.status["phase"] == "Restarting"
    again = kubelet(subject)
    assert status_of(plan_instance(again))["startedAt"] == "2026-11-22T12:00:00Z"


def test_an_operation_does_not_go_on_with_another_instance_of_the_name() -> None:
    subject = asked(operation())
    subject = later(advance(subject, plan_instance(subject)), 5)
    assert subject.operations[0].status.instance_uid == subject.instance.metadata.uid
    begun = subject.operations[0].model_dump(by_alias=True, mode="json")
    begun["status"]["instanceUid"] = "of a former one"
    subject = asked(Operation.model_validate(begun), operation("next"), subject=subject)
    plan = plan_instance(subject)
    failed = status_of(plan)
    assert (failed["phase"], failed["conditions"][0]["reason"]) == ("Failed", "InstanceReplaced")
    assert failed["instanceUid"] == "of a former one"
    assert [(e.reason, e.operation, e.warning) for e in plan.events if e.operation == "op"] == [
        ("Failed", "op", True)
    ]
    assert [call.token for call in plan.calls if isinstance(call, EngineCall)] == ["uid-next"]
    after = plan_instance(advance(subject, plan))
    assert [patch.name for patch in after.operations] == ["next"]


def test_an_operation_that_has_not_begun_is_for_whoever_bears_the_name() -> None:
    waiting = operation(status={"phase": "New"})
    assert status_of(plan_instance(asked(waiting)))["phase"] == "Running"


def test_a_restart_after_an_edit_replaces_the_pod() -> None:
    subject = edited(ready_world(), flavor="small")
    subject = asked(operation(), subject=later(subject, 30))
    plan = plan_instance(subject)
    assert plan.deletes == (), "first the StatefulSet gets the new template"
    assert status_of(plan)["step"] == "ReplacePod"
    subject = advance(subject, plan)
    plan = plan_instance(subject)
    assert [(d.kind, d.name) for d in plan.deletes] == [("Pod", "shop-0")]
    subject = later(advance(subject, plan), 2)
    phases = []
    for _ in range(8):
        plan = plan_instance(subject)
        assert plan.deletes == (), "the new pod is the wanted one"
        assert plan.status is not None
        phases.append(plan.status["phase"])
        subject = kubelet(advance(subject, plan))
    assert phases[0] == "Restarting"
    assert phases[-1] == "Active"
    assert phase_of(subject) == "Completed"
    assert "RestartRequired" not in conditions(plan)


def test_a_restart_that_does_not_come_to_an_end_fails() -> None:
    subject = asked(operation(), subject=silent(ready_world()))
    plan = plan_instance(subject)
    assert plan.calls == ()
    assert plan.deletes == ()
    assert "shop-0" in status_of(plan)["message"], "the way out"
    subject = later(advance(subject, plan), 601)
    plan = plan_instance(subject)
    assert status_of(plan)["phase"] == "Failed"
    assert "deadline" in status_of(plan)["message"]
    assert {c["type"] for c in status_of(plan)["conditions"]} == {"Ready", "Stalled"}
    assert plan.status is not None
    assert plan.status["phase"] == "Active"
    assert [(e.reason, e.warning) for e in plan.events if e.operation] == [("Failed", True)]
    after = advance(subject, plan)
    assert plan_instance(after).operations == ()


def test_one_at_a_time_and_the_oldest_first() -> None:
    subject = asked(operation("a"), operation("b"), operation("c"))
    plan = plan_instance(subject)
    assert [call.token for call in plan.calls if isinstance(call, EngineCall)] == ["uid-a"]
    assert status_of(plan, "b")["phase"] == "New"
    assert status_of(plan, "b")["message"] == "waits for a"
    subject = advance(subject, plan)
    assert {p.name for p in plan_instance(subject).operations} == {"a"}, "b and c still wait"
    for _ in range(8):
        subject = kubelet(advance(subject, plan_instance(subject)))
    assert [phase_of(subject, name) for name in "abc"] == ["Completed"] * 3


def test_a_running_one_goes_first_whatever_its_age() -> None:
    running = operation(
        "late",
        created="2026-11-22T12:00:05Z",
        status={"phase": "Running", "step": "RestartEngine", "startedAt": "2026-11-22T12:00:00Z"},
    )
    plan = plan_instance(asked(operation("early"), running))
    assert [call.token for call in plan.calls if isinstance(call, EngineCall)] == ["uid-late"]


def test_not_after_expires_what_was_not_begun() -> None:
    late = operation(notAfter="2026-11-22T11:00:00Z")
    plan = plan_instance(asked(late))
    assert plan.calls == ()
    assert status_of(plan)["phase"] == "Expired"
    assert plan.status is not None
    assert plan.status["phase"] == "Active"
    running = operation(
        notAfter="2026-11-22T11:00:00Z",
        status={"phase": "Running", "step": "RestartEngine", "startedAt": "2026-11-22T11:59:00Z"},
    )
    assert plan_instance(asked(running)).calls != ()


def test_time_to_live_removes_only_what_has_one() -> None:
    ended = {"phase": "Completed", "finishedAt": "2026-11-22T11:59:00Z"}
    kept = operation("kept", status=ended)
    short = operation("short", status=ended, ttlSecondsAfterFinished=30)
    long = operation("long", status=ended, ttlSecondsAfterFinished=90)
    plan = plan_instance(asked(kept, short, long))
    assert plan.expired_operations == ("short",)
    assert plan.requeue_after_s == 30


@pytest.mark.parametrize("ttl", [10**6, 10**15])
def test_a_time_to_live_without_end_is_no_error(ttl: int) -> None:
    ended = {"phase": "Completed", "finishedAt": "9999-12-31T23:59:59Z"}
    plan = plan_instance(asked(operation(status=ended, ttlSecondsAfterFinished=ttl)))
    assert plan.expired_operations == ()


def test_reset_clears_a_crash_loop() -> None:
    crashed = with_engine(ready_world(), EngineState.CRASH_LOOP)
    crashed = advance(crashed, plan_instance(crashed))
    assert crashed.instance.status.phase == "Error"
    subject = asked(operation(kind="ResetStatus"), subject=crashed)
    plan = plan_instance(subject)
    assert plan.calls == (EngineCall(EngineAction.RESET, "uid-op"),)
    assert status_of(plan)["phase"] == "Running", "so that a call that fails has a deadline"
    assert plan.requeue_after_s is not None
    assert plan.requeue_after_s < 1
    again = replace(subject, operations=advance(subject, plan).operations)
    plan = plan_instance(again)
    (patch,) = plan.operations
    assert (patch.status["phase"], patch.after_calls) == ("Completed", True)
    subject = kubelet(advance(again, plan))
    plan = plan_instance(subject)
    assert plan.status is not None
    assert plan.status["phase"] == "Active"
    assert [event.reason for event in plan.events] == ["Recovered"]


def test_the_end_of_a_reset_is_announced() -> None:
    subject = asked(operation(kind="ResetStatus"))
    again = replace(subject, operations=advance(subject, plan_instance(subject)).operations)
    events = [(e.reason, e.operation) for e in plan_instance(again).events]
    assert events == [("Completed", "op")]


def test_reset_clears_kubelets_back_off_by_a_new_pod() -> None:
    subject = with_engine(ready_world(), EngineState.UNKNOWN)
    assert subject.pod is not None
    stuck = ContainerFact("database", False, False, 9, "CrashLoopBackOff")
    subject = replace(subject, pod=replace(subject.pod, database=stuck, ready=False))
    subject = later(asked(operation(kind="ResetStatus"), subject=subject), 60)
    plan = plan_instance(subject)
    assert [d.name for d in plan.deletes] == ["shop-0"]
    subject = kubelet(later(advance(subject, plan), 1))
    for _ in range(6):
        subject = kubelet(advance(subject, plan_instance(subject)))
    assert phase_of(subject) == "Completed"
    assert subject.instance.status.phase == "Active"


def test_an_operation_works_on_an_instance_with_an_invalid_spec() -> None:
    subject = asked(operation(), subject=edited(ready_world(), flavor="huge"))
    plan = plan_instance(subject)
    assert plan.calls == (EngineCall(EngineAction.RESTART, "uid-op"),)


def test_an_operation_on_an_instance_that_never_ran_ends() -> None:
    subject = asked(operation(), subject=world(instance(flavor="huge")))
    subject = advance(subject, plan_instance(subject))
    subject = advance(later(subject, 601), plan_instance(later(subject, 601)))
    assert phase_of(subject) == "Failed"


def test_an_operation_without_an_instance_fails_after_a_grace() -> None:
    alone = operation()
    plan = plan_orphan(alone, NOW)
    assert status_of(plan)["phase"] == "New"
    assert plan.requeue_after_s == 60
    plan = plan_orphan(alone, later(world(), 61).now)
    assert status_of(plan)["phase"] == "Failed"
    assert "shop" in status_of(plan)["message"]
    ended = operation(status=status_of(plan), ttlSecondsAfterFinished=5)
    assert plan_orphan(ended, later(world(), 90).now).expired_operations == ("op",)


def test_an_instance_that_is_restarted_while_it_is_built_is_building() -> None:
    subject = asked(operation(), subject=world())
    plan = plan_instance(subject)
    assert plan.status is not None
    assert plan.status["phase"] == "Building"
    assert plan.status["operation"]["name"] == "op"
