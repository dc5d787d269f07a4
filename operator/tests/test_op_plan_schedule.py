"""plan_schedule: what is due, what is made of it, and what the status says."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffer_common.resources.operation import Operation
from coffer_common.resources.schedule import BackupSchedule, LastRun
from coffer_operator.plan.errand import Errand
from coffer_operator.plan.schedule import plan_schedule
from coffer_operator.plan.schedule_world import ScheduleWorld
from coffer_operator.plan.world import ActFailure
from op_plan_worlds import catalogue, datastore_version
from op_schedule_worlds import (
    CREATED,
    at,
    carried_out,
    going,
    instance,
    schedule,
    schedule_obj,
    schedule_world,
    taken,
)

SUNDAY = at("2026-11-08T02:00:00Z")
BOTH: dict[str, Any] = {"full": {"cron": "0 2 * * 0"}, "incremental": {"cron": "0 2 * * 1-6"}}


def made(errand: Errand) -> list[str]:
    return [obj["metadata"]["name"] for obj in errand.creates]


def removed(errand: Errand) -> list[str]:
    return [removal.name for removal in errand.removals]


def events(errand: Errand) -> list[str]:
    return [note.reason for note in errand.events]


def status(errand: Errand) -> dict[str, Any]:
    assert errand.status is not None
    return dict(errand.status)


def condition(errand: Errand, kind: str = "Ready") -> tuple[str, str] | None:
    found = {c["type"]: (c["status"], c["reason"]) for c in status(errand)["conditions"]}
    return found.get(kind)


def settled(world: ScheduleWorld) -> ScheduleWorld:
    """The World once everything was told: only then something is removed."""
    return looked(world, world.now)[0]


def looked(world: ScheduleWorld, moment: datetime) -> tuple[ScheduleWorld, Errand]:
    """The World after the look at it at that moment, and what that look did."""
    before = replace(world, now=moment)
    errand = plan_schedule(before)
    return carried_out(before, errand), errand


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


def operation(phase: str, backup: str = "f0", label: str = "nightly") -> Operation:
    return Operation.model_validate(
        {
            "metadata": {
                "name": "op",
                "namespace": "prod",
                "labels": {"coffer.dev/backup-schedule": label},
            },
            "spec": {"type": "VerifyBackup", "backupRef": {"name": backup}},
            "status": {"phase": phase},
        }
    )


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


# --- retention -----------------------------------------------------------------------------------
def many(count: int = 6) -> tuple[Any, ...]:
    return tuple(taken(f"f{n}", CREATED - timedelta(days=20 - n)) for n in range(count))


def test_a_few_go_at_a_time() -> None:
    world = schedule_world(schedule(retention={"count": 1}), backups=many())
    world, errand = looked(world, world.now)
    assert not removed(errand)  # it is told first
    assert errand.requeue_after_s == 1
    after, errand = looked(world, world.now)
    assert removed(errand) == ["f4", "f3", "f2"]
    assert [r.note.reason for r in errand.removals] == ["BackupRetired"] * 3
    assert errand.requeue_after_s == 60
    assert removed(plan_schedule(after)) == ["f1", "f0"]
    busy = replace(world, backups=(*(going(b) for b in many()[:3]), *many()[3:]))
    assert not removed(plan_schedule(settled(busy)))


def test_nothing_goes_while_an_increment_is_taken() -> None:
    growing = taken("by-hand", CREATED, "f0", phase="Running", label=None)
    world = schedule_world(schedule(retention={"count": 1}), backups=(*many(), growing))
    assert not removed(plan_schedule(settled(world)))


def test_nothing_goes_that_an_instance_is_made_of() -> None:
    copy = instance(restoreFrom={"backupRef": {"name": "f4"}})
    other = instance(
        restoreFrom={"location": {"storageRef": {"name": "minio"}, "path": "u/base/f3"}},
    )
    backups = tuple(
        b.model_copy(
            update={"status": b.status.model_copy(update={"path": f"u/base/{b.metadata.name}"})}
        )
        for b in many()
    )
    world = schedule_world(
        schedule(retention={"count": 1}),
        backups=backups,
        restoring=(copy, other),
        operations=(operation("Running", "f2"), operation("Completed", "f1")),
    )
    assert removed(plan_schedule(settled(world))) == ["f1", "f0"]


def test_without_rules_all_stays() -> None:
    for subject in (schedule(), schedule(retention={})):
        world = settled(schedule_world(subject, backups=many()))
        assert not removed(plan_schedule(world))


def test_a_schedule_under_deletion_does_nothing() -> None:
    obj = schedule_obj(retention={"count": 1})
    obj["metadata"]["deletionTimestamp"] = "2026-11-08T02:00:00Z"
    world = schedule_world(BackupSchedule.model_validate(obj), backups=many(), now=SUNDAY)
    assert plan_schedule(world) == Errand()


# --- whatever happens ----------------------------------------------------------------------------
@given(
    pauses=st.lists(st.integers(1, 60 * 60 * 60), min_size=1, max_size=25),
    queue=st.booleans(),
    zone=st.sampled_from(("UTC", "Europe/Berlin")),
)
def test_each_run_is_made_once_and_the_latest_always(
    pauses: list[int], queue: bool, zone: str
) -> None:
    policy = "Queue" if queue else "Forbid"
    world = schedule_world(schedule(**BOTH, timeZone=zone, concurrencyPolicy=policy))
    names: list[str] = []
    now = world.now
    for pause in pauses:
        now += timedelta(seconds=pause)
        world, errand = looked(world, now)
        names += made(errand)
        _, again = looked(world, now)
        assert not again.creates
        assert status(again) == status(errand)
        last = LastRun.model_validate(status(errand).get("lastFull", {"time": "", "phase": ""}))
        following = status(errand)["nextFull"]
        assert last.time < following
        assert at(following) > now
        assert at(following) - now <= timedelta(days=7, hours=1)
    assert len(set(names)) == len(names)
    if now - CREATED > timedelta(days=8):
        assert names
