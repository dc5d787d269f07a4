"""restoreFrom: checked before anything is built, never empty, tried again, told."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from coffer_common import naming
from coffer_common.resources.backup import Backup
from coffer_common.wire import (
    DataState,
    DataStatus,
    EngineState,
    EngineStatus,
    GuestStatus,
    RestoreTask,
    TaskState,
    TaskStatus,
)
from coffer_operator.plan.clock import to_text
from coffer_operator.plan.instance import plan_instance
from coffer_operator.plan.model import CancelTask, Plan, PutTask
from coffer_operator.plan.restore import NO_PROGRESS_S
from coffer_operator.plan.storage_secrets import open_secrets, whole_access
from coffer_operator.plan.tasks import STILL_S
from coffer_operator.plan.world import AgentFact, RestoreSource, VolumeFact, World
from op_backup_worlds import CREDENTIALS, KEYS, POD, backup, storage
from op_plan_worlds import UID, instance, operation, with_status, world

PATH = "u-1/base/b-1"
VOLUME = VolumeFact(
    name="shop-data",
    uid="v1",
    bound=True,
    deleting=False,
    lost=False,
    size_bytes=1024**3,
    storage_class="fast",
    data_id=None,
    datastore_version="mariadb-10.11",
    group="shop",
    role="standalone",
    ours=True,
)
DONE = {
    "phase": "Completed",
    "path": PATH,
    "datastore": "mariadb",
    "engineVersion": "10.11.6-MariaDB",
    "rawBytes": 500 * 1024**2,
    "manifestDigest": "cd",
}
FROM = {"backupRef": {"name": "monday"}}


def subject(source: RestoreSource | None = None, **spec: Any) -> World:
    found = source or RestoreSource(backup("monday", DONE), storage())
    return world(instance(restoreFrom=FROM, **spec), restore_source=found)


def ready(plan: Plan) -> tuple[str, str]:
    assert plan.status is not None
    found = next(c for c in plan.status["conditions"] if c["type"] == "Ready")
    return found["reason"], found["message"]


def config(plan: Plan) -> str:
    return str(next(a.obj for a in plan.apply if a.obj["kind"] == "ConfigMap")["data"])


def report(plan: Plan) -> dict[str, Any]:
    assert plan.status is not None
    return dict(plan.status["restore"])


def awaiting(before: World, *tasks: TaskStatus, **status: Any) -> World:
    """The pod is there, and its agent waits for the task."""
    plan = plan_instance(before)
    said = GuestStatus(
        etag="e",
        agent_version="1",
        boot_id="b",
        instance_uid=UID,
        pod_uid="p1",
        data=DataStatus(state=status.get("state", DataState.AWAITING_RESTORE)),
        engine=EngineStatus(state=EngineState.WAITING),
        tasks=tasks,
    )
    return replace(with_status(before, plan.status), pod=POD, agent=AgentFact(said, "p1", 0.0))


def task(number: int = 1, state: TaskState = TaskState.RUNNING, **fields: Any) -> TaskStatus:
    found = put(plan_instance(awaiting(subject())))
    return TaskStatus(
        id=f"{found.id[:-1]}{number}",
        kind="restore",
        state=state,
        started_at="2026-11-22T12:00:00Z",
        **fields,
    )


def puts(plan: Plan) -> list[PutTask]:
    return [call for call in plan.calls if isinstance(call, PutTask)]


def put(plan: Plan) -> PutTask:
    (call,) = puts(plan)
    return call


def test_a_scratch_instance_compares_whole_streams() -> None:
    before = subject()
    assert put(plan_instance(awaiting(before))).payload["whole"] is False
    labels = {"labels": {naming.LABEL_SCRATCH: "true"}}
    metadata = before.instance.metadata.model_copy(update=labels)
    scratch = replace(before, instance=before.instance.model_copy(update={"metadata": metadata}))
    assert put(plan_instance(awaiting(scratch))).payload["whole"] is True


# --- checked before ------------------------------------------------------------------------------
def test_the_agent_knows_of_the_restore_before_it_sees_the_volume() -> None:
    plan = plan_instance(subject())
    assert f'"path": "{PATH}"' in config(plan).replace("\\n", "")
    assert report(plan)["phase"] == "Waiting"


def with_spec(**spec: Any) -> RestoreSource:
    return RestoreSource(backup("monday", DONE | spec), storage())


@pytest.mark.parametrize(
    ("source", "reason", "words"),
    [
        (RestoreSource(None, storage()), "BackupNotFound", "monday does not exist"),
        (
            RestoreSource(backup("monday", {"phase": "Failed", "message": "x"}), storage()),
            "BackupNotCompleted",
            "is Failed, not Completed: x",
        ),
        (RestoreSource(backup("monday", DONE), None), "StorageNotFound", "minio"),
        (
            RestoreSource(backup("monday", DONE), storage(ready=False)),
            "StorageNotReady",
            "minio is not Ready",
        ),
        (with_spec(datastore="redis"), "BackupMismatch", "is of redis"),
        (with_spec(engineVersion="11.4.2"), "BackupMismatch", "10.11 is older"),
        (with_spec(rawBytes=1024**3), "VolumeTooSmall", "at least 1127Mi"),
        (with_spec(strategy="MySQLDump"), "BackupMismatch", "coffer backup load monday INSTANCE"),
    ],
)
def test_what_does_not_fit_is_told_and_nothing_is_built(
    source: RestoreSource, reason: str, words: str
) -> None:
    plan = plan_instance(subject(source))
    assert ready(plan)[0] == reason
    assert words in ready(plan)[1]
    assert not plan.apply
    assert not plan.calls


def test_a_chain_needs_room_for_all_of_it() -> None:
    full = backup("sunday", DONE | {"path": "u-1/base/b-0"})
    child = backup("monday", DONE | {"parent": "u-1/base/b-0", "rawBytes": 300 * 1024**2})
    source = RestoreSource(child, storage(), {"u-1/base/b-0": full})
    assert "at least 1210Mi" in ready(plan_instance(subject(source)))[1]
    assert plan_instance(subject(source, volume={"size": "1210Mi"})).apply


def test_a_location_needs_no_backup_object() -> None:
    location = {"location": {"storageRef": {"name": "minio"}, "path": PATH}}
    begun = world(instance(restoreFrom=location), restore_source=RestoreSource(None, storage()))
    assert PATH in config(plan_instance(begun))


def test_once_begun_it_does_not_need_its_backup_any_more() -> None:
    begun = awaiting(subject())
    orphan = replace(begun, restore_source=RestoreSource(None, storage()))
    assert put(plan_instance(orphan)).payload["path"] == PATH
    assert PATH in config(plan_instance(orphan))


# --- the task ------------------------------------------------------------------------------------
def test_the_agent_gets_the_task_until_it_has_it() -> None:
    begun = awaiting(subject())
    call = put(plan_instance(begun))
    assert call.kind == "restore"
    again = with_status(begun, plan_instance(begun).status)
    assert put(plan_instance(again)).id == call.id
    spec = storage().spec
    secrets = open_secrets(spec, {"s3-credentials": CREDENTIALS, "backup-keys": KEYS})
    body = {**call.payload, "storage": whole_access(spec, secrets).model_dump()}
    assert RestoreTask.model_validate(body).digest == "cd"


def test_progress_is_told_and_is_never_late() -> None:
    moving = task(bytes_done=40, bytes_total=100)
    begun = awaiting(subject())
    told = with_status(begun, plan_instance(begun).status)
    plan = plan_instance(awaiting(told, moving))
    assert not plan.calls
    assert report(plan)["progress"]["percent"] == 40
    assert ready(plan)[0] == "Restoring"
    much_later = replace(
        with_status(awaiting(told, moving), plan.status), now=told.now + timedelta(minutes=50)
    )
    late = plan_instance(much_later)
    assert late.status is not None
    assert late.status["phase"] == "Building"
    assert "Stalled" not in {c["type"] for c in late.status["conditions"]}


def test_one_that_does_not_move_is_told_and_then_cancelled() -> None:
    moving = task(bytes_done=40)
    begun = awaiting(subject())
    told = with_status(begun, plan_instance(begun).status)
    stuck = awaiting(told, moving)
    kept = with_status(stuck, plan_instance(stuck).status)
    still = plan_instance(replace(kept, now=kept.now + timedelta(seconds=STILL_S)))
    assert ": no byte has moved since " in ready(still)[1]
    assert report(still)["progress"]["bytesDone"] == 40
    late = replace(kept, now=kept.now + timedelta(seconds=NO_PROGRESS_S + 5))
    assert plan_instance(late).calls == (CancelTask(moving.id),)


def test_a_failure_for_good_is_an_error_and_never_an_empty_database() -> None:
    bad = task(state=TaskState.FAILED, reason="KeyUnknown", message="no key k0", permanent=True)
    begun = awaiting(subject())
    told = awaiting(with_status(begun, plan_instance(begun).status), bad)
    plan = plan_instance(told)
    assert plan.status is not None
    assert plan.status["phase"] == "Error"
    assert ready(plan)[0] == "RestoreFailed"
    assert "KeyUnknown: no key k0" in ready(plan)[1]
    forgotten = awaiting(with_status(told, plan.status))  # the agent kept no record
    again = plan_instance(forgotten)
    assert not again.calls
    assert ready(again)[0] == "RestoreFailed"
    assert PATH in config(again)


def test_a_reset_tries_once_more_what_has_failed_for_good() -> None:
    bad = task(state=TaskState.FAILED, reason="KeyUnknown", message="no key k0", permanent=True)
    begun = awaiting(subject())
    told = awaiting(with_status(begun, plan_instance(begun).status), bad)
    failed = with_status(told, plan_instance(told).status)
    running = {"phase": "Running", "startedAt": to_text(failed.now)}
    former = operation(kind="ResetStatus", status=running | {"startedAt": "2026-11-22T11:00:00Z"})
    assert not puts(plan_instance(replace(failed, operations=(former,)))), "older than the failure"
    reset = replace(failed, operations=(operation(kind="ResetStatus", status=running),))
    plan = plan_instance(reset)
    assert put(plan).id.endswith("-2")
    again = task(2, TaskState.FAILED, reason="KeyUnknown", message="no key k0", permanent=True)
    later = replace(reset, now=reset.now + timedelta(seconds=5))
    refused = awaiting(with_status(later, plan.status), again)
    ended = plan_instance(refused)
    assert ready(ended)[0] == "RestoreFailed"
    assert not puts(plan_instance(with_status(refused, ended.status))), "one reset, one attempt"


def test_the_agents_paths_get_the_names_of_backups() -> None:
    words = f"{PATH}/data, part 1 of 1 is not what was written"
    bad = task(state=TaskState.FAILED, reason="BackupDamaged", message=words, permanent=True)
    begun = awaiting(subject())
    told = awaiting(with_status(begun, plan_instance(begun).status), bad)
    assert f"the Backup monday ({PATH})/data, part 1" in ready(plan_instance(told))[1]


def test_what_may_succeed_later_is_tried_on() -> None:
    now = awaiting(subject())
    now = with_status(now, plan_instance(now).status)
    for number in range(1, 7):
        bad = task(number, TaskState.FAILED, reason="StoreUnavailable", message="503")
        failed = awaiting(now, bad)
        plan = plan_instance(failed)
        assert not plan.calls
        assert plan.status is not None
        assert plan.status["phase"] == ("Error" if number >= 3 else "Building")
        kept = with_status(failed, plan.status)
        assert not plan_instance(kept).calls
        now = replace(kept, now=kept.now + timedelta(seconds=601))
        plan = plan_instance(now)
        assert put(plan).id.endswith(f"-{number + 1}")
        now = with_status(now, plan.status)


def test_without_its_storage_it_says_so() -> None:
    begun = awaiting(subject())
    plan = plan_instance(replace(begun, restore_source=RestoreSource()))
    assert ready(plan)[0] == "StorageNotFound"
    assert not plan.calls
    assert PATH in config(plan)


def test_a_restored_instance_goes_on_as_any_other() -> None:
    begun = awaiting(subject())
    told = with_status(begun, plan_instance(begun).status)
    done = replace(
        told,
        volume=VOLUME,
        agent=AgentFact(
            GuestStatus(
                etag="f",
                agent_version="1",
                boot_id="b",
                instance_uid=UID,
                pod_uid="p1",
                data=DataStatus(state=DataState.LAID_OUT, data_id="d9"),
                engine=EngineStatus(state=EngineState.STARTING),
            ),
            "p1",
            0.0,
        ),
    )
    plan = plan_instance(done)
    assert report(plan)["phase"] == "Completed"
    assert PATH not in config(plan)
    assert "d9" in config(plan)
    assert plan.status is not None
    assert plan.status["dataId"] == "d9"


def test_data_that_are_there_are_never_restored_over() -> None:
    held = with_status(subject(RestoreSource()), {"dataId": "d1", "phase": "Active"})
    plan = plan_instance(replace(held, pod=POD))
    assert not plan.calls
    assert "restore" not in (plan.status or {})


def test_without_restore_from_nothing_is_said_of_it() -> None:
    plan = plan_instance(world())
    assert "restore" not in (plan.status or {})
    assert '"restore"' not in config(plan)


def test_a_backup_that_is_deleted_is_as_good_as_gone() -> None:
    going = backup("monday", DONE)
    metadata = going.metadata.model_copy(update={"deletion_timestamp": "2026-11-22T12:00:00Z"})
    source = RestoreSource(going.model_copy(update={"metadata": metadata}), storage())
    assert isinstance(source.backup, Backup)
    assert ready(plan_instance(subject(source)))[0] == "BackupNotFound"
