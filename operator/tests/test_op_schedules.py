"""Schedules between caches, queue and API server: when they wake, and what is written."""

from typing import Any

import pytest

from coffer_common.naming import LABEL_SCHEDULE
from coffer_operator.kube.api import (
    BACKUP,
    BACKUP_SCHEDULE,
    BACKUP_STORAGE,
    EVENT,
    OPERATION,
    ConflictError,
    ForbiddenError,
    Object,
    UnavailableError,
)
from coffer_operator.plan.clock import to_text
from coffer_operator.plan.model import Plan
from op_backup_worlds import storage_obj
from op_stage import EPOCH, NS, Stage, always

pytestmark = [pytest.mark.looptime, pytest.mark.simulation]

TEN_MINUTES_S = 600.0  # a run is due then; the Epoch is at midnight
FIRST = "nightly-full-20260101-0010"


@pytest.fixture
async def stage() -> Stage:
    return Stage()


def make_storage(stage: Stage) -> None:
    spec = storage_obj()["spec"]
    stage.write(BACKUP_STORAGE, {"metadata": {"name": "minio", "namespace": NS}, "spec": spec})


def make_schedule(stage: Stage, **spec: Any) -> None:
    plain = {
        "instanceRef": {"name": "shop"},
        "storageRef": {"name": "minio"},
        "full": {"cron": "*/10 * * * *"},
    }
    metadata = {"name": "nightly", "namespace": NS}
    stage.write(BACKUP_SCHEDULE, {"metadata": metadata, "spec": plain | spec})


def backups(stage: Stage) -> list[str]:
    return sorted(b["metadata"]["name"] for b in stage.server.every(BACKUP))


def status(stage: Stage) -> Object:
    return dict(stage.server.get(BACKUP_SCHEDULE, NS, "nightly")["status"])


def completes(stage: Stage, name: str, **more: Any) -> None:
    """As if it had been taken."""
    moment = to_text(EPOCH) if "at" not in more else more.pop("at")
    told = {"phase": "Completed", "path": f"u/base/{name}", "type": "full", "startedAt": moment}
    stage.server.patch(
        BACKUP,
        NS,
        name,
        {"status": told | {"finishedAt": moment} | more},
        subresource="status",
        manager="coffer",
    )


def make_completed(stage: Stage, name: str, day: int) -> None:
    spec = {"instanceRef": {"name": "shop"}, "storageRef": {"name": "minio"}}
    labels = {LABEL_SCHEDULE: "nightly"}
    stage.write(
        BACKUP, {"metadata": {"name": name, "namespace": NS, "labels": labels}, "spec": spec}
    )
    completes(stage, name, at=f"2025-12-{day:02}T02:00:00Z")


async def test_a_run_is_begun_by_the_clock_alone(stage: Stage) -> None:
    make_storage(stage)
    make_schedule(stage)
    async with stage.running(always(Plan())):
        await stage.settle()
        assert status(stage)["nextFull"] == "2026-01-01T00:10:00Z"
        before = [r for r in stage.requests if "BackupSchedule" in r]
        await stage.settle(TEN_MINUTES_S - 10)  # nothing changes: nothing is written
        assert [r for r in stage.requests if "BackupSchedule" in r] == before
        assert not backups(stage)
        await stage.settle(12)
        assert backups(stage) == [FIRST]
        assert status(stage)["lastFull"]["time"] == "2026-01-01T00:10:00Z"
        assert status(stage)["lastFull"]["phase"] == "New"
        assert "BackupScheduled" in [event["reason"] for event in stage.server.every(EVENT)]
        completes(stage, FIRST)
        await stage.settle()
        assert status(stage)["lastFull"]["phase"] == "Completed"
        assert status(stage)["lastSuccess"] == to_text(EPOCH)
        await stage.settle(TEN_MINUTES_S)
        assert len(backups(stage)) == 2


async def test_a_schedule_that_is_deleted_leaves_its_backups(stage: Stage) -> None:
    make_storage(stage)
    make_schedule(stage)
    async with stage.running(always(Plan())):
        await stage.settle(TEN_MINUTES_S + 1)
        stage.server.delete(BACKUP_SCHEDULE, NS, "nightly")
        await stage.settle(TEN_MINUTES_S)
        assert backups(stage) == [FIRST]
        (made,) = stage.server.every(BACKUP)
        assert "ownerReferences" not in made["metadata"]


async def test_a_wrong_expression_is_told_and_mended(stage: Stage) -> None:
    make_storage(stage)
    make_schedule(stage, full={"cron": "0 25 * * *"})
    async with stage.running(always(Plan())):
        await stage.settle(TEN_MINUTES_S)
        stalled = [c for c in status(stage)["conditions"] if c["type"] == "Stalled"]
        assert stalled[0]["message"].startswith("spec.full.cron: '0 25 * * *' is no cron")
        mended = {"spec": {"full": {"cron": "5 * * * *"}}}
        stage.server.patch(BACKUP_SCHEDULE, NS, "nightly", mended, manager="kubectl")
        await stage.settle()
        assert backups(stage) == ["nightly-full-20260101-0005"]


