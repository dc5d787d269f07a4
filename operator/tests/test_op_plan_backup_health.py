"""BackupHealthy, status.lastBackup and the phase Backup: what is told of an instance's backups."""

from dataclasses import replace
from typing import Any

import pytest

from coffer_common.resources.backup import Backup
from coffer_common.resources.instance_status import InstanceStatus
from coffer_common.resources.schedule import BackupSchedule
from coffer_operator.plan.backup_health import BackedUp, judge_backups
from coffer_operator.plan.events import instance_events
from coffer_operator.plan.instance import plan_instance
from op_backup_worlds import backup
from op_plan_cluster import ready_world
from op_plan_told import conditions
from op_plan_worlds import UID, later, with_status, world

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S


def done(name: str, finished: str, **status: Any) -> Backup:
    """Times are of 22 November 2026; NOW is its noon."""
    plain = {"phase": "Completed", "finishedAt": f"2026-11-{finished}:00Z", "instanceUid": UID}
    return backup(name, plain | status)


def schedule(cron: str = "0 2 * * *", **spec: Any) -> BackupSchedule:
    plain = {"instanceRef": {"name": "shop"}, "storageRef": {"name": "s"}, "full": {"cron": cron}}
    metadata = {"name": "nightly", "creationTimestamp": "2026-11-20T00:00:00Z"}
    return BackupSchedule.model_validate({"metadata": metadata, "spec": plain | spec})


def judged(*backups: Backup, schedules: tuple[BackupSchedule, ...] = (), **facts: Any) -> BackedUp:
    return judge_backups(world(backups=backups, backup_schedules=schedules, **facts))


def health(found: BackedUp) -> tuple[str, str, str]:
    assert found.health is not None
    return found.health.truth, found.health.reason, found.health.message


def test_without_backups_and_schedules_nothing_is_said() -> None:
    assert judged() == BackedUp()
    former = done("of-a-former-one", "22T10:00", instanceUid="another")
    assert judged(former) == BackedUp()


def test_the_newest_backup_counts() -> None:
    found = judged(done("new", "22T10:00"), done("old", "21T10:00"))
    assert found.last is not None
    assert (found.last.name, found.last.time) == ("new", "2026-11-22T10:00:00Z")
    assert health(found) == (
        "True",
        "BackedUp",
        "the newest backup is new of 2026-11-22T10:00:00Z; none was proved by a test restore yet",
    )


def test_a_proof_is_told() -> None:
    verified = {"time": "2026-11-22T11:00:00Z", "result": "Passed"}
    found = judged(done("new", "22T10:00"), done("old", "21T10:00", verified=verified))
    assert health(found)[2].endswith("old was proved by a test restore at 2026-11-22T11:00:00Z")


def test_the_latest_test_restore_that_failed() -> None:
    good = {"time": "2026-11-21T11:00:00Z", "result": "Passed"}
    bad = {"time": "2026-11-22T11:00:00Z", "result": "Failed", "message": "a table is damaged"}
    older, newer = done("a", "21T10:00", verified=good), done("b", "22T10:00", verified=bad)
    truth, reason, message = health(judged(older, newer))
    assert (truth, reason) == ("False", "VerificationFailed")
    assert "a table is damaged" in message


def test_a_failure_counts_until_the_next_success() -> None:
    failed = done("bad", "22T10:00", phase="Failed", message="no room\nleft")
    truth, reason, message = health(judged(done("a", "22T09:00"), failed))
    assert (truth, reason) == ("False", "BackupFailed")
    assert message == "the Backup bad has failed: no room left"
    assert health(judged(failed, done("b", "22T11:00")))[0] == "True"
    assert health(judged(failed))[0] == "False"


@pytest.mark.parametrize(
    ("finished", "healthy"), [("22T02:05", True), ("20T12:01", True), ("20T11:59", False)]
)
def test_two_periods_make_it_too_old(finished: str, healthy: bool) -> None:
    truth, reason, _ = health(judged(done("a", finished), schedules=(schedule(),)))
    assert (truth == "True", reason) == (healthy, "BackedUp" if healthy else "BackupOverdue")


