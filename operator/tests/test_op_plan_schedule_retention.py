"""What a schedule removes, and that nothing makes its plan raise."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from coffer_common.resources.schedule import BackupSchedule, LastRun
from coffer_operator.plan.errand import Errand
from coffer_operator.plan.schedule import plan_schedule
from coffer_operator.plan.schedule_world import ScheduleWorld
from op_schedule_worlds import (
    BOTH,
    CREATED,
    SUNDAY,
    at,
    going,
    instance,
    looked,
    made,
    operation,
    removed,
    schedule,
    schedule_obj,
    schedule_world,
    status,
    taken,
)


def settled(world: ScheduleWorld) -> ScheduleWorld:
    """The World once everything was told: only then something is removed."""
    return looked(world, world.now)[0]


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
