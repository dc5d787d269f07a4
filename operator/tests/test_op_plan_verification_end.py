"""How verifications end, and what they leave."""

from dataclasses import replace
from datetime import timedelta

import pytest

from coffer_common.resources.backup import Backup
from coffer_common.resources.operation import Operation
from coffer_operator.plan.errand import Errand
from coffer_operator.plan.verification import REMOVE_S, plan_verification
from op_verification import (
    DAMAGED,
    Field,
    always,
    gone_right,
    verification,
)


# --- the end -------------------------------------------------------------------------------------
def test_nothing_is_done_for_one_that_is_deleted() -> None:
    content = verification().model_dump(mode="json", by_alias=True)
    content["metadata"]["deletionTimestamp"] = "2026-11-22T12:00:00Z"
    run = Field(operation=Operation.model_validate(content))
    assert plan_verification(run.world()) == Errand()
    world = replace(Field().world(), namespace_terminating=True)
    assert plan_verification(world) == Errand()


def test_its_time_to_live() -> None:
    run = Field(operation=verification(ttlSecondsAfterFinished=100)).run()
    assert run.look().requeue_after_s == pytest.approx(95, abs=6)
    run.pass_time(100)
    run.look()
    assert run.expired
    assert plan_verification(Field().run().world()) == Errand(), "without one it stays"


def test_an_instance_that_does_not_go_holds_back_nobody() -> None:
    run = Field()
    while run.operation.status.outcome is None:
        run.look()
        run.pass_time()
    run.look()
    assert run.scratch is not None
    run.now += timedelta(seconds=REMOVE_S)
    run.look()
    status = run.operation.status
    assert status.phase == "Completed"
    assert "is still there" in (status.message or "")


def test_an_instance_that_a_late_operator_made_goes_too() -> None:
    run = Field().run()
    run.scratch = {**run.made[0], "metadata": run.made[0]["metadata"] | {"uid": "uid-late"}}
    run.look()
    assert "deletionTimestamp" in run.scratch["metadata"]
    run.pass_time()
    assert run.world().scratch is None
    assert run.look() == Errand()


def test_a_second_verification_replaces_the_verdict_of_the_first() -> None:
    first = Field(answer=always(DAMAGED)).run()
    assert first.backup is not None
    later = first.now + timedelta(seconds=60)
    second = Field(operation=verification("again"), backup=first.backup, now=later).run()
    gone_right(second)
    assert isinstance(second.backup, Backup)
    assert second.backup.status.verified is not None
    assert second.backup.status.verified.operation == "again"
