"""Backups that are finished, that go, and that are adopted from a bucket."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from coffer_common.resources.backup import Backup
from coffer_common.wire import TaskState
from coffer_operator.plan.backup import FINALIZER, plan_backup, task_id
from coffer_operator.plan.backup_begin import BEGIN_WITHIN_S
from coffer_operator.plan.backup_world import BackupWorld, WorkerFact
from coffer_operator.plan.errand import Errand
from coffer_operator.plan.model import CancelTask
from coffer_operator.plan.tasks import NO_PROGRESS_S
from op_backup_worlds import (
    BACKUP_UID,
    after_backup,
    agent,
    backup_obj,
    backup_world,
    deleted,
)
from op_plan_backups import (
    away,
    child,
    finished,
    message,
    phase,
    running,
    task,
)
from op_plan_worlds import NOW, UID


# --- finished ------------------------------------------------------------------------------------
def test_a_parent_names_its_children() -> None:
    errand = plan_backup(finished(others=(child(), child("bad", phase="Failed"))))
    assert errand.status is not None
    assert errand.status["children"] == ["tuesday"]


def test_the_finalizer_follows_the_policy() -> None:
    world = finished()
    spec = world.backup.spec.model_dump(by_alias=True, mode="json", exclude_none=True)
    kept = Backup.model_validate(
        {
            "metadata": world.backup.metadata.model_dump(by_alias=True),
            "spec": spec | {"deletionPolicy": "Retain"},
            "status": world.backup.status.model_dump(by_alias=True, mode="json"),
        }
    )
    assert plan_backup(replace(world, backup=kept)).finalizers == ()


# --- deletion ------------------------------------------------------------------------------------
DONE = json.dumps({"result": {"path": "x"}})
BROKEN = json.dumps({"message": "connection refused", "reason": "Unreachable"})


def with_worker(world: BackupWorld, said: str) -> BackupWorld:
    order = plan_backup(world).worker
    assert order is not None
    fact = WorkerFact(
        order.name, "w1", order.task, BACKUP_UID, "Succeeded", False, said=said, how="exit"
    )
    return replace(world, workers=(fact,))


def test_the_objects_go_first() -> None:
    world = deleted(finished())
    errand = plan_backup(world)
    assert phase(errand)[0] == "Deleting"
    assert errand.finalizers is None
    assert errand.worker is not None
    assert errand.worker.path == f"{UID}/base/{BACKUP_UID}"
    gone = plan_backup(with_worker(world, DONE))
    assert gone.finalizers == ()
    assert [note.reason for note in gone.events] == ["ObjectsDeleted"]
    assert plan_backup(after_backup(world, gone)) == Errand()


def test_a_bucket_that_cannot_be_reached_blocks_visibly_and_is_tried_again() -> None:
    world = deleted(finished())
    tried = with_worker(world, BROKEN)
    errand = plan_backup(tried)
    assert phase(errand) == ("Deleting", "DeletionBlocked")
    assert "connection refused" in message(errand)
    assert "set spec.deletionPolicy to Retain" in message(errand)
    assert errand.spent_workers
    kept = after_backup(tried, errand)
    assert plan_backup(kept).worker is None
    later = replace(kept, now=kept.now + timedelta(seconds=180))
    again = plan_backup(later)
    assert again.worker is not None
    assert again.worker.name != tried.workers[0].name


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"storage": None, "secrets": None}, "BackupStorage is gone"),
        ({"namespace_terminating": True}, "namespace is being deleted"),
    ],
)
def test_with_what_it_takes_gone_the_objects_stay_and_the_backup_goes(
    facts: dict[str, Any], words: str
) -> None:
    errand = plan_backup(deleted(finished(), **facts))
    assert errand.finalizers == ()
    assert errand.worker is None
    assert words in errand.events[0].message


def test_one_that_never_began_just_goes() -> None:
    world = backup_world()
    marked = after_backup(world, plan_backup(world))
    errand = plan_backup(deleted(marked))
    assert errand.finalizers == ()
    assert not errand.events


def test_one_that_others_need_is_held_until_they_are_gone() -> None:
    errand = plan_backup(deleted(finished(others=(child(),))))
    assert phase(errand) == ("Deleting", "DeletionBlocked")
    assert "tuesday" in message(errand)
    assert errand.worker is None


def test_a_running_task_is_cancelled_before_anything_is_deleted() -> None:
    world = replace(running(), agent=agent(task(bytes_done=1)))
    errand = plan_backup(deleted(world))
    assert errand.calls == (CancelTask(task_id(world)),)
    assert errand.worker is None
    ended = replace(deleted(world), agent=agent(task(state=TaskState.CANCELLED)))
    assert plan_backup(ended).worker is not None


def test_an_agent_that_cannot_tell_is_waited_for_but_not_for_ever() -> None:
    world = deleted(replace(running(), agent=away(agent(task()))))
    assert plan_backup(world).worker is None
    assert "waits for the agent" in message(plan_backup(world))
    late = replace(world, now=world.now + timedelta(seconds=NO_PROGRESS_S + 1))
    assert late.backup.status.location is None
    assert plan_backup(late).finalizers == ()


# --- adopted -------------------------------------------------------------------------------------
SHOWN = {
    "path": "u-1/base/b-1",
    "digest": "cd",
    "type": "full",
    "strategy": "MariaBackup",
    "datastore": "mariadb",
    "engineVersion": "10.11.6",
    "instance": {"uid": "u-1"},
    "dataId": "d1",
    "createdAt": "2026-11-01T00:00:00Z",
    "position": {},
    "parent": None,
    "depth": 0,
    "sizeBytes": 4,
    "plainBytes": 10,
    "plainSha256": "ab",
    "keyId": "k1",
}


def adopted(**spec: Any) -> Backup:
    subject = backup_obj(path="u-1/base/b-1", **spec)
    del subject["spec"]["instanceRef"]
    return Backup.model_validate(subject)


def test_one_is_adopted_from_its_place() -> None:
    world = backup_world(adopted(), instance=None, agent=None, pod=None)
    errand = plan_backup(world)
    assert phase(errand) == ("New", "Adopting")
    order = errand.worker
    assert order is not None
    assert order.path == "u-1/base/b-1"
    answered = with_worker(world, json.dumps({"result": {"chain": [SHOWN]}}))
    marked = plan_backup(answered)
    assert marked.finalizers == (FINALIZER,)
    kept = after_backup(answered, marked)
    done = plan_backup(kept)
    assert phase(done) == ("Completed", "Completed")
    assert done.status is not None
    assert done.status["location"] == "s3://backups/team/u-1/base/b-1"
    assert done.status["instanceUid"] == "u-1"
    assert done.spent_workers


@pytest.mark.parametrize("proof", [{"result": "Passed", "time": "x"}, {"result": "Well"}, None])
def test_a_proof_that_was_kept_comes_back(proof: dict[str, Any] | None) -> None:
    world = backup_world(adopted(), instance=None, agent=None, pod=None)
    told = SHOWN | {"verified": proof and {"time": "2026-11-02T00:00:00Z", "duration_s": 7} | proof}
    world = with_worker(world, json.dumps({"result": {"chain": [told]}}))
    done = plan_backup(after_backup(world, plan_backup(world)))
    assert phase(done) == ("Completed", "Completed")
    assert done.status is not None
    found = done.status.get("verified")
    if proof is None or proof["result"] != "Passed":
        assert found is None
        return
    assert found is not None
    assert (found["result"], found["time"], found["durationSeconds"]) == ("Passed", "x", 7)
    assert "operation" not in found


def test_what_is_not_there_cannot_be_adopted() -> None:
    world = backup_world(adopted(), instance=None, agent=None, pod=None)
    missing = json.dumps({"message": "there is no backup", "reason": "BackupMissing"})
    errand = plan_backup(with_worker(world, missing))
    assert phase(errand) == ("New", "BackupMissing")
    late = replace(with_worker(world, missing), now=NOW + timedelta(seconds=BEGIN_WITHIN_S + 1))
    assert phase(plan_backup(late)) == ("Failed", "BackupMissing")


@pytest.mark.parametrize(
    ("reason", "ends"), [("BackupDamaged", True), ("ChainBroken", True), ("KeyUnknown", False)]
)
def test_what_is_damaged_is_not_waited_for(reason: str, ends: bool) -> None:
    world = backup_world(adopted(), instance=None, agent=None, pod=None)
    said = json.dumps({"message": "data is truncated", "reason": reason, "permanent": True})
    errand = plan_backup(with_worker(world, said))
    assert phase(errand) == ("Failed" if ends else "New", reason)
    assert errand.status is not None
    assert errand.status["message"] == "data is truncated"
