"""plan_schedule: what is due, what is made of it, and what the status says."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from coffer_operator.plan.errand import Errand
from coffer_operator.plan.schedule import plan_schedule
from coffer_operator.plan.world import ActFailure
from op_plan_worlds import catalogue, datastore_version
from op_schedule_worlds import (
    BOTH,
    CREATED,
    SUNDAY,
    at,
    carried_out,
    going,
    instance,
    looked,
    made,
    operation,
    removed,
    schedule,
    schedule_world,
    status,
    taken,
)


def events(errand: Errand) -> list[str]:
    return [note.reason for note in errand.events]


def condition(errand: Errand, kind: str = "Ready") -> tuple[str, str] | None:
    found = {c["type"]: (c["status"], c["reason"]) for c in status(errand)["conditions"]}
    return found.get(kind)


def test_nothing_is_due_before_its_time() -> None:
    errand = plan_schedule(schedule_world())
    assert not errand.creates
    assert condition(errand) == ("True", "Ready")
    assert status(errand)["nextFull"] == "2026-11-08T02:00:00Z"
    assert "lastFull" not in status(errand)
    assert errand.requeue_after_s == (SUNDAY - CREATED - timedelta(hours=1)).total_seconds()


def test_a_run_that_is_due_makes_a_backup() -> None:
    world, errand = looked(schedule_world(), SUNDAY)
    (backup,) = errand.creates
    assert backup["metadata"] == {
        "name": "nightly-full-20261108-0200",
        "namespace": "prod",
        "labels": {"coffer.dev/backup-schedule": "nightly"},
    }
    assert backup["spec"] == {
        "instanceRef": {"name": "shop"},
        "storageRef": {"name": "minio"},
        "type": "full",
        "deletionPolicy": "Delete",
    }
    assert status(errand)["lastFull"] == {
        "time": "2026-11-08T02:00:00Z",
        "name": "nightly-full-20261108-0200",
        "phase": "New",
    }
    assert "BackupScheduled" in events(errand)
    _, again = looked(world, SUNDAY + timedelta(seconds=1))
    assert not again.creates
    assert not again.events
    assert status(again)["nextFull"] == "2026-11-15T02:00:00Z"


def test_who_died_before_it_was_told_makes_no_second() -> None:
    before = schedule_world(now=SUNDAY)
    died = replace(carried_out(before, plan_schedule(before)), schedule=before.schedule)
    errand = plan_schedule(died)
    assert not errand.creates
    assert status(errand)["lastFull"]["name"] == "nightly-full-20261108-0200"
    assert "BackupScheduled" in events(errand)


def test_of_missed_runs_the_latest_is_caught_up() -> None:
    world = schedule_world(schedule(**BOTH))
    world, errand = looked(world, at("2026-11-25T12:00:00Z"))  # a Wednesday
    assert made(errand) == ["nightly-full-20261122-0200"]
    assert status(errand)["lastIncremental"] == {
        "time": "2026-11-25T02:00:00Z",
        "phase": "Skipped",  # the full one has it all
    }
    _, again = looked(world, at("2026-11-25T12:01:00Z"))
    assert not again.creates


def test_an_increment_follows_a_full_one() -> None:
    full = taken("nightly-full-20261108-0200", SUNDAY)
    former = {"lastFull": {"time": "2026-11-08T02:00:00Z", "name": full.metadata.name, "phase": ""}}
    world = schedule_world(schedule(former, **BOTH), backups=(full,))
    _, errand = looked(world, at("2026-11-09T02:00:00Z"))
    assert made(errand) == ["nightly-incr-20261109-0200"]
    assert errand.creates[0]["spec"]["type"] == "incremental"
    assert status(errand)["lastFull"]["phase"] == "Completed"
    assert status(errand)["lastSuccess"] == "2026-11-08T02:05:00Z"


def test_forbid_skips_what_is_due_meanwhile_and_queue_does_not() -> None:
    running = taken("nightly-full-20261108-0200", SUNDAY, phase="Running")
    former = {"lastFull": {"time": "2026-11-08T02:00:00Z", "name": running.metadata.name}}
    former["lastFull"]["phase"] = "New"
    monday = at("2026-11-09T02:00:00Z")
    world = schedule_world(schedule(former, **BOTH), backups=(running,))
    after, errand = looked(world, monday)
    assert not errand.creates
    assert events(errand)[-1] == "BackupSkipped"
    assert status(errand)["lastIncremental"] == {"time": "2026-11-09T02:00:00Z", "phase": "Skipped"}
    _, again = looked(after, monday + timedelta(minutes=1))
    assert not again.creates
    assert not again.events
    queued = schedule(former, **BOTH, concurrencyPolicy="Queue")
    _, errand = looked(replace(world, schedule=queued), monday)
    assert made(errand) == ["nightly-incr-20261109-0200"]
    deleted = replace(world, backups=(going(running),))
    assert made(looked(deleted, monday)[1]) == ["nightly-incr-20261109-0200"]


def test_a_name_that_another_has() -> None:
    other = taken("nightly-full-20261108-0200", SUNDAY, label=None)
    _, errand = looked(schedule_world(backups=(other,)), SUNDAY)
    assert not errand.creates
    assert "BackupSkipped" in events(errand)
    assert status(errand)["lastFull"]["phase"] == "Skipped"


def test_suspended_nothing_is_made_or_removed_and_then_it_is_caught_up() -> None:
    old = tuple(taken(f"f{n}", CREATED + timedelta(hours=n)) for n in range(3))
    subject = schedule(suspend=True, retention={"count": 1})
    world, errand = looked(schedule_world(subject, backups=old), at("2026-11-20T12:00:00Z"))
    assert not errand.writes
    assert condition(errand) == ("True", "Suspended")
    assert "nextFull" not in status(errand)
    assert errand.requeue_after_s is None
    active = schedule(status(errand), retention={"count": 1})
    after, errand = looked(replace(world, schedule=active), at("2026-11-20T12:01:00Z"))
    assert made(errand) == ["nightly-full-20261115-0200"]
    after, errand = looked(after, at("2026-11-20T12:02:00Z"))
    assert removed(errand) == ["f1", "f0"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"full": {"cron": "61 * * * *"}}, "spec.full.cron: '61 * * * *' is no cron expression"),
        ({"verify": {"cron": "daily"}}, "spec.verify.cron: 'daily' is no cron expression"),
        ({"timeZone": "Europe/Berlim"}, "did you mean Europe/Berlin?"),
    ],
)
def test_what_is_not_valid_is_told_and_does_nothing(spec: dict[str, Any], message: str) -> None:
    old = tuple(taken(f"f{n}", CREATED + timedelta(hours=n)) for n in range(3))
    subject = schedule(**spec, retention={"count": 1})
    world, errand = looked(schedule_world(subject, backups=old), at("2026-11-20T12:00:00Z"))
    assert not errand.writes
    assert condition(errand, "Stalled") == ("True", "Invalid")
    assert message in status(errand)["message"]
    assert "\n" not in status(errand)["message"]
    assert events(errand) == ["Invalid"]
    assert not events(looked(world, at("2026-11-20T12:01:00Z"))[1])


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"instance": None}, "InstanceNotFound"),
        ({"storage": None}, "StorageNotFound"),
    ],
)
def test_without_instance_or_storage_it_waits(facts: dict[str, Any], reason: str) -> None:
    old = tuple(taken(f"f{n}", CREATED + timedelta(hours=n)) for n in range(3))
    subject = schedule(retention={"count": 1})
    world, errand = looked(schedule_world(subject, backups=old, **facts), SUNDAY)
    assert not errand.writes
    assert condition(errand, "Stalled") == ("True", reason)
    assert errand.requeue_after_s == 60
    back = replace(world, instance=instance(), storage=schedule_world().storage)
    assert made(looked(back, SUNDAY + timedelta(hours=1))[1]) == ["nightly-full-20261108-0200"]


def test_increments_of_a_datastore_that_has_none() -> None:
    plain = catalogue(datastore_version(backupStrategies={"full": "RedisBackup"}))
    world = schedule_world(schedule(**BOTH), catalogue=plain)
    _, errand = looked(world, at("2026-11-09T12:00:00Z"))
    assert made(errand) == ["nightly-full-20261108-0200"]
    assert condition(errand, "Stalled") == ("True", "NoBackupStrategy")
    assert "lastIncremental" not in status(errand)
    assert "nextIncremental" not in status(errand)


def test_a_failed_backup_is_told_and_the_next_is_taken() -> None:
    failed = taken("nightly-full-20261108-0200", SUNDAY, phase="Failed")
    world, errand = looked(schedule_world(backups=(failed,)), SUNDAY + timedelta(hours=1))
    assert condition(errand) == ("False", "BackupFailed")
    assert condition(errand, "Stalled") is None
    assert "BackupFailed" in events(errand)
    world, errand = looked(world, at("2026-11-15T02:00:00Z"))
    assert made(errand) == ["nightly-full-20261115-0200"]
    assert "BackupFailed" not in events(errand)
    good = taken("nightly-full-20261115-0200", at("2026-11-15T02:00:00Z"))
    _, errand = looked(replace(world, backups=(failed, good)), at("2026-11-15T03:00:00Z"))
    assert condition(errand) == ("True", "Ready")


def test_what_could_not_be_made_does_not_count() -> None:
    failure = ActFailure("create Backup x", "Forbidden", "quota", True, SUNDAY)
    world = schedule_world(now=SUNDAY, failure=failure)
    errand = plan_schedule(world)
    assert made(errand) == ["nightly-full-20261108-0200"]
    assert "lastFull" not in status(errand)
    assert condition(errand, "Stalled") == ("True", "Forbidden")
    assert "BackupScheduled" not in events(errand)
    succeeded = replace(carried_out(world, errand), failure=None)
    errand = plan_schedule(succeeded)
    assert not errand.creates
    assert status(errand)["lastFull"]["phase"] == "New"
    assert "BackupScheduled" in events(errand)


def test_what_was_deleted_is_told_and_not_made_again() -> None:
    former = {"lastFull": {"time": "2026-11-08T02:00:00Z", "name": "x", "phase": "Running"}}
    _, errand = looked(schedule_world(schedule(former)), at("2026-11-09T02:00:00Z"))
    assert not errand.creates
    assert status(errand)["lastFull"]["phase"] == "Deleted"


def test_a_clock_that_was_wrong_stops_nothing() -> None:
    former = {"lastFull": {"time": "2036-11-08T02:00:00Z", "name": "x", "phase": "Completed"}}
    _, errand = looked(schedule_world(schedule(former)), at("2026-11-09T02:00:00Z"))
    assert made(errand) == ["nightly-full-20261108-0200"]


# --- test restores -------------------------------------------------------------------------------
VERIFY: dict[str, Any] = {"verify": {"cron": "0 6 * * 0"}}
VERIFY_AT = at("2026-11-08T06:00:00Z")
LAST_FULL = {"lastFull": {"time": "2026-11-08T02:00:00Z", "name": "f2", "phase": "Completed"}}


def test_the_newest_that_was_not_proved_is() -> None:
    backups = (
        taken("f0", CREATED, verified="Passed"),
        taken("f1", CREATED + timedelta(days=1)),
        taken("f2", SUNDAY),
        taken("f3", SUNDAY + timedelta(hours=1), phase="Failed"),
    )
    world = schedule_world(schedule(LAST_FULL, **VERIFY), backups=backups)
    after, errand = looked(world, VERIFY_AT)
    (obj,) = errand.creates
    assert obj["kind"] == "Operation"
    assert obj["metadata"]["name"] == "nightly-verify-20261108-0600"
    assert obj["metadata"]["ownerReferences"][0]["uid"] == "n-uid"
    assert obj["spec"]["type"] == "VerifyBackup"
    assert obj["spec"]["backupRef"] == {"name": "f2"}
    assert status(errand)["lastVerified"] == "2026-11-01T16:00:00Z"
    _, again = looked(after, VERIFY_AT + timedelta(minutes=1))
    assert not again.creates
    assert status(again)["lastVerify"]["phase"] == "New"
    assert again.requeue_after_s == 60  # nobody tells of the Operation
    tried = replace(world, operations=(operation("Running", "f2", "other"),))
    assert looked(tried, VERIFY_AT)[1].creates[0]["spec"]["backupRef"] == {"name": "f1"}


def test_one_test_restore_at_a_time() -> None:
    world = schedule_world(
        schedule(LAST_FULL, **VERIFY),
        backups=(taken("f2", SUNDAY),),
        operations=(operation("Running"),),
    )
    after, errand = looked(world, VERIFY_AT)
    assert not errand.creates
    assert events(errand)[-1] == "VerificationSkipped"
    assert status(errand)["lastVerify"]["phase"] == "Skipped"
    assert not looked(after, VERIFY_AT + timedelta(hours=1))[1].creates


def test_with_nothing_to_prove_there_is_no_test_restore() -> None:
    proved = taken("f2", SUNDAY, verified="Failed")
    world = schedule_world(schedule(LAST_FULL, **VERIFY), backups=(proved,))
    _, errand = looked(world, VERIFY_AT)
    assert not errand.creates
    assert status(errand)["lastVerify"]["phase"] == "Skipped"
    assert "lastVerified" not in status(errand)
