"""Backups, schedules, storages and restoreFrom as the webhook judges them: never, or perhaps."""

from typing import Any

import pytest

from coffer_common.resources.backup import Backup
from coffer_common.resources.instance import DatabaseInstance
from coffer_operator.kube.api import Key
from coffer_operator.plan.backup_begin import judge_beginning
from coffer_operator.plan.schedule import plan_schedule
from coffer_operator.plan.storage import plan_storage
from coffer_operator.plan.world import RestoreSource
from coffer_operator.shell.admission import Known, review
from op_backup_worlds import STRATEGIES, backup, backup_obj, backup_world, storage, storage_obj
from op_backup_worlds import storage_world as make_storage_world
from op_plan_worlds import UID, catalogue, datastore_version, instance_obj
from op_schedule_worlds import instance, schedule, schedule_obj, schedule_world

DONE = {
    "phase": "Completed",
    "path": "u-1/base/b-1",
    "datastore": "mariadb",
    "engineVersion": "10.11.6-MariaDB",
    "rawBytes": 500 * 1024**2,
    "instanceUid": UID,
}


def known(*others: Backup, strategies: dict[str, str] | None = None) -> Known:
    """An instance `shop`, and these Backups; the first is what instances are restored from."""
    offered = catalogue(datastore_version(backupStrategies=strategies or STRATEGIES))
    shop = instance()
    there = {Key("prod", "shop"): shop}

    def source(_: DatabaseInstance) -> RestoreSource:
        return RestoreSource(others[0] if others else None, storage())

    return Known(offered, instance=there.get, source=source, backups=lambda _: others)


def said(kind: str, obj: dict[str, Any], by: Known | None = None, old: Any = None) -> str:
    """The refusal; "": allowed."""
    request = {"uid": "r", "kind": {"kind": kind}, "object": obj, "oldObject": old}
    answer = review(request, by or known())
    assert answer["allowed"] == ("status" not in answer)
    return str(answer.get("status", {}).get("message", ""))


# --- Backup ---------------------------------------------------------------------------------------
def test_a_backup_may_come_before_all_that_it_names() -> None:
    assert not said("Backup", backup_obj(), Known(catalogue()))
    assert not said("Backup", backup_obj(type="incremental", parentRef={"name": "later"}))


def test_a_type_that_the_datastore_does_not_offer() -> None:
    only_full = {"full": "RedisBackup"}
    message = said("Backup", backup_obj(type="incremental"), known(strategies=only_full))
    assert message.endswith("offers no incremental backups; make a Backup of type full")
    assert not said("Backup", backup_obj(type="full"), known(strategies=only_full))


PARENTS = [
    (backup("sunday", {"phase": "Failed"}), "the Backup sunday has failed or is deleted"),
    (backup("sunday", DONE | {"instanceUid": "other"}), "of another instance"),
    (backup("sunday", DONE, storageRef={"name": "elsewhere"}), "in another storage"),
    (backup("sunday", {"phase": "Running"}), ""),
    (backup("sunday", DONE), ""),
]


@pytest.mark.parametrize(("parent", "words"), PARENTS)
def test_a_parent_that_can_never_be_continued(parent: Backup, words: str) -> None:
    spec: dict[str, Any] = {"type": "incremental", "parentRef": {"name": "sunday"}}
    message = said("Backup", backup_obj(**spec), known(parent))
    assert words in message
    assert bool(message) == bool(words)
    if message:  # the plan says the same
        with pytest.raises(Exception, match=r"spec\.parentRef") as stopped:
            judge_beginning(backup_world(backup(**spec), others=(parent,)))
        assert str(stopped.value).endswith(message)


def test_a_backup_cannot_continue_itself() -> None:
    spec: dict[str, Any] = {"type": "incremental", "parentRef": {"name": "monday"}}
    assert "cannot continue itself" in said("Backup", backup_obj(**spec))


def adopting(name: str, path: str) -> dict[str, Any]:
    obj = backup_obj(name, path=path)
    del obj["spec"]["instanceRef"]
    return obj


def test_two_backups_never_have_the_same_objects() -> None:
    there = known(backup("sunday", DONE))
    message = said("Backup", adopting("again", "u-1/base/b-1"), there)
    assert "the Backup sunday has what is at u-1/base/b-1 already" in message
    assert not said("Backup", adopting("other", "u-1/base/b-2"), there)
    failed = Backup.model_validate(
        adopting("once", "u-1/base/b-3") | {"status": {"phase": "Failed"}}
    )
    message = said("Backup", adopting("again", "u-1/base/b-3"), known(failed))
    assert "give it deletionPolicy Retain and delete it first" in message


