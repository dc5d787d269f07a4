"""Verifications between caches, queues, agents and API server: who is woken, what is written."""

from typing import Any

import pytest

from coffer_common.wire import (
    DataState,
    DataStatus,
    EngineState,
    EngineStatus,
    GuestStatus,
    TaskRequest,
    TaskState,
    TaskStatus,
)
from coffer_operator.kube.api import (
    BACKUP,
    DATASTORE_VERSION,
    EVENT,
    FLAVOR,
    INSTANCE,
    OPERATION,
    POD,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    Object,
)
from coffer_operator.plan.model import Plan
from op_plan_worlds import datastore_version, flavor
from op_stage import NS, Stage, always
from op_verification import DONE, NAME

pytestmark = [pytest.mark.looptime, pytest.mark.simulation]

IP = "10.0.0.7"
RESTORED = {"phase": "Completed", "storage": "minio", "path": "u-1/base/b-1"}


@pytest.fixture
async def stage() -> Stage:
    made = Stage()
    for kind, model in (
        (DATASTORE_VERSION, datastore_version()),
        (FLAVOR, flavor("small", "1", "1Gi")),
    ):
        content = model.model_dump(by_alias=True, mode="json", exclude_none=True)
        made.write(kind, {"metadata": {"name": model.metadata.name}, "spec": content["spec"]})
    spec = {"path": "u-1/base/b-1", "storageRef": {"name": "minio"}}
    made.write(BACKUP, {"metadata": {"name": "monday", "namespace": NS}, "spec": spec})
    patch(made, BACKUP, "monday", DONE | {"path": "u-1/base/b-1"})
    return made


def patch(stage: Stage, kind: Any, name: str, status: dict[str, Any]) -> None:
    stage.server.patch(kind, NS, name, {"status": status}, subresource="status", manager="x")


def ask(stage: Stage, **spec: Any) -> None:
    plain = {"type": "VerifyBackup", "backupRef": {"name": "monday"}}
    metadata = {"name": "check", "namespace": NS}
    stage.write(OPERATION, {"metadata": metadata, "spec": plain | spec})


def status_of(stage: Stage) -> dict[str, Any]:
    return dict(stage.server.get(OPERATION, NS, "check").get("status") or {})


def ready(stage: Stage) -> str:
    return next(str(c["reason"]) for c in status_of(stage)["conditions"] if c["type"] == "Ready")


def verified(stage: Stage) -> dict[str, Any] | None:
    found: dict[str, Any] | None = stage.server.get(BACKUP, NS, "monday")["status"].get("verified")
    return found


def scratch(stage: Stage) -> Object | None:
    try:
        return stage.server.get(INSTANCE, NS, NAME)
    except NotFoundError:
        return None


def serve(stage: Stage) -> None:
    """The scratch instance is restored, and its pod is there."""
    labels = {"app.kubernetes.io/managed-by": "coffer", "coffer.dev/instance": NAME}
    metadata = {"name": f"{NAME}-0", "namespace": NS, "labels": labels}
    containers = [{"name": "database", "image": "x"}]
    stage.write(POD, {"metadata": metadata, "spec": {"nodeName": "n1", "containers": containers}})
    patch(stage, POD, f"{NAME}-0", {"phase": "Running", "podIP": IP})
    patch(stage, INSTANCE, NAME, {"restore": RESTORED})


def says(stage: Stage, *tasks: TaskStatus) -> None:
    found = scratch(stage)
    assert found is not None
    said = GuestStatus(
        etag=f"{len(stage.agents.calls)} {tasks!r}",
        agent_version="1",
        boot_id="b",
        instance_uid=found["metadata"]["uid"],
        pod_uid=stage.server.get(POD, NS, f"{NAME}-0")["metadata"]["uid"],
        data=DataStatus(state=DataState.LAID_OUT, data_id="d1"),
        engine=EngineStatus(state=EngineState.RUNNING),
        tasks=tasks,
    )
    stage.agents.says(IP, said)


def put(stage: Stage) -> tuple[str, TaskRequest]:
    asked: dict[str, TaskRequest] = dict(a for what, a in stage.agents.calls if what == "task")
    (found,) = asked.items()
    return found


def ended(task_id: str) -> TaskStatus:
    return TaskStatus(
        id=task_id,
        kind="verify",
        state=TaskState.COMPLETED,
        started_at="2026-01-01T00:00:01Z",
        finished_at="2026-01-01T00:00:02Z",
        message="2 tables are sound",
    )


async def check(stage: Stage) -> None:
    """Until its data have been checked."""
    await stage.settle()
    serve(stage)
    says(stage)
    await stage.settle(2)
    task_id, request = put(stage)
    assert (request.kind, request.payload) == ("verify", {})
    says(stage, ended(task_id))
    await stage.settle(2)


async def test_from_its_begin_to_the_end_of_its_life(stage: Stage) -> None:
    async with stage.running(always(Plan())):
        ask(stage, ttlSecondsAfterFinished=60)
        await stage.settle()
        made = scratch(stage)
        assert made is not None
        assert made["metadata"]["ownerReferences"][0]["kind"] == "Operation"
        assert status_of(stage)["step"] == "Restoring"
        await check(stage)
        assert scratch(stage) is None
        assert (status_of(stage)["phase"], ready(stage)) == ("Completed", "BackupVerified")
        found = verified(stage)
        assert found is not None
        assert (found["result"], found["operation"]) == ("Passed", "check")
        events = [(e["involvedObject"]["kind"], e["reason"]) for e in stage.server.every(EVENT)]
        assert ("Backup", "BackupVerified") in events
        assert [e for e in events if e[0] == "Operation"] == [
            ("Operation", "Running"),
            ("Operation", "Completed"),
        ]
        await stage.settle(70)
        with pytest.raises(NotFoundError):
            stage.server.get(OPERATION, NS, "check")


async def test_an_instance_that_may_not_be_made(stage: Stage) -> None:
    stage.faults.errors["create", "DatabaseInstance"] = [ForbiddenError("no right to do so")]
    async with stage.running(always(Plan())):
        ask(stage)
        await stage.settle(5)
        assert (status_of(stage)["phase"], ready(stage)) == ("Failed", "Forbidden")
        assert "no right to do so" in status_of(stage)["message"]
        assert verified(stage) is None


async def test_a_backup_that_changed_meanwhile_gets_its_verdict(stage: Stage) -> None:
    async with stage.running(always(Plan())):
        ask(stage)
        await stage.settle()
        stage.faults.errors["patch", "Backup"] = [ConflictError("another version")] * 2
        await check(stage)
        await stage.settle(5)
        assert not stage.faults.errors["patch", "Backup"]
        assert status_of(stage)["phase"] == "Completed"
        assert verified(stage) is not None


async def test_two_of_one_backup_come_one_after_the_other(stage: Stage) -> None:
    async with stage.running(always(Plan())):
        ask(stage)
        await stage.settle()
        spec = {"type": "VerifyBackup", "backupRef": {"name": "monday"}}
        stage.write(OPERATION, {"metadata": {"name": "later", "namespace": NS}, "spec": spec})
        await stage.settle()
        later = stage.server.get(OPERATION, NS, "later")["status"]
        assert later["message"] == "waits for the Operation check, which verifies the same Backup"
        await check(stage)
        await stage.settle(20)
        assert stage.server.get(OPERATION, NS, "later")["status"]["phase"] == "Running"
        assert scratch(stage) is not None, "its own"
