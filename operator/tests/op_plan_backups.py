"""What the tests of a Backup's plan ask of it."""

from dataclasses import replace
from typing import Any

from coffer_common.resources.backup import Backup
from coffer_common.wire import TaskState, TaskStatus
from coffer_operator.plan.backup import plan_backup
from coffer_operator.plan.backup_world import BackupWorld
from coffer_operator.plan.errand import Errand
from coffer_operator.plan.world import AgentFact
from op_backup_worlds import (
    BACKUP_UID,
    after_backup,
    agent,
    backup,
    backup_world,
    result,
)
from op_plan_worlds import UID


def task(number: int = 1, state: TaskState = TaskState.RUNNING, **fields: Any) -> TaskStatus:
    return TaskStatus(
        id=f"{BACKUP_UID}-{number}",
        kind="backup",
        state=state,
        started_at="2026-11-22T12:00:05.123Z",
        **fields,
    )


def phase(errand: Errand) -> tuple[str, str]:
    """Phase, and the reason of Ready."""
    assert errand.status is not None
    ready = next(c for c in errand.status["conditions"] if c["type"] == "Ready")
    return errand.status["phase"], ready["reason"]


def message(errand: Errand) -> str:
    assert errand.status is not None
    return str(errand.status["message"])


def running(**spec: Any) -> BackupWorld:
    """A World whose Backup has begun and whose agent was not asked yet."""
    world = backup_world(backup(**spec))
    errand = plan_backup(world)
    while errand.finalizers is not None or phase(errand)[0] == "Running":
        world = after_backup(world, errand)
        errand = plan_backup(world)
        if errand.calls:
            return world
    raise AssertionError(errand)


def away(fact: AgentFact) -> AgentFact:
    return replace(fact, error="connection refused")


def finished(**facts: Any) -> BackupWorld:
    done = task(state=TaskState.COMPLETED, message="full", result=result())
    world = replace(running(), agent=agent(done))
    return replace(after_backup(world, plan_backup(world)), **facts)


def child(name: str = "tuesday", **status: Any) -> Backup:
    of = {"phase": "Completed", "parent": f"{UID}/base/{BACKUP_UID}", "path": f"{UID}/base/{name}"}
    return backup(name, of | status, type="incremental")