def test_what_can_change_of_a_backup_is_never_held_back() -> None:
    spec: dict[str, Any] = {"type": "incremental", "parentRef": {"name": "sunday"}}
    failed = known(backup("sunday", {"phase": "Failed"}))
    former = backup_obj(**spec)
    assert not said("Backup", backup_obj(**spec, keep=True), failed, former)


# --- BackupStorage --------------------------------------------------------------------------------
STORAGES = [
    ({"upload": {"partSize": "1Mi"}}, {}, "between 5Mi and 64Mi"),
    ({"upload": {"partSize": "1Gi"}}, {}, "between 5Mi and 64Mi"),
    ({"upload": {"rateLimit": "0"}}, {}, "nothing is ever sent"),
    ({}, {"endpoint": "http://s3.test", "caSecretRef": {"name": "ca"}}, "write https://"),
    ({"upload": {"partSize": "5Mi", "rateLimit": "1Mi"}}, {}, ""),
    ({}, {"caSecretRef": {"name": "ca"}}, ""),
]


@pytest.mark.parametrize(("spec", "s3", "words"), STORAGES)
def test_a_storage_that_can_never_work(
    spec: dict[str, Any], s3: dict[str, Any], words: str
) -> None:
    obj = storage_obj(**s3)
    obj["spec"] |= spec
    message = said("BackupStorage", obj)
    assert words in message
    assert bool(message) == bool(words)
    errand = plan_storage(make_storage_world(storage=type(storage()).model_validate(obj)))
    assert errand.status is not None
    assert (errand.worker is None) == bool(words), "what is wrong is not tried"
    if words:
        assert errand.status["conditions"][0]["message"] == message


def test_what_was_wrong_before_holds_back_no_label() -> None:
    obj = storage_obj()
    obj["spec"]["upload"] = {"partSize": "1Mi"}
    assert not said("BackupStorage", obj, old=obj)


# --- BackupSchedule -------------------------------------------------------------------------------
SCHEDULES = [
    ({"full": {"cron": "61 * * * *"}}, "spec.full.cron"),
    ({"verify": {"cron": "@often"}}, "spec.verify.cron"),
    ({"timeZone": "Europe/Berlim"}, "did you mean Europe/Berlin?"),
    ({"incremental": {"cron": "@daily"}}, ""),
]


@pytest.mark.parametrize(("spec", "words"), SCHEDULES)
def test_a_schedule_that_is_never_due(spec: dict[str, Any], words: str) -> None:
    message = said("BackupSchedule", schedule_obj(**spec))
    assert words in message
    assert bool(message) == bool(words)
    if words:
        errand = plan_schedule(schedule_world(schedule(**spec)))
        assert errand.status is not None
        assert errand.status["conditions"][0]["message"] == message


def test_increments_of_a_datastore_without_any() -> None:
    obj = schedule_obj(incremental={"cron": "@daily"})
    message = said("BackupSchedule", obj, known(strategies={"full": "RedisBackup"}))
    assert "offers no incremental backups" in message
    assert not said("BackupSchedule", obj, Known(catalogue())), "the instance may come later"
    assert not said("BackupSchedule", obj, known(strategies={"full": "RedisBackup"}), obj)


# --- DatabaseInstance.spec.restoreFrom ------------------------------------------------------------
RESTORES = [
    (DONE | {"datastore": "redis"}, "is of redis, and the instance is to be mariadb"),
    (DONE | {"engineVersion": "11.4.2-MariaDB"}, "choose a version that is not"),
    (DONE | {"rawBytes": 500 * 1024**3}, "is too small for what the Backup monday holds"),
    ({"phase": "Failed"}, "the Backup monday has failed; choose another one"),
    ({"phase": "Running"}, ""),
    (DONE, ""),
]


@pytest.mark.parametrize(("status", "words"), RESTORES)
def test_a_backup_that_can_never_be_restored_there(status: dict[str, Any], words: str) -> None:
    obj = instance_obj(restoreFrom={"backupRef": {"name": "monday"}})
    there = known(backup("monday", status))
    message = said("DatabaseInstance", obj, there)
    assert words in message
    assert bool(message) == bool(words)
    assert not said("DatabaseInstance", obj, there, instance_obj()), "an instance goes on as it is"


def test_a_backup_to_restore_may_come_later() -> None:
    obj = instance_obj(restoreFrom={"backupRef": {"name": "monday"}})
    assert not said("DatabaseInstance", obj)
