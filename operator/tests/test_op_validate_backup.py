"""Backups, schedules, storages and restoreFrom as the webhook judges them: never, or perhaps."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from coffer_common.resources.backup import Backup
from coffer_common.resources.instance import DatabaseInstance
from coffer_operator.kube.api import Key
from coffer_operator.plan.backup import plan_backup
from coffer_operator.plan.backup_begin import judge_beginning
from coffer_operator.plan.schedule import plan_schedule
from coffer_operator.plan.storage import plan_storage
from coffer_operator.plan.strategies import Offers
from coffer_operator.plan.world import AgentFact, RestoreSource
from coffer_operator.shell.admission import Known, review
from op_backup_worlds import (
    OFFERS,
    STRATEGIES,
    agent,
    backup,
    backup_obj,
    backup_world,
    storage,
    storage_obj,
)
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


def known(
    *others: Backup, strategies: dict[str, str] | None = None, offers: Offers | None = None
) -> Known:
    """An instance `shop`, and these Backups; the first is what instances are restored from.

    `offers`: of its agent, None: not known.
    """
    offered = catalogue(datastore_version(backupStrategies=strategies or STRATEGIES))
    shop = instance()
    there = {Key("prod", "shop"): shop}

    def source(_: DatabaseInstance) -> RestoreSource:
        return RestoreSource(others[0] if others else None, storage())

    return Known(
        offered,
        instance=there.get,
        source=source,
        backups=lambda _: others,
        offers={Key("prod", "shop"): offers}.get,
    )


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


THERE = "choose one of MariaBackup, MariaBackupIncremental (increments), MySQLDump"
STRATEGY_MISFITS: list[tuple[dict[str, Any], str]] = [
    (
        {"strategy": "mysqldmp"},
        f"spec.strategy: the instance shop has no backup strategy mysqldmp; {THERE}; "
        "did you mean MySQLDump?",
    ),
    (
        {"strategy": "RDB"},
        f"spec.strategy: the instance shop has no backup strategy RDB; {THERE}",
    ),
    (
        {"strategy": "MariaBackup", "databases": ["one"]},
        "spec.databases: MariaBackup backs up everything; choose MySQLDump, or leave out "
        "spec.databases",
    ),
    ({"strategy": "MySQLDump", "databases": ["one"]}, ""),
    ({"strategy": "MariaBackup", "type": "incremental"}, ""),  # the agent takes a full one
    ({}, ""),
]


@pytest.mark.parametrize(("spec", "words"), STRATEGY_MISFITS)
def test_a_strategy_that_the_instance_has_not(spec: dict[str, Any], words: str) -> None:
    assert said("Backup", backup_obj(**spec), known(offers=OFFERS)) == words
    assert not said("Backup", backup_obj(**spec), known()), "an agent that does not tell"
    assert not said("Backup", backup_obj(**spec), Known(catalogue())), "no instance"
    if words:  # the plan says the same, before the agent is asked
        errand = plan_backup(backup_world(backup(**spec)))
        assert errand.status is not None
        assert (errand.status["phase"], errand.status["message"]) == ("Failed", words)
        assert errand.status["conditions"][0]["reason"] == "StrategyInvalid"
        assert not errand.calls


@pytest.mark.parametrize("fact", [None, agent(offers=None), replace(agent(), error="away")])
def test_where_the_agent_is_not_known_no_strategy_is_refused(fact: AgentFact | None) -> None:
    world = backup_world(backup(strategy="RDB"), agent=fact)
    errand = plan_backup(world)
    told = dict(errand.status or {})
    assert told.get("phase") != "Failed"


def test_a_strategy_of_the_catalogue_that_the_instance_has_not() -> None:
    wrong = {"full": "MariaBackups", "incremental": "Increments"}
    there = known(strategies=wrong, offers=OFFERS)
    assert said("Backup", backup_obj(), there) == (
        "mariadb-10.11 names the strategy MariaBackups for full backups, which the instance shop "
        f"has not; name another in spec.strategy: {THERE}; did you mean MariaBackup?"
    )
    assert not said("Backup", backup_obj(strategy="MySQLDump"), there)


def test_an_image_without_any_strategy() -> None:
    message = said("Backup", backup_obj(strategy="RDB"), known(offers=()))
    assert message.endswith("has no backup strategy RDB; its image has none")


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


SCHEDULE_MISFITS = [
    ({"full": "Files"}, "Files for full backups", "nothing is taken until"),
    (
        {"full": "MariaBackup", "incremental": "Increments"},
        "Increments for incremental backups",
        "only full ones are taken until",
    ),
    (STRATEGIES, "", ""),
]


@pytest.mark.parametrize(("strategies", "what", "until"), SCHEDULE_MISFITS)
def test_a_schedule_by_a_strategy_that_the_instance_has_not(
    strategies: dict[str, str], what: str, until: str
) -> None:
    spec: dict[str, Any] = {"full": {"cron": "@weekly"}, "incremental": {"cron": "@daily"}}
    if "incremental" not in strategies:
        del spec["incremental"]
    message = said(
        "BackupSchedule", schedule_obj(**spec), known(strategies=strategies, offers=OFFERS)
    )
    assert (what in message, until in message, bool(message)) == (True, True, bool(what))
    assert not said("BackupSchedule", schedule_obj(**spec), known(strategies=strategies))
    world = schedule_world(
        schedule(**spec),
        catalogue=catalogue(datastore_version(backupStrategies=strategies)),
        offers=OFFERS,
    )
    world = replace(world, now=world.now + timedelta(days=8))  # both are due
    errand = plan_schedule(world)
    assert errand.status is not None
    made = {obj["spec"]["type"] for obj in errand.creates}
    if message:  # the plan says the same
        stalled = {c["type"]: c for c in errand.status["conditions"]}["Stalled"]
        assert (stalled["reason"], stalled["message"]) == ("StrategyInvalid", message)
        assert made == ({"full"} if "only full" in until else set())
    else:
        assert made
    again = replace(
        world, schedule=schedule(errand.status, **spec), now=world.now + timedelta(seconds=60)
    )
    if not errand.creates:
        assert plan_schedule(again).status == errand.status, "nothing to write once it is told"


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
