"""Backups: queued, taken by a task, tried again, given up, settled, adopted, deleted."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from coffer_common.resources.backup import Backup
from coffer_common.wire import BackupTask, EngineState, TaskState, TaskStatus
from coffer_operator.plan.backup import FINALIZER, plan_backup
from coffer_operator.plan.backup_begin import BEGIN_WITHIN_S, why_full
from coffer_operator.plan.backup_world import BackupWorld
from coffer_operator.plan.clock import to_text
from coffer_operator.plan.model import CancelTask, PutTask
from coffer_operator.plan.storage_secrets import open_secrets, whole_access
from coffer_operator.plan.tasks import NO_PROGRESS_S, STILL_S
from coffer_operator.plan.world import ActFailure
from op_backup_worlds import (
    BACKUP_UID,
    CREDENTIALS,
    KEYS,
    after_backup,
    agent,
    backup,
    backup_obj,
    backup_world,
    result,
    storage,
)
from op_plan_backups import (
    away,
    message,
    phase,
    running,
    task,
)
from op_plan_worlds import NOW, UID, catalogue, datastore_version


def failed_task(**fields: Any) -> TaskStatus:
    return task(state=TaskState.FAILED, **fields)


# --- the way of one backup -----------------------------------------------------------------------
def test_the_finalizer_is_there_before_the_first_attempt() -> None:
    world = backup_world()
    first = plan_backup(world)
    assert first.finalizers == (FINALIZER,)
    assert not first.calls
    second = plan_backup(after_backup(world, first))
    assert phase(second) == ("Running", "Running")
    assert not second.calls
    assert second.status is not None
    assert second.status["path"] == f"{UID}/base/{BACKUP_UID}"
    assert [note.reason for note in second.events] == ["BackupStarted"]


def test_retained_objects_need_no_finalizer() -> None:
    errand = plan_backup(backup_world(backup(deletionPolicy="Retain")))
    assert errand.finalizers is None
    assert phase(errand)[0] == "Running"


def test_the_agent_is_asked_until_it_knows_the_task() -> None:
    world = running()
    for _ in range(2):
        (call,) = plan_backup(world).calls
        assert isinstance(call, PutTask)
        assert call.id == f"{BACKUP_UID}-1"
    assert isinstance(call, PutTask)
    access = whole_access(
        storage().spec,
        open_secrets(storage().spec, {"s3-credentials": CREDENTIALS, "backup-keys": KEYS}),
    )
    body = BackupTask.model_validate({**call.payload, "storage": access.model_dump()})
    assert body.backup_id == BACKUP_UID
    assert body.instance == {"uid": UID, "name": "shop", "namespace": "prod"}
    assert (body.strategy, body.parent, body.databases) == ("MariaBackup", None, ())


def test_the_agent_is_told_which_databases_to_dump() -> None:
    world = running(strategy="MySQLDump", databases=["shop", "odd-name"])
    (call,) = plan_backup(world).calls
    assert isinstance(call, PutTask)
    assert call.payload["databases"] == ["shop", "odd-name"]


def test_progress_is_told_every_other_second_at_most() -> None:
    world = replace(running(), agent=agent(task(bytes_done=100, bytes_total=1000)))
    first = plan_backup(world)
    assert not first.calls
    assert first.status is not None
    assert first.status["progress"]["percent"] == 10
    early = replace(after_backup(world, first), agent=agent(task(bytes_done=300, bytes_total=1000)))
    second = plan_backup(early)
    assert second.status is not None
    assert second.status["progress"] == first.status["progress"]
    assert 0 < (second.requeue_after_s or 0) <= 2
    late = replace(early, now=early.now + timedelta(seconds=4))
    third = plan_backup(late)
    assert third.status is not None
    assert third.status["progress"]["bytesDone"] == 300
    assert third.status["progress"]["bytesPerSecond"] == 40


def test_a_completed_task_completes_the_backup() -> None:
    done = task(state=TaskState.COMPLETED, message="full backup of 1 kB", result=result())
    world = replace(running(), agent=agent(done))
    errand = plan_backup(world)
    assert phase(errand) == ("Completed", "Completed")
    status = Backup.model_validate({**backup_obj(), "status": errand.status}).status
    assert (status.size_bytes, status.raw_bytes, status.key_id) == (400, 1000, "k1")
    assert (status.position and status.position.gtid) == "0-1-7"
    assert status.manifest_digest == "cd"
    assert status.location == f"s3://backups/team/{UID}/base/{BACKUP_UID}"
    assert [note.reason for note in errand.events] == ["BackupCompleted"]
    settled = after_backup(world, errand)
    quiet = plan_backup(settled)
    assert quiet.status == plan_backup(after_backup(settled, quiet, 900)).status
    assert not quiet.writes


def test_a_full_one_instead_of_an_increment_says_why() -> None:
    done = task(state=TaskState.COMPLETED, message="full", result=result(why_full="other data"))
    errand = plan_backup(replace(running(type="incremental"), agent=agent(done)))
    assert message(errand) == "full; a full one, because other data"


def test_a_result_that_cannot_be_read_is_no_backup() -> None:
    done = task(state=TaskState.COMPLETED, result={"path": "x"})
    assert phase(plan_backup(replace(running(), agent=agent(done)))) == (
        "Failed",
        "ResultUnreadable",
    )


# --- failures ------------------------------------------------------------------------------------
def test_what_may_succeed_later_is_tried_three_times() -> None:
    world = running()
    for number in (1, 2):
        bad = task(number, TaskState.FAILED, reason="AgentEnded", message="the agent ended")
        world = replace(world, agent=agent(bad))
        errand = plan_backup(world)
        assert phase(errand) == ("Running", "TryingAgain")
        assert [note.reason for note in errand.events] == ["BackupAttemptFailed"]
        waiting = after_backup(world, errand)
        early = plan_backup(waiting)
        assert early.status is None
        assert not early.calls
        due = replace(waiting, now=waiting.now + timedelta(seconds=(early.requeue_after_s or 0)))
        fresh = plan_backup(due)
        world = after_backup(due, fresh)
        (call,) = plan_backup(world).calls
        assert call.id == f"{BACKUP_UID}-{number + 1}"
    last = task(3, TaskState.FAILED, reason="AgentEnded", message="the agent ended")
    end = plan_backup(replace(world, agent=agent(last)))
    assert phase(end) == ("Failed", "AgentEnded")
    assert message(end) == "the agent ended (attempt 3)"


def test_what_would_fail_alike_is_not_tried_again() -> None:
    bad = failed_task(reason="AccessDenied", message="403", permanent=True)
    errand = plan_backup(replace(running(), agent=agent(bad)))
    assert phase(errand) == ("Failed", "AccessDenied")
    assert message(errand) == "403"
    assert errand.events[0].warning
    assert errand.status is not None
    assert any(c["type"] == "Stalled" for c in errand.status["conditions"])


def test_a_refusal_of_the_agent_fails_it_with_its_reason() -> None:
    refusal = ActFailure("task backup", "StrategyUnknown", "no such strategy", True, NOW)
    errand = plan_backup(replace(running(), failure=refusal))
    assert phase(errand) == ("Failed", "StrategyUnknown")


def test_one_that_does_not_move_is_told_before_it_is_given_up() -> None:
    world = replace(running(), agent=agent(task(bytes_done=5)))
    first = plan_backup(world)
    assert message(first) == "the backup is being taken"
    assert first.requeue_after_s == STILL_S
    told = after_backup(world, first)
    still = plan_backup(replace(told, now=world.now + timedelta(seconds=STILL_S)))
    since = to_text(world.now)
    assert message(still) == f"the backup is being taken: no byte has moved since {since}"
    quiet = replace(after_backup(told, still), now=world.now + timedelta(seconds=STILL_S * 2))
    assert plan_backup(quiet).status == still.status, "told once"
    moving = replace(quiet, agent=agent(task(bytes_done=9)))
    assert message(plan_backup(moving)) == "the backup is being taken"


def test_a_task_that_does_not_move_is_cancelled() -> None:
    world = replace(running(), agent=agent(task(bytes_done=5)))
    told = after_backup(world, plan_backup(world))
    stuck = replace(told, now=told.now + timedelta(seconds=NO_PROGRESS_S + 1))
    errand = plan_backup(stuck)
    assert phase(errand) == ("Failed", "NoProgress")
    assert errand.calls == (CancelTask(f"{BACKUP_UID}-1"),)


def test_a_task_that_runs_on_after_a_failure_is_cancelled_again() -> None:
    world = replace(running(), agent=agent(task(bytes_done=5)))
    told = after_backup(world, plan_backup(world))
    stuck = replace(told, now=told.now + timedelta(seconds=NO_PROGRESS_S + 1))
    errand = plan_backup(after_backup(stuck, plan_backup(stuck)))
    assert errand.calls == (CancelTask(f"{BACKUP_UID}-1"),)


def test_an_agent_that_is_silent_is_not_one_that_failed() -> None:
    world = replace(running(), agent=away(agent(task(bytes_done=5))))
    errand = plan_backup(world)
    assert phase(errand)[0] == "Running"
    assert "cannot be reached (connection refused)" in message(errand)
    late = replace(
        after_backup(world, errand), now=world.now + timedelta(seconds=NO_PROGRESS_S + 5)
    )
    assert phase(plan_backup(late)) == ("Failed", "NoProgress")


def test_another_task_of_the_agent_is_waited_for() -> None:
    other = task().model_copy(update={"id": "other-1", "kind": "restoreDump"})
    world = replace(running(), agent=agent(other))
    for _ in range(5):
        world = replace(world, now=world.now + timedelta(seconds=NO_PROGRESS_S - 60))
        errand = plan_backup(world)
        assert not errand.calls
        assert phase(errand)[0] == "Running"
        world = after_backup(world, errand)


@pytest.mark.parametrize("gone", [None, "another"])
def test_with_its_instance_gone_it_fails(gone: str | None) -> None:
    world = running()
    instance = world.instance
    assert instance is not None
    metadata = instance.metadata.model_copy(update={"uid": "another"})
    replaced = instance.model_copy(update={"metadata": metadata}) if gone else None
    assert phase(plan_backup(replace(world, instance=replaced))) == ("Failed", "InstanceGone")


# --- what a new one waits for --------------------------------------------------------------------
def test_one_at_a_time_the_oldest_first() -> None:
    older = backup("early").model_copy(
        update={
            "metadata": backup("early").metadata.model_copy(
                update={"creation_timestamp": "2026-11-22T11:00:00Z"}
            )
        }
    )
    errand = plan_backup(backup_world(others=(older,)))
    assert phase(errand) == ("New", "WaitsForBackup")
    assert "early" in message(errand)
    assert plan_backup(backup_world(older, others=(backup(),))).finalizers
    younger_runs = backup("late", {"phase": "Running"})
    assert phase(plan_backup(backup_world(older, others=(younger_runs,))))[0] == "New"


def test_one_that_waits_for_its_own_storage_holds_back_nobody() -> None:
    ready = {"type": "Ready", "status": "False", "reason": "StorageNotReady", "message": "x"}
    stuck = backup("a", {"phase": "New", "conditions": [ready]})
    assert plan_backup(backup_world(others=(stuck,))).finalizers


def test_of_another_instance_it_does_not_wait() -> None:
    other = backup("a", {"phase": "Running"}, instanceRef={"name": "blog"})
    assert plan_backup(backup_world(others=(other,))).finalizers


@pytest.mark.parametrize(
    ("facts", "reason", "words"),
    [
        ({"instance": None}, "InstanceNotFound", "no DatabaseInstance shop"),
        ({"storage": None}, "StorageNotFound", "no BackupStorage minio"),
        ({"storage": storage(ready=False)}, "StorageNotReady", "minio is not Ready"),
        ({"agent": None}, "InstanceNotReady", "does not run yet"),
        ({"agent": away(agent())}, "InstanceNotReady", "connection refused"),
        ({"agent": agent(state=EngineState.STARTING)}, "InstanceNotReady", "does not answer"),
    ],
)
def test_it_says_what_it_waits_for_and_not_for_ever(
    facts: dict[str, Any], reason: str, words: str
) -> None:
    world = backup_world(**facts)
    errand = plan_backup(world)
    assert phase(errand) == ("New", reason)
    assert words in message(errand)
    late = replace(world, now=NOW + timedelta(seconds=BEGIN_WITHIN_S + 1))
    assert phase(plan_backup(late)) == ("Failed", "NotBegunInTime")
    assert words in message(plan_backup(late))


def test_without_a_strategy_it_fails_and_says_how_to_go_on() -> None:
    bare = catalogue(datastore_version())
    assert phase(plan_backup(backup_world(catalogue=bare))) == ("Failed", "NoBackupStrategy")
    named = backup_world(backup(strategy="MySQLDump"), catalogue=bare)
    assert plan_backup(named).finalizers


# --- increments ----------------------------------------------------------------------------------
def full(name: str, finished: str, **status: Any) -> Backup:
    done = {
        "phase": "Completed",
        "path": f"{UID}/base/{name}",
        "instanceUid": UID,
        "finishedAt": finished,
    }
    return backup(name, done | status)


def parent_of(world: BackupWorld) -> str | None:
    errand = plan_backup(world)
    if errand.finalizers is not None:
        errand = plan_backup(after_backup(world, errand))
    assert errand.status is not None
    assert errand.status["phase"] == "Running"
    found = errand.status.get("parent")
    return str(found) if found is not None else None


def test_the_parent_is_the_newest_completed_of_the_same_instance_and_storage() -> None:
    others = (
        full("old", "2026-11-20T00:00:00Z"),
        full("new", "2026-11-21T00:00:00Z"),
        full("foreign", "2026-11-22T00:00:00Z", instanceUid="another"),
        backup("bad", {"phase": "Failed", "path": "x/base/y", "instanceUid": UID}),
    )
    world = backup_world(backup(type="incremental"), others=others)
    assert parent_of(world) == f"{UID}/base/new"
    assert parent_of(replace(world, others=())) is None
    named = backup(type="incremental", parentRef={"name": "old"})
    assert parent_of(replace(world, backup=named)) == f"{UID}/base/old"


def test_a_dump_in_between_breaks_no_chain() -> None:
    others = (
        full("files", "2026-11-20T00:00:00Z", strategy="MariaBackup"),
        full("dump", "2026-11-21T00:00:00Z", strategy="MySQLDump"),
    )
    world = backup_world(backup(type="incremental"), others=others)
    assert parent_of(world) == f"{UID}/base/files"
    assert parent_of(replace(world, others=others[1:])) == f"{UID}/base/dump", "the agent says why"


def proof(result: str) -> dict[str, Any]:
    return {"time": "2026-11-21T12:00:00Z", "result": result}


def test_no_increment_on_what_is_known_not_to_restore() -> None:
    """An increment on it could not be restored either; a proof of one is one of all it needs."""
    sunday = full("sunday", "2026-11-20T00:00:00Z", verified=proof("Failed"))
    monday = full("monday", "2026-11-21T00:00:00Z", parent=f"{UID}/base/sunday")
    world = backup_world(backup(type="incremental"), others=(sunday, monday))
    assert parent_of(world) is None
    passed = full(
        "monday", "2026-11-21T00:00:00Z", parent=f"{UID}/base/sunday", verified=proof("Passed")
    )
    assert parent_of(replace(world, others=(sunday, passed))) == f"{UID}/base/monday"
    newer = full("newer", "2026-11-22T00:00:00Z")
    assert parent_of(replace(world, others=(sunday, monday, newer))) == f"{UID}/base/newer"
    assert why_full(world) == "the test restore of sunday failed"
    named = backup(type="incremental", parentRef={"name": "monday"})
    errand = plan_backup(replace(world, backup=named))
    assert phase(errand) == ("Failed", "ParentUnfit")
    assert errand.status is not None
    assert "the test restore of sunday failed; make a Backup of type full" in str(
        errand.status["message"]
    )


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ((), ("New", "ParentNotReady")),
        ((backup("old", {"phase": "Failed"}),), ("Failed", "ParentUnfit")),
        (
            (full("old", "2026-11-20T00:00:00Z", instanceUid="another"),),
            ("Failed", "ParentUnfit"),
        ),
        ((full("old", "2026-11-20T00:00:00Z", strategy="MySQLDump"),), ("Failed", "ParentUnfit")),
    ],
)
def test_a_named_parent_that_does_not_do(
    others: tuple[Backup, ...], expected: tuple[str, str]
) -> None:
    subject = backup(type="incremental", parentRef={"name": "old"})
    assert phase(plan_backup(backup_world(subject, others=others))) == expected
