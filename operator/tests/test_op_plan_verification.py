"""plan_verification: a scratch instance that always goes, one verdict, and none without proof."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from coffer_common import naming
from coffer_common.wire import EngineState, EngineStatus, TaskState
from coffer_operator.plan.scratch import scratch_instance
from coffer_operator.plan.verification import DEADLINE_S, plan_verification
from coffer_operator.plan.world import ActFailure
from op_backup_worlds import backup
from op_plan_worlds import NOW, catalogue, datastore_version, instance_obj
from op_verification import (
    DAMAGED,
    DONE,
    NAME,
    Answer,
    Field,
    always,
    gone_right,
    source,
    verification,
)

AWAY: Answer = (TaskState.FAILED, "the server does not answer", "EngineUnavailable", False)
LOOP = ("False", "EngineCrashLoop", "the engine dies again and again")


# --- what it does --------------------------------------------------------------------------------
def test_a_backup_is_proved_and_nothing_is_left() -> None:
    run = Field().run()
    gone_right(run)
    (verdict,) = run.verdicts
    assert verdict["operation"] == "check"
    assert "2 tables" in verdict["message"]
    assert verdict["durationSeconds"] > 0
    assert [note.reason for note in run.events] == ["Running", "Completed"]
    assert run.backup is not None
    assert run.backup.status.raw_bytes == DONE["rawBytes"], "the rest of the status stays"


def test_the_steps_are_told() -> None:
    run, steps = Field(), []
    for _ in range(20):
        run.look()
        run.pass_time()
        if run.operation.status.step not in steps:
            steps.append(run.operation.status.step)
    assert steps == ["Restoring", "Checking", "Recording", "Removing"]


@pytest.mark.parametrize("answer", [("sound", None), ("damaged", always(DAMAGED))])
def test_killed_anywhere_it_goes_on(answer: tuple[str, Any]) -> None:
    def fresh() -> Field:
        return Field() if answer[1] is None else Field(answer=answer[1])

    plain = fresh().run()
    assert plain.actions > 8
    for number in range(plain.actions):
        run = fresh()
        run.dies_at = number
        run.run()
        assert run.operation.status.phase == plain.operation.status.phase, number
        assert run.scratch is None, number
        assert len(run.verdicts) == 1, number
        assert run.verdicts[0]["result"] == plain.verdicts[0]["result"], number
        assert len(run.made) <= 2, number


def test_a_verdict_that_was_written_stands_whatever_comes_after() -> None:
    run = Field()
    while not run.verdicts:
        before = replace(run)
        run.look()
        run.pass_time()
    # the operator died after the verdict, and its status was not written; then time ran out
    run.operation = before.operation
    run.now += timedelta(seconds=DEADLINE_S)
    run.run()
    gone_right(run)


def test_the_scratch_instance_is_as_its_source_is() -> None:
    scheduling = {"nodeSelector": {"disk": "ssd"}}
    run = Field(source=source(flavor="small", volume={"size": "3Gi", "storageClassName": "slow"}))
    run.source = source(
        flavor="small", volume={"size": "3Gi", "storageClassName": "slow"}, scheduling=scheduling
    )
    run.run()
    (made,) = run.made
    assert made["metadata"]["name"] == NAME
    assert made["metadata"]["labels"][naming.LABEL_SCRATCH] == "true"
    (owner,) = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("Operation", "uid-check", True)
    spec = made["spec"]
    assert spec["datastore"] == {"type": "mariadb", "version": "10.11"}
    assert spec["flavor"] == "small"
    assert spec["volume"] == {"size": "3Gi", "storageClassName": "slow"}
    assert spec["restoreFrom"] == {"backupRef": {"name": "monday"}}
    assert spec["deletionPolicy"] == "Delete"
    assert spec["scheduling"]["nodeSelector"] == {"disk": "ssd"}
    assert not {"users", "databases", "configurationRef"} & spec.keys()


@pytest.mark.parametrize(
    ("raw_mib", "flavor", "size"),
    [(10, "tiny", "1Gi"), (400, "small", "1Gi"), (10_000, "small", "15000Mi")],
)
def test_without_its_source_it_is_large_enough(raw_mib: int, flavor: str, size: str) -> None:
    done = DONE | {"rawBytes": raw_mib * 1024**2}
    run = Field(source=None, backup=backup("monday", done))
    assert run.backup is not None
    spec = scratch_instance(run.world(), run.backup)["spec"]
    assert (spec["flavor"], spec["volume"]["size"]) == (flavor, size)


def test_a_chain_needs_room_for_all_of_it() -> None:
    run = Field(source=None, backup=backup("monday", DONE | {"parent": "p", "rawBytes": 1024**3}))
    assert run.backup is not None
    full = backup("sunday", DONE | {"path": "p", "rawBytes": 4 * 1024**3})
    world = replace(run.world(), chain={"p": full})
    assert scratch_instance(world, run.backup)["spec"]["volume"]["size"] == "9Gi"


def test_without_its_source_the_nearest_version_that_is_not_older() -> None:
    run = Field(source=None)
    assert run.backup is not None
    versions = catalogue(
        datastore_version("mariadb-11.4"),
        datastore_version("mariadb-10.11", default=False),
        datastore_version("mariadb-10.6", default=False),
    )
    world = replace(run.world(), catalogue=versions)
    assert scratch_instance(world, run.backup)["spec"]["datastore"]["version"] == "10.11"
    old = replace(world, catalogue=catalogue(datastore_version("mariadb-10.6")))
    errand = plan_verification(old)
    assert errand.status is not None
    assert errand.status["phase"] == "Failed"
    assert "no active version" in errand.status["message"]


@pytest.mark.parametrize("name", ["x" * 200, "a.b.c", "ends-rw", "-x-", "ü"])
def test_any_name_of_a_backup_gives_one_of_an_instance(name: str) -> None:
    assert naming.is_instance_name(naming.scratch_instance(name))
    assert naming.scratch_instance(name) != naming.scratch_instance(name + "y")


# --- failed verifications ------------------------------------------------------------------------
def failed(run: Field) -> str:
    """The message of a backup that has failed its test."""
    run.run()
    assert (run.operation.status.phase, run.reason) == ("Failed", "VerificationFailed")
    assert run.scratch is None
    (verdict,) = run.verdicts
    assert verdict["result"] == "Failed"
    assert verdict["message"] == run.operation.status.message
    return str(verdict["message"])


def test_a_damaged_table() -> None:
    assert "`a`.`b`" in failed(Field(answer=always(DAMAGED)))


def test_a_restore_that_fails_for_good() -> None:
    ended = {"phase": "Failed", "message": "BackupDamaged: b1/data is truncated", "attempt": 1}
    assert "truncated" in failed(Field(restores=(ended,)))


def test_a_tool_that_cannot_prepare_the_data() -> None:
    told = "attempt 5 failed: ToolFailed: mariadb-backup ended with 1"
    tried = {"phase": "Running", "message": told, "attempt": 5, "retryAt": "2026-11-22T12:09:00Z"}
    assert "mariadb-backup ended" in failed(Field(restores=(tried,)))


def test_an_engine_that_cannot_start_with_the_data() -> None:
    loops = EngineStatus(state=EngineState.CRASH_LOOP, restarts=9, last_exit="signal 6")
    assert "dies again" in failed(Field(engine=loops, ready=LOOP))


def test_an_engine_that_dies_of_the_check() -> None:
    died = EngineStatus(state=EngineState.RUNNING, restarts=3, last_exit="signal 6")
    assert "signal 6" in failed(Field(engine=died, answer=always(AWAY)))


# --- what cannot be told -------------------------------------------------------------------------
def untold(run: Field, seconds: float = 5.0) -> tuple[str, str]:
    run.run(seconds=seconds)
    assert run.operation.status.phase == "Failed"
    assert run.verdicts == [], "the backup is not to blame"
    assert run.scratch is None
    return run.reason, run.operation.status.message or ""


@pytest.mark.parametrize("reason", ["VolumeTooSmall", "StorageAccessDenied", "NotPhysical"])
def test_surroundings_that_forbid_a_restore(reason: str) -> None:
    ended = {"phase": "Failed", "message": f"{reason}: as it is", "attempt": 1}
    assert untold(Field(restores=(ended,))) == (
        "RestoreFailed",
        f"it could not be restored: {reason}: as it is",
    )


def test_a_store_that_cannot_be_reached() -> None:
    told = "attempt 5 failed: StorageUnreachable: no route"
    tried = {"phase": "Running", "message": told, "attempt": 5, "retryAt": "2026-11-22T12:09:00Z"}
    assert untold(Field(restores=(tried,)))[0] == "RestoreFailed"


def test_a_check_that_fails_three_times() -> None:
    run = Field(answer=always(AWAY))
    reason, message = untold(run)
    assert reason == "CannotTell"
    assert "does not answer" in message


def test_a_check_is_tried_again() -> None:
    answers: list[Answer] = [AWAY, AWAY, (TaskState.COMPLETED, "2 tables are sound", "", False)]
    run = Field(answer=lambda _, number: answers[number])
    run.run()
    gone_right(run)


def test_an_engine_that_is_killed_for_want_of_memory() -> None:
    killed = EngineStatus(state=EngineState.CRASH_LOOP, restarts=9, last_exit="signal 9")
    reason, message = untold(Field(engine=killed, ready=LOOP), seconds=60.0)
    assert reason == "CannotTell"
    assert "EngineCrashLoop" in message


def test_an_instance_that_gets_no_further() -> None:
    nowhere = ("False", "Unschedulable", "0/3 nodes are available")
    run = Field(restores=({"phase": "Waiting"},), ready=nowhere)
    reason, message = untold(run, seconds=60.0)
    assert (reason, "0/3 nodes" in message) == ("CannotTell", True)


def test_a_restore_that_moves_has_time() -> None:
    progress = {"updatedAt": "2026-11-22T14:00:00Z", "percent": 47}
    run = Field(restores=({"phase": "Running", "progress": progress},))
    run.look()
    run.look()
    run.pass_time(7000)
    run.look()
    status = run.operation.status
    assert (status.phase, status.message) == ("Running", "the Backup is being restored: 40 %")


def test_an_agent_that_went_away() -> None:
    run = Field(ready=("Unknown", "AgentUnreachable", "no route to host"), reachable=False)
    assert "no route" in untold(run, seconds=60.0)[1]


def test_a_backup_that_is_deleted_meanwhile() -> None:
    run = Field()
    for _ in range(3):
        run.look()
        run.pass_time()
    run.backup = None
    assert untold(run)[0] == "BackupNotFound"


def test_a_deadline() -> None:
    running = {"phase": "Running", "progress": {"updatedAt": "2026-11-23T12:00:00Z"}}
    assert untold(Field(restores=(running,)), seconds=3600.0)[0] == "DeadlineExceeded"


def test_a_step_that_can_never_succeed() -> None:
    run = Field()
    run.look()
    why = "the webhook refuses"
    run.failure = ActFailure("create", "Invalid", why, permanent=True, since=NOW)
    assert untold(run) == ("Invalid", "create: the webhook refuses")


# --- what it waits for ---------------------------------------------------------------------------
def told(run: Field) -> tuple[str, str]:
    status: dict[str, Any] = dict(plan_verification(run.world()).status or {})
    return status["phase"], status["message"]


def with_backup(**status: Any) -> Field:
    return Field(backup=backup("monday", DONE | status))


@pytest.mark.parametrize(
    ("run", "phase", "words"),
    [
        (with_backup(phase="Running"), "New", "until the Backup monday is Completed"),
        (with_backup(phase="Failed"), "Failed", "the Backup monday has failed"),
        (Field(backup=None), "New", "there is no Backup monday"),
        (Field(backup=None, now=NOW + timedelta(seconds=61)), "Failed", "there is no Backup"),
        (
            Field(others=(verification("first", {"phase": "Running"}),)),
            "New",
            "waits for the Operation first",
        ),
        (Field(others=(verification("a"),)), "New", "waits for the Operation a"),
        (
            Field(operation=verification("zz", notAfter="2026-11-22T11:00:00Z")),
            "Expired",
            "not begun by",
        ),
        (Field(scratch=instance_obj(NAME)), "Failed", "is not this Operation's"),
    ],
)
def test_before_it_begins(run: Field, phase: str, words: str) -> None:
    found = told(run)
    assert found[0] == phase
    assert words in found[1]
    assert run.made == []


def test_one_of_two_goes_first() -> None:
    first, second = verification("a"), verification("b")
    assert told(Field(operation=first, others=(second,)))[0] == "Running"
    assert told(Field(operation=second, others=(first,)))[0] == "New"
    ended = verification("a", {"phase": "Failed"})
    assert told(Field(operation=second, others=(ended,)))[0] == "Running"


def test_the_instance_of_another_operation_goes_first() -> None:
    obj = instance_obj(NAME)
    obj["metadata"]["ownerReferences"] = [{"kind": "Operation", "uid": "another"}]
    phase, message = told(Field(scratch=obj))
    assert phase == "New"
    assert "is gone" in message


def test_the_late_instance_of_another_operation_is_no_failure() -> None:
    run = Field()
    run.look()
    assert run.made == []
    late = instance_obj(NAME)
    late["metadata"]["ownerReferences"] = [{"kind": "Operation", "uid": "another"}]
    run.scratch = late
    phase, message = told(run)
    assert (phase, "is gone" in message) == ("Running", True)
    run.scratch = None
    run.run()
    gone_right(run)


def test_a_scratch_instance_that_somebody_deleted_is_made_anew() -> None:
    run = Field()
    for _ in range(3):
        run.look()
        run.pass_time()
    assert run.scratch is not None
    run.scratch["metadata"]["deletionTimestamp"] = "2026-11-22T12:00:20Z"
    run.run()
    gone_right(run)
    assert len(run.made) == 2