def test_the_shortest_period_counts() -> None:
    hourly = schedule("0 2 * * 0", incremental={"cron": "0 * * * *"})
    weekly = schedule("0 2 * * 0")
    assert health(judged(done("a", "22T09:00"), schedules=(weekly, hourly)))[0] == "False"
    assert health(judged(done("a", "22T10:30"), schedules=(weekly, hourly)))[0] == "True"


def test_it_is_looked_at_again_when_time_makes_it_old() -> None:
    before = world(backups=(done("a", "22T10:00"),), backup_schedules=(schedule(),))
    found = judge_backups(before).health
    assert found is not None and found.wake_at is not None  # noqa: PT018  # for mypy
    wait_s = (found.wake_at - before.now).total_seconds()
    assert wait_s == pytest.approx(2 * DAY_S - 2 * HOUR_S, abs=2)
    assert health(judge_backups(later(before, wait_s - 2)))[0] == "True"
    assert health(judge_backups(later(before, wait_s)))[0] == "False"


def test_a_new_schedule_has_time_for_its_first_backup() -> None:
    fresh = schedule()
    young = world(backup_schedules=(fresh,))
    assert health(judge_backups(young))[:2] == ("False", "BackupOverdue"), "it is older"
    metadata = {"name": "nightly", "creationTimestamp": "2026-11-22T11:00:00Z"}
    young = world(
        backup_schedules=(fresh.model_validate({**_content(fresh), "metadata": metadata}),)
    )
    assert health(judge_backups(young))[:2] == ("Unknown", "BackupPending")
    assert health(judge_backups(later(young, 2 * DAY_S)))[:2] == ("False", "BackupOverdue")


def _content(subject: BackupSchedule) -> dict[str, Any]:
    return dict(subject.model_dump(mode="json", by_alias=True))


@pytest.mark.parametrize(
    "silent",
    [
        schedule(suspend=True),
        schedule("nonsense"),
        schedule(timeZone="Mars/Base"),
        schedule("0 0 30 2 *"),
    ],
)
def test_a_schedule_that_takes_none_asks_for_none(silent: BackupSchedule) -> None:
    old = done("a", "01T02:00")
    assert health(judged(old, schedules=(silent,)))[0] == "True"


def test_the_phase_while_one_is_taken() -> None:
    running = backup("now", {"phase": "Running", "instanceUid": UID})
    assert judged(running).taking == "now"
    assert judged(running).health is None, "a first one that is being taken is no fault"


def test_a_change_for_the_worse_is_an_event_once() -> None:
    def status(truth: str, reason: str) -> InstanceStatus:
        condition = {"type": "BackupHealthy", "status": truth, "reason": reason, "message": "m"}
        return InstanceStatus.model_validate({"conditions": [condition]})

    good, bad = status("True", "BackedUp"), status("False", "BackupOverdue")
    (note,) = instance_events(good, bad)
    assert (note.reason, note.warning) == ("BackupOverdue", True)
    assert instance_events(bad, bad) == ()
    assert instance_events(bad, good) == ()


def test_what_the_instance_says_while_and_after() -> None:
    before = ready_world()
    uid = before.instance.metadata.uid
    running = backup("now", {"phase": "Running", "instanceUid": uid})
    during = plan_instance(replace(before, backups=(running,)))
    assert during.status is not None
    assert during.status["phase"] == "Backup"
    assert conditions(during)["Ready"][0] == "True"
    ended = replace(before, backups=(done("now", "22T10:00", instanceUid=uid),))
    after = plan_instance(ended)
    assert after.status is not None
    assert after.status["phase"] == "Active"
    assert after.status["lastBackup"] == {"name": "now", "time": "2026-11-22T10:00:00Z"}
    assert conditions(after)["BackupHealthy"] == ("True", "BackedUp")
    again = plan_instance(later(with_status(ended, after.status), HOUR_S))
    assert again.status == after.status, "an idle instance keeps its words"
