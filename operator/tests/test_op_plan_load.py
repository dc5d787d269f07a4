"""RestoreDatabases: a dump is loaded into an instance that serves, by a task of its agent."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from coffer_common.resources.backup import Backup
from coffer_common.wire import EngineState, TaskState, TaskStatus
from coffer_operator.plan.instance import plan_instance
from coffer_operator.plan.model import CancelTask, Plan, PutTask
from coffer_operator.plan.operations import DEADLINE_S
from coffer_operator.plan.world import ActFailure, RestoreSource, World
from op_backup_worlds import backup, storage
from op_plan_cluster import advance, ready_world, silent, with_agent, with_engine
from op_plan_worlds import operation

ID = "load-uid-op-{}"
DONE = {
    "phase": "Completed",
    "path": "u-1/base/b-1",
    "manifestDigest": "cd",
    "datastore": "mariadb",
}


def dump(**status: Any) -> Backup:
    return backup("dump", DONE | status, strategy="MySQLDump")


def asked(**sources: RestoreSource) -> World:
    load = operation("op", "RestoreDatabases", backupRef={"name": "dump"})
    given = sources or {"dump": RestoreSource(dump(), storage())}
    return replace(ready_world(), operations=(load,), backup_sources=given)


def with_tasks(before: World, *tasks: TaskStatus) -> World:
    return with_agent(before, tasks=tasks)


def task(attempt: int, state: TaskState, **fields: Any) -> TaskStatus:
    return TaskStatus(
        id=ID.format(attempt), kind="restoreDump", state=state, started_at="x", **fields
    )


def unheard(before: World, plan: Plan) -> World:
    """The World after the plan, but for its calls."""
    return advance(before, replace(plan, calls=()))


def told(plan: Plan) -> Any:
    (patch,) = plan.operations
    return dict(patch.status)


def tasks_of(plan: Plan) -> list[PutTask]:
    return [call for call in plan.calls if isinstance(call, PutTask)]


def test_the_agent_is_asked_once_per_attempt_until_it_is_done() -> None:
    world = asked()
    plan = plan_instance(world)
    (call,) = tasks_of(plan)
    assert (call.id, call.kind) == (ID.format(1), "restoreDump")
    assert call.payload == {"path": "u-1/base/b-1", "digest": "cd", "databases": []}
    assert (told(plan)["phase"], told(plan)["step"]) == ("Running", "Load")
    world = unheard(world, plan)
    assert [c.id for c in tasks_of(plan_instance(world))] == [ID.format(1)], "it was not heard of"
    running = with_tasks(world, task(1, TaskState.RUNNING, bytes_done=1, bytes_total=4))
    plan = plan_instance(running)
    assert tasks_of(plan) == []
    assert told(plan)["progress"]["percent"] == 25
    over = {"bytes_done": 4, "bytes_total": 4}
    ended = with_tasks(world, task(1, TaskState.COMPLETED, message="loaded u-1/base/b-1", **over))
    plan = plan_instance(ended)
    assert tasks_of(plan) == []
    assert told(plan)["phase"] == "Completed"
    assert told(plan)["message"] == "loaded u-1/base/b-1"
    assert told(plan)["progress"]["percent"] == 100


def test_progress_is_told_every_other_second_and_survives_an_attempt() -> None:
    world = asked()
    world = unheard(world, plan_instance(world))
    world = with_tasks(world, task(1, TaskState.RUNNING, bytes_done=100, bytes_total=1000))
    world = unheard(world, plan_instance(world))
    soon = replace(world, now=world.now + timedelta(seconds=0.5))
    soon = with_tasks(soon, task(1, TaskState.RUNNING, bytes_done=200, bytes_total=1000))
    plan = plan_instance(soon)
    assert plan.operations == ()
    assert plan.requeue_after_s == pytest.approx(1.5)
    later = with_tasks(
        replace(world, now=world.now + timedelta(seconds=4)),
        task(1, TaskState.RUNNING, bytes_done=500, bytes_total=1000),
    )
    plan = plan_instance(later)
    assert (told(plan)["progress"]["percent"], told(plan)["message"]) == (
        50,
        "the databases are being loaded",
    )
    assert told(plan)["progress"]["bytesPerSecond"] == 100
    dead = unheard(later, plan)
    again = unheard(dead, plan_instance(with_tasks(dead, task(1, TaskState.FAILED, reason="X"))))
    assert again.operations[0].status.progress is not None
    begun = with_tasks(again, task(2, TaskState.RUNNING, bytes_done=0, bytes_total=1000))
    begun = replace(begun, now=begun.now + timedelta(seconds=4))
    assert told(plan_instance(begun))["progress"]["percent"] == 0


def test_only_some_databases() -> None:
    load = operation("op", "RestoreDatabases", backupRef={"name": "dump"}, databases=["a", "b"])
    (call,) = tasks_of(plan_instance(replace(asked(), operations=(load,))))
    assert call.payload["databases"] == ["a", "b"]


def test_what_may_succeed_later_is_tried_again_and_what_may_not_is_told() -> None:
    world = asked()
    ended = task(1, TaskState.FAILED, reason="AgentEnded", message="the agent ended")
    (call,) = tasks_of(plan_instance(with_tasks(world, ended)))
    assert call.id == ID.format(2)
    last = [task(n, TaskState.FAILED, reason="AgentEnded", message="m") for n in (1, 2, 3)]
    plan = plan_instance(with_tasks(world, *last))
    assert tasks_of(plan) == []
    assert told(plan)["phase"] == "Failed"
    refused = task(1, TaskState.FAILED, reason="NotLogical", message="by X", permanent=True)
    plan = plan_instance(with_tasks(world, refused))
    assert (told(plan)["phase"], told(plan)["message"]) == ("Failed", "by X")
    assert told(plan)["conditions"][0]["reason"] == "NotLogical"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (RestoreSource(), "BackupNotFound"),
        (RestoreSource(dump(phase="Running"), storage()), "BackupNotCompleted"),
        (RestoreSource(dump(datastore="redis"), storage()), "BackupMismatch"),
        (RestoreSource(dump()), "StorageNotFound"),
        (RestoreSource(dump(), storage(ready=False)), "StorageNotReady"),
    ],
)
def test_what_cannot_be_loaded_fails_at_once(source: RestoreSource, reason: str) -> None:
    plan = plan_instance(asked(dump=source))
    assert tasks_of(plan) == []
    assert told(plan)["phase"] == "Failed"
    assert told(plan)["conditions"][0]["reason"] == reason


def test_secrets_that_cannot_be_used_end_it() -> None:
    world = asked()
    failure = ActFailure("task restoreDump", "KeyInvalid", "no key", True, world.now)
    plan = plan_instance(replace(world, failure=failure))
    assert tasks_of(plan) == []
    assert told(plan)["conditions"][0]["reason"] == "KeyInvalid"


def test_it_waits_for_agent_engine_and_other_tasks() -> None:
    world = asked()
    other = TaskStatus(id="b", kind="backup", state=TaskState.RUNNING, started_at="x")
    for waits in (
        silent(world),
        with_engine(world, EngineState.CRASHED),
        with_tasks(world, other),
    ):
        plan = plan_instance(waits)
        assert tasks_of(plan) == []
        assert told(plan)["phase"] == "Running"
        assert "waits" in told(plan)["message"]


def test_one_that_takes_too_long_is_cancelled() -> None:
    world = asked()
    world = unheard(world, plan_instance(world))
    world = with_tasks(world, task(1, TaskState.RUNNING))
    late = timedelta(seconds=DEADLINE_S[world.operations[0].spec.type] + 1)
    world = replace(world, now=world.now + late)
    plan = plan_instance(world)
    assert told(plan)["phase"] == "Failed"
    assert CancelTask(ID.format(1)) in plan_instance(unheard(world, plan)).calls


def test_what_nobody_waits_for_any_more_is_cancelled() -> None:
    world = with_tasks(asked(), task(1, TaskState.RUNNING))
    assert CancelTask(ID.format(1)) not in plan_instance(world).calls
    assert CancelTask(ID.format(1)) in plan_instance(replace(world, operations=())).calls
    backup_runs = TaskStatus(id="b-1", kind="backup", state=TaskState.RUNNING, started_at="x")
    assert plan_instance(replace(with_tasks(world, backup_runs), operations=())).calls == ()