async def test_what_is_refused_is_told_and_tried_again(stage: Stage) -> None:
    make_storage(stage)
    make_schedule(stage)
    async with stage.running(always(Plan())):
        refusals = [ForbiddenError("exceeded quota: backups") for _ in range(2)]
        stage.faults.errors["create", "Backup"] = list(refusals)
        await stage.settle(TEN_MINUTES_S + 0.2)
        assert "exceeded quota" in status(stage)["message"]
        assert "lastFull" not in status(stage)
        await stage.settle(60)
        assert backups(stage) == [FIRST]
        assert status(stage)["lastFull"]["name"] == FIRST
        assert "exceeded quota" not in status(stage)["message"]


async def test_one_that_is_there_already_is_the_same(stage: Stage) -> None:
    make_storage(stage)
    make_schedule(stage)
    async with stage.running(always(Plan())):
        stage.faults.errors["create", "Backup"] = [ConflictError("exists")]
        await stage.settle(TEN_MINUTES_S + 0.2)
        assert status(stage)["lastFull"]["name"] == FIRST
        assert status(stage)["lastFull"]["phase"] == "New"
        await stage.settle(60)
        assert not backups(stage)


async def test_retention_removes_a_few_at_a_time(stage: Stage) -> None:
    make_storage(stage)
    for day in range(1, 8):
        make_completed(stage, f"old-{day}", day)
    make_schedule(stage, retention={"count": 2})
    async with stage.running(always(Plan())):
        await stage.settle(200)
        assert backups(stage) == ["old-6", "old-7"]
        assert stage.requests.count("delete Backup old-1") == 1
        reasons = [event["reason"] for event in stage.server.every(EVENT)]
        assert reasons.count("BackupRetired") == 5


async def test_a_chain_goes_from_its_end_without_a_wait_for_each(stage: Stage) -> None:
    make_storage(stage)
    for day in range(1, 6):
        make_completed(stage, f"old-{day}", day)
    for day in range(2, 5):  # each continues the one of the day before; the fifth stands alone
        moment = f"2025-12-{day:02}T02:00:00Z"
        parent = f"u/base/old-{day - 1}"
        completes(stage, f"old-{day}", at=moment, type="incremental", parent=parent)
    make_schedule(stage, retention={"count": 1})
    async with stage.running(always(Plan())):
        await stage.settle(30)
        assert backups(stage) == ["old-5"]


async def test_a_refused_removal_holds_nothing_back(stage: Stage) -> None:
    make_storage(stage)
    for day in (1, 2):
        make_completed(stage, f"old-{day}", day)
    make_schedule(stage, retention={"count": 1})
    refusals = [ForbiddenError("it is guarded") for _ in range(100)]
    async with stage.running(always(Plan())):
        stage.faults.errors["delete", "Backup"] = list(refusals)
        await stage.settle(TEN_MINUTES_S - 1)
        assert "it is guarded" in status(stage)["message"]
        await stage.settle(2)
        assert FIRST in backups(stage)
        await stage.settle(10)
        assert status(stage)["lastFull"]["name"] == FIRST
        completes(stage, FIRST)
        await stage.settle(10)
        assert status(stage)["lastFull"]["phase"] == "Completed"
        assert "it is guarded" in status(stage)["message"]
        assert len([r for r in stage.requests if r.startswith("patch BackupSchedule")]) < 20
        stage.faults.errors.clear()
        await stage.settle(TEN_MINUTES_S)
        assert "old-1" not in backups(stage)


async def test_what_is_to_be_kept_since_is_kept(stage: Stage) -> None:
    make_storage(stage)
    for day in (1, 2):
        make_completed(stage, f"old-{day}", day)
    make_schedule(stage, retention={"count": 1})
    stage.faults.errors["get", "Backup"] = [UnavailableError("away")]
    async with stage.running(always(Plan())):
        while stage.faults.errors["get", "Backup"]:
            await stage.settle(0.05)
        stage.faults.deaf = True  # the caches do not hear of it
        stage.server.patch(BACKUP, NS, "old-1", {"spec": {"keep": True}}, manager="kubectl")
        await stage.settle(60)
        assert "get Backup old-1" in stage.requests
        assert "delete Backup old-1" not in stage.requests


async def test_a_test_restore_is_asked_for(stage: Stage) -> None:
    make_storage(stage)
    make_completed(stage, "old-1", 1)
    make_schedule(stage, verify={"cron": "5 * * * *"})
    async with stage.running(always(Plan())):
        await stage.settle(301)
        (operation,) = stage.server.every(OPERATION)
        assert operation["metadata"]["name"] == "nightly-verify-20260101-0005"
        assert operation["spec"]["backupRef"] == {"name": "old-1"}
        schedule = stage.server.get(BACKUP_SCHEDULE, NS, "nightly")
        owner = operation["metadata"]["ownerReferences"][0]
        assert owner["uid"] == schedule["metadata"]["uid"]
        stage.server.patch(
            OPERATION,
            NS,
            operation["metadata"]["name"],
            {"status": {"phase": "Completed", "finishedAt": to_text(EPOCH)}},
            subresource="status",
            manager="coffer",
        )
        await stage.settle(120)
        assert status(stage)["lastVerify"]["phase"] == "Completed"
