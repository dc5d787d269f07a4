"""A dump is proved by loading it into a scratch instance that was made empty."""

from typing import Any

import pytest

from coffer_common.wire import EngineState, EngineStatus, TaskState
from coffer_operator.plan.scratch import scratch_instance
from op_backup_worlds import backup
from op_verification import (
    DAMAGED,
    DONE,
    Answer,
    Answers,
    Field,
    always,
    gone_right,
)

DUMP = DONE | {"strategy": "MySQLDump", "manifestDigest": "d"}
AWAY: Answer = (TaskState.FAILED, "the server does not answer", "EngineUnavailable", False)
BROKEN: Answer = (TaskState.FAILED, "part 1 of 1 is not what was written", "BackupDamaged", True)
REFUSED: Answer = (TaskState.FAILED, "mariadb exited 1: ERROR 1064 (42000)", "ToolFailed", False)
FULL: Answer = (TaskState.FAILED, "mariadb exited 1: ERROR 1114 (HY000)", "ToolFailed", False)


def dump(**changes: Any) -> Field:
    return Field(backup=backup("monday", DUMP), **changes)


def test_statements_need_more_room_than_they_take() -> None:
    run = Field(source=None, backup=backup("monday", DUMP | {"rawBytes": 1024**3}))
    assert run.backup is not None
    spec = scratch_instance(run.world(), run.backup)["spec"]
    assert spec["volume"]["size"] == "3Gi"


def after(number: int, first: Answer, then: Answers) -> Answers:
    """The answer of so many attempts, and then another's."""
    seen = 0

    def answer(run: Field, index: int) -> Answer:
        nonlocal seen
        seen += 1
        return first if seen <= number else then(run, index)

    return answer


def test_a_dump_is_loaded_checked_and_nothing_is_left() -> None:
    run = dump().run()
    gone_right(run)
    assert [call.kind for call in run.calls] == ["restoreDump", "verify", "noteVerified"]
    assert run.calls[0].payload == {"path": "u-1/base/b-1", "digest": "d", "whole": True}
    (made,) = run.made
    assert not {"restoreFrom", "databases", "users"} & made["spec"].keys()
    (verdict,) = run.verdicts
    assert verdict["durationSeconds"] > 0
    assert verdict["recoverySeconds"] >= 0


@pytest.mark.parametrize("loads", [None, always(BROKEN)])
def test_killed_anywhere_it_goes_on(loads: Answers | None) -> None:
    def fresh() -> Field:
        return dump() if loads is None else dump(loads=loads)

    plain = fresh().run()
    for number in range(plain.actions):
        run = fresh()
        run.dies_at = number
        run.run()
        assert run.operation.status.phase == plain.operation.status.phase, number
        assert run.scratch is None, number
        assert [v["result"] for v in run.verdicts] == [v["result"] for v in plain.verdicts], number


@pytest.mark.parametrize(
    ("loads", "result"),
    [
        (always(BROKEN), "Failed"),
        (always(REFUSED), "Failed"),
        (always(FULL), None),  # the volume's fault: nothing is known of the dump
        (always(AWAY), None),
    ],
)
def test_only_what_the_dump_is_to_blame_for_is_its_failure(
    loads: Answers, result: str | None
) -> None:
    run = dump(loads=loads).run(looks=400)
    assert run.operation.status.phase == "Failed"
    assert [verdict["result"] for verdict in run.verdicts] == ([result] if result else [])
    assert run.scratch is None


def test_what_failed_for_a_while_is_tried_again() -> None:
    run = dump(loads=after(1, AWAY, always((TaskState.COMPLETED, "loaded", "", False)))).run(400)
    gone_right(run)
    assert [call.kind for call in run.calls].count("restoreDump") == 2


def test_tables_that_are_damaged_after_the_load_are_told() -> None:
    run = dump(answer=always(DAMAGED)).run()
    assert [verdict["result"] for verdict in run.verdicts] == ["Failed"]


def test_an_engine_that_dies_of_the_dump() -> None:
    loop = ("False", "EngineCrashLoop", "the engine dies again and again")
    dead = EngineStatus(state=EngineState.CRASH_LOOP, restarts=9, last_exit="signal 11")
    run = dump()
    while not run.calls:
        run.look()
        run.pass_time()
    run.tasks = {
        name: task.model_copy(
            update={"state": TaskState.FAILED, "message": "gone", "reason": "AgentEnded"}
        )
        for name, task in run.tasks.items()
    }
    run.engine, run.ready = dead, loop
    run.run()
    assert [verdict["result"] for verdict in run.verdicts] == ["Failed"]
    assert "dies again" in run.verdicts[0]["message"]


def test_an_instance_that_was_made_anew_is_loaded_anew() -> None:
    """Its step was Checking: an empty engine is sound, and proves nothing."""
    run = dump()
    while run.operation.status.step != "Checking":
        run.look()
        run.pass_time()
    run.scratch, run.tasks = None, {}
    run.run()
    gone_right(run)
    assert [call.kind for call in run.calls].count("restoreDump") == 2


def test_volumes_swapped_under_the_instance_prove_nothing() -> None:
    run = dump()
    while run.operation.status.step != "Checking":
        run.look()
        run.pass_time()
    run.tasks = {}  # of another volume: nothing was ever loaded there
    run.run()
    gone_right(run)
    assert [call.kind for call in run.calls].count("restoreDump") == 2
