"""Backups between caches, queues, agents and API server: who is woken, and what is written."""

import json
from typing import Any

import pytest

from coffer_common.wire import (
    BackupTask,
    DataState,
    DataStatus,
    EngineState,
    EngineStatus,
    GuestStatus,
    OfferedStrategy,
    TaskRequest,
    TaskState,
    TaskStatus,
)
from coffer_operator.build.worker import COMPONENT
from coffer_operator.guest.api import AgentBusyError, AgentRefusedError
from coffer_operator.kube.api import (
    BACKUP,
    BACKUP_STORAGE,
    DATASTORE_VERSION,
    EVENT,
    INSTANCE,
    NAMESPACE_TERMINATING,
    POD,
    SECRET,
    ConflictError,
    ForbiddenError,
    Key,
    Object,
)
from coffer_operator.plan.model import Plan
from coffer_operator.shell.admission import Known, review
from op_backup_worlds import CREDENTIALS, KEYS, OFFERS, STRATEGIES, backup_obj, result, storage_obj
from op_plan_worlds import datastore_version
from op_stage import KEY, NS, Stage, always
from sim_apiserver import Deletion

pytestmark = [pytest.mark.looptime, pytest.mark.simulation]

IP = "10.0.0.9"


@pytest.fixture
async def stage() -> Stage:
    return Stage()


def make_secrets(stage: Stage) -> None:
    for name, data in (("s3-credentials", CREDENTIALS), ("backup-keys", KEYS)):
        stage.write(SECRET, {"metadata": {"name": name, "namespace": NS}, "data": data})


def make_storage(stage: Stage) -> None:
    spec = storage_obj()["spec"]
    stage.write(BACKUP_STORAGE, {"metadata": {"name": "minio", "namespace": NS}, "spec": spec})


def workers(stage: Stage) -> list[Object]:
    label = "app.kubernetes.io/component"
    return [p for p in stage.server.every(POD) if p["metadata"]["labels"].get(label) == COMPONENT]


def answer(stage: Stage, said: dict[str, Any]) -> None:
    """The worker that there is ends with this."""
    (pod,) = [p for p in workers(stage) if "deletionTimestamp" not in p["metadata"]]
    good = said.get("result") is not None
    ended = {"exitCode": 0 if good else 1, "message": json.dumps(said)}
    status = {
        "phase": "Succeeded" if good else "Failed",
        "containerStatuses": [{"name": "worker", "state": {"terminated": ended}}],
    }
    name = pod["metadata"]["name"]
    stage.server.patch(POD, NS, name, {"status": status}, subresource="status", manager="kubelet")


def storage_status(stage: Stage) -> tuple[str, str]:
    conditions = stage.server.get(BACKUP_STORAGE, NS, "minio")["status"]["conditions"]
    ready = next(c for c in conditions if c["type"] == "Ready")
    return ready["status"], ready["reason"]


def events(stage: Stage) -> list[str]:
    return [event["reason"] for event in stage.server.every(EVENT)]


async def ready_storage(stage: Stage) -> None:
    make_secrets(stage)
    make_storage(stage)
    await stage.settle()
    answer(stage, {"result": {"keyId": "k1"}})
    await stage.settle()
    assert storage_status(stage) == ("True", "Ready")


async def test_a_storage_is_probed_by_a_pod_that_goes_away(stage: Stage) -> None:
    async with stage.running(always(Plan())):
        make_secrets(stage)
        make_storage(stage)
        await stage.settle()
        assert storage_status(stage) == ("False", "Probing")
        assert len(workers(stage)) == 1
        answer(stage, {"result": {"keyId": "k1"}})
        await stage.settle(40)  # kubelet is not there to end it sooner
        assert storage_status(stage) == ("True", "Ready")
        assert not workers(stage)
        before = len(stage.requests)
        await stage.settle(3600)
        assert {r.split()[0] for r in stage.requests[before:]} == {"get"}


async def test_missing_secrets_are_found_when_they_come(stage: Stage) -> None:
    async with stage.running(always(Plan())):
        make_storage(stage)
        await stage.settle()
        assert storage_status(stage) == ("False", "SecretMissing")
        assert not workers(stage)
        make_secrets(stage)
        await stage.settle(200)
        assert storage_status(stage) == ("False", "Probing")


async def test_changed_secrets_are_probed_anew(stage: Stage) -> None:
    async with stage.running(always(Plan())):
        await ready_storage(stage)
        await stage.settle(40)
        stage.server.patch(
            SECRET, NS, "s3-credentials", {"data": {"accessKeyId": "bmV3"}}, manager="kubectl"
        )
        await stage.settle(300)
        assert storage_status(stage) == ("False", "Probing")
        answer(stage, {"message": "403", "reason": "AccessDenied"})
        await stage.settle()
        assert storage_status(stage) == ("False", "ProbeFailed")
        assert "ProbeFailed" in events(stage)


async def test_a_forbidden_worker_is_told_and_tried_again(stage: Stage) -> None:
    stage.faults.errors["create", "Pod"] = [ForbiddenError("exceeded quota: pods")]
    async with stage.running(always(Plan())):
        make_secrets(stage)
        make_storage(stage)
        await stage.settle()
        assert storage_status(stage) == ("False", "QuotaExceeded")
        await stage.settle(2)
        assert len(workers(stage)) == 1


