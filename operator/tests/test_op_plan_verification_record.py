"""The verdict of a verification is kept beside the backup, and stands where that fails."""

from dataclasses import replace

import pytest

from coffer_common.proof import NoteTask
from coffer_common.wire import TaskState
from coffer_operator.plan.verification_record import RECORD_S, Recording, record
from coffer_operator.plan.world import ActFailure
from op_backup_worlds import backup
from op_verification import DAMAGED, DONE, Answer, Field, always, gone_right

READ_ONLY: Answer = (TaskState.FAILED, "no right to write", "StorageAccessDenied", True)
AWAY: Answer = (TaskState.FAILED, "503", "Transient", False)
ACCESS = {"strategy": "s3", "settings": {}, "current_key": "k1", "keys": {}}


def notes(run: Field) -> list[NoteTask]:
    found = [call for call in run.calls if call.kind == "noteVerified"]
    assert all(call.storage is not None for call in found)
    return [NoteTask.model_validate({**call.payload, "storage": ACCESS}) for call in found]


@pytest.mark.parametrize("passed", [True, False])
def test_what_was_found_out_is_kept_without_words(*, passed: bool) -> None:
    done = backup("monday", DONE | {"manifestDigest": "cd"})
    run = Field(backup=done) if passed else Field(backup=done, answer=always(DAMAGED))
    run.run()
    (verdict,) = run.verdicts
    (note,) = notes(run)
    assert (note.path, note.digest) == (DONE["path"], "cd")
    assert note.proof.result == verdict["result"] == ("Passed" if passed else "Failed")
    assert note.proof.time == verdict["time"]
    assert note.proof.duration_s == verdict["durationSeconds"]
    assert note.proof.engine_version == verdict["engineVersion"] == "10.11.6"
    assert "tables" not in note.model_dump_json()
    if passed:
        assert note.proof.recovery_s is not None
        assert 0 < note.proof.recovery_s <= (note.proof.duration_s or 0)


@pytest.mark.parametrize(
    ("answer", "asked", "words"), [(READ_ONLY, 1, "no right to write"), (AWAY, 3, "503")]
)
def test_a_bucket_that_takes_nothing_changes_no_verdict(
    answer: Answer, asked: int, words: str
) -> None:
    run = Field(notes=always(answer)).run()
    gone_right(run)
    assert len(notes(run)) == asked
    told = run.operation.status.message or ""
    assert "2 tables" in told
    assert f"could not be kept beside the backup: {answer[2]}: {words}" in told
    assert run.events[-1].message == told


def test_one_that_succeeds_later_is_kept() -> None:
    def second(_: Field, __: int) -> Answer:
        tries = [task for task in run.tasks.values() if task.kind == "noteVerified"]
        return (TaskState.COMPLETED, "kept", "", False) if len(tries) > 1 else AWAY

    run = Field(notes=second)
    gone_right(run.run())
    assert len({call.id for call in run.calls if call.kind == "noteVerified"}) == 2
    assert "could not" not in (run.operation.status.message or "")


def recording() -> Field:
    """It has a verdict, which is not kept yet."""
    run = Field()
    while run.operation.status.step != "Recording":
        run.look()
        run.pass_time()
    return run


def test_an_agent_that_does_not_answer_is_waited_for_and_given_up() -> None:
    run = recording()
    run.reachable = False
    assert isinstance(record(run.world()), Recording)
    run.run(looks=int(RECORD_S / 5) + 20)
    gone_right(run)
    assert "given up after 300 s" in (run.operation.status.message or "")


def test_what_it_needs_may_be_gone() -> None:
    world = recording().world()
    assert record(replace(world, scratch=None)) == "the scratch instance is gone"
    assert record(replace(world, storage=None)) == "there is no BackupStorage minio"
    failure = ActFailure("task noteVerified", "SecretMissing", "no Secret", True, world.now)
    assert record(replace(world, failure=failure)) == "no Secret"
    passing = replace(failure, permanent=False)
    assert isinstance(record(replace(world, failure=passing)), Recording)


def test_nothing_is_kept_where_it_cannot_be_told() -> None:
    ended: Answer = (TaskState.FAILED, "the agent ended", "AgentEnded", False)
    run = Field(answer=always(ended)).run(looks=200)
    assert run.operation.status.phase == "Failed"
    assert (notes(run), run.verdicts) == ([], [])


def test_killed_anywhere_it_is_kept_once_or_twice_alike() -> None:
    plain = Field().run()
    for number in range(plain.actions):
        run = Field(dies_at=number).run()
        gone_right(run)
        assert len({call.id for call in run.calls if call.kind == "noteVerified"}) == 1, number
        assert len({note.model_dump_json() for note in notes(run)}) == 1, number