# --- backups -------------------------------------------------------------------------------------
def furnish(stage: Stage) -> None:
    version = datastore_version(backupStrategies=STRATEGIES)
    obj = version.model_dump(by_alias=True, mode="json", exclude_none=True)
    stage.write(DATASTORE_VERSION, {"metadata": {"name": "mariadb-10.11"}, "spec": obj["spec"]})
    resolved = {"type": "mariadb", "version": "10.11", "name": "mariadb-10.11"}
    stage.server.patch(
        INSTANCE, NS, "shop", {"status": {"datastore": resolved}}, subresource="status", manager="x"
    )
    stage.make_pod(IP)
    says(stage)


def says(
    stage: Stage, *tasks: TaskStatus, offers: tuple[OfferedStrategy, ...] | None = None
) -> None:
    pod = stage.server.get(POD, NS, "shop-0")
    status = GuestStatus(
        etag=str(len(stage.requests)) + repr((tasks, offers)),
        agent_version="1",
        boot_id="b",
        instance_uid=stage.instance["metadata"]["uid"],
        pod_uid=pod["metadata"]["uid"],
        data=DataStatus(state=DataState.LAID_OUT, data_id="d1"),
        engine=EngineStatus(state=EngineState.RUNNING),
        tasks=tasks,
        backup_strategies=offers,
    )
    stage.agents.says(IP, status)


def make_backup(stage: Stage, name: str = "monday", **spec: Any) -> Object:
    plain = {"instanceRef": {"name": "shop"}, "storageRef": {"name": "minio"}}
    return stage.write(BACKUP, {"metadata": {"name": name, "namespace": NS}, "spec": plain | spec})


def status_of(stage: Stage, name: str = "monday") -> dict[str, Any]:
    return dict(stage.server.get(BACKUP, NS, name).get("status") or {})


def asked(stage: Stage) -> list[str]:
    return [about[0] for what, about in stage.agents.calls if what == "task"]


def ended(task_id: str, **fields: Any) -> TaskStatus:
    plain: dict[str, Any] = {"id": task_id, "kind": "backup", "started_at": "2026-01-01T00:00:01Z"}
    return TaskStatus.model_validate(plain | fields)


async def test_a_backup_from_its_begin_to_its_deletion(stage: Stage) -> None:
    async with stage.running(always(Plan())):
        furnish(stage)
        await ready_storage(stage)
        uid = make_backup(stage)["metadata"]["uid"]
        await stage.settle()
        assert status_of(stage)["phase"] == "Running"
        assert stage.server.get(BACKUP, NS, "monday")["metadata"]["finalizers"] == [
            "coffer.dev/objects"
        ]
        assert set(asked(stage)) == {f"{uid}-1"}
        (_, (_, request)) = stage.agents.calls[-1]
        assert isinstance(request, TaskRequest)
        body = BackupTask.model_validate(request.payload)
        assert body.storage.settings["secret_key"] == "s3cr3t-value"
        assert "s3cr3t" not in repr(request)
        running = ended(f"{uid}-1", state=TaskState.RUNNING, bytes_done=5, bytes_total=10)
        says(stage, running)
        await stage.settle()
        assert status_of(stage)["progress"]["percent"] == 50
        done = ended(f"{uid}-1", state=TaskState.COMPLETED, result=result(), message="full")
        says(stage, done)
        await stage.settle()
        assert status_of(stage)["phase"] == "Completed"
        stage.server.delete(BACKUP, NS, "monday")
        await stage.settle()
        assert status_of(stage)["phase"] == "Deleting"
        answer(stage, {"result": {"path": "x"}})
        await stage.settle()
        assert stage.server.peek(BACKUP, NS, "monday") is None
        assert events(stage).count("ObjectsDeleted") == 1
        for _, obj in stage.server.everything():
            if obj["kind"] != "Secret":
                assert "s3cr3t" not in json.dumps(obj)
                assert KEYS["k1"] not in json.dumps(obj)


async def test_what_the_agent_offers_is_what_the_webhook_goes_by(stage: Stage) -> None:
    asked_for = backup_obj(strategy="MariaBackups")
    request = {"uid": "r", "kind": {"kind": "Backup"}, "object": asked_for, "oldObject": None}

    def review_now() -> str:
        engine = stage.engine
        known = Known(engine.cache.catalogue(), offers=engine.offers)
        return str(review(request, known).get("status", {}).get("message", ""))

    async with stage.running(always(Plan())):
        furnish(stage)
        await stage.settle()
        assert stage.engine.offers(KEY) is None
        assert not review_now(), "an older agent"
        says(stage, offers=OFFERS)
        await stage.settle()
        assert stage.engine.offers(KEY) == OFFERS
        assert "did you mean MariaBackup?" in review_now()
        stage.server.delete(POD, NS, "shop-0", Deletion(grace_period_s=0))
        await stage.settle()
        assert not review_now(), "the agent is away"
    assert stage.engine.offers(Key(NS, "other")) is None


async def test_a_busy_agent_is_asked_again(stage: Stage) -> None:
    async with stage.running(always(Plan())):
        furnish(stage)
        await ready_storage(stage)
        stage.agents.errors = [AgentBusyError("another task is running") for _ in range(3)]
        make_backup(stage)
        await stage.settle(30)
        assert status_of(stage)["phase"] == "Running"
        assert len(asked(stage)) >= 4


async def test_a_refusal_fails_it(stage: Stage) -> None:
    async with stage.running(always(Plan())):
        furnish(stage)
        await ready_storage(stage)
        stage.agents.errors = [AgentRefusedError("StrategyUnknown", "no such strategy")]
        make_backup(stage)
        await stage.settle()
        assert status_of(stage)["phase"] == "Failed"
        assert status_of(stage)["message"] == "no such strategy"


async def test_the_next_begins_when_the_one_before_has_ended(stage: Stage) -> None:
    async with stage.running(always(Plan())):
        furnish(stage)
        await ready_storage(stage)
        first = make_backup(stage)["metadata"]["uid"]
        await stage.settle()
        second = make_backup(stage, "tuesday")["metadata"]["uid"]
        await stage.settle()
        assert "waits for the Backup monday" in status_of(stage, "tuesday")["message"]
        bad = ended(f"{first}-1", state=TaskState.FAILED, reason="X", message="x", permanent=True)
        says(stage, bad)
        await stage.settle()
        assert status_of(stage)["phase"] == "Failed"
        assert status_of(stage, "tuesday")["phase"] == "Running"
        assert f"{second}-1" in asked(stage)


async def test_one_that_waits_for_its_storage_begins_when_that_is_ready(stage: Stage) -> None:
    async with stage.running(always(Plan())):
        furnish(stage)
        make_backup(stage)
        await stage.settle()
        assert status_of(stage)["phase"] == "New"
        await ready_storage(stage)
        await stage.settle()
        assert status_of(stage)["phase"] == "Running"


async def test_a_parent_learns_of_its_child(stage: Stage) -> None:
    async with stage.running(always(Plan())):
        furnish(stage)
        await ready_storage(stage)
        first = make_backup(stage)["metadata"]["uid"]
        await stage.settle()
        instance = stage.instance["metadata"]["uid"]
        path = f"{instance}/base/{first}"
        says(stage, ended(f"{first}-1", state=TaskState.COMPLETED, result=result(path=path)))
        await stage.settle()
        make_backup(stage, "tuesday", type="incremental")
        await stage.settle()
        assert status_of(stage, "tuesday")["parent"] == path
        assert status_of(stage)["children"] == ["tuesday"]
        stage.server.delete(BACKUP, NS, "monday")
        await stage.settle()
        assert "needed by tuesday" in status_of(stage)["message"]


async def test_without_its_storage_a_deleted_one_goes_and_says_what_stays(stage: Stage) -> None:
    async with stage.running(always(Plan())):
        furnish(stage)
        await ready_storage(stage)
        uid = make_backup(stage)["metadata"]["uid"]
        await stage.settle()
        says(stage, ended(f"{uid}-1", state=TaskState.COMPLETED, result=result()))
        await stage.settle()
        stage.server.delete(BACKUP_STORAGE, NS, "minio")
        stage.server.delete(BACKUP, NS, "monday")
        await stage.settle()
        assert stage.server.peek(BACKUP, NS, "monday") is None
        assert "ObjectsRetained" in events(stage)


async def test_a_terminating_namespace_holds_no_backup(stage: Stage) -> None:
    async with stage.running(always(Plan())):
        furnish(stage)
        await ready_storage(stage)
        uid = make_backup(stage)["metadata"]["uid"]
        await stage.settle()
        says(stage, ended(f"{uid}-1", state=TaskState.COMPLETED, result=result()))
        await stage.settle()
        refusal = ForbiddenError("being terminated", cause=NAMESPACE_TERMINATING)
        stage.faults.errors["create", "Pod"] = [refusal]
        stage.faults.errors["create", "Event"] = [refusal] * 100
        stage.server.delete(BACKUP, NS, "monday")
        await stage.settle(5)
        assert stage.server.peek(BACKUP, NS, "monday") is None


async def test_a_conflict_is_read_anew(stage: Stage) -> None:
    async with stage.running(always(Plan())):
        furnish(stage)
        await ready_storage(stage)
        stage.faults.errors["patch", "Backup"] = [ConflictError("x") for _ in range(3)]
        make_backup(stage)
        await stage.settle(5)
        assert status_of(stage)["phase"] == "Running"


async def test_what_is_gone_is_forgotten(stage: Stage) -> None:
    async with stage.running(always(Plan())):
        make_storage(stage)
        await stage.settle()
        stage.server.delete(BACKUP_STORAGE, NS, "minio")
        await stage.settle()
        before = len(stage.requests)
        await stage.settle(3600)
        assert len(stage.requests) == before
        assert not stage.engine.backups.backups_in(NS)
        assert stage.engine.backups.storage(Key(NS, "minio")) is None
