"""Tasks as child processes: ends of every kind, and what a later agent finds."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coffer_common.errors import UserError
from coffer_common.wire import TaskRequest, TaskState, TaskStatus
from coffer_guest import tasks as tasks_module
from coffer_guest.engines.base import Site
from coffer_guest.task_child import site_message
from coffer_guest.tasks import TaskConflict, Tasks
from guest_harness import until

pytestmark = pytest.mark.guest

NAMES = ("quick", "failing", "crashing", "endless", "stubborn")
KINDS = {name: f"guest_task_kinds:{name}" for name in NAMES}


def make(folder: Path) -> Tasks:
    site = Site(folder, folder, folder)
    return Tasks(folder / "tasks", lambda _: None, lambda: (KINDS, {"site": site_message(site)}))


@pytest.fixture
async def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Tasks]:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    made = make(tmp_path)
    yield made
    await made.close()


async def ended(tasks: Tasks, task_id: str) -> TaskStatus:
    def found() -> TaskStatus | None:
        task = tasks.get(task_id)
        return task if task is not None and task.state is not TaskState.RUNNING else None

    return await asyncio.to_thread(until, "the task ends", found)


async def has_begun(tasks: Tasks) -> None:
    """The endless task has reported."""

    def begun() -> bool:
        task = tasks.get("t")
        return task is not None and task.bytes_done == 1

    await asyncio.to_thread(until, "the task begins", begun)


def request(kind: str, **arguments: str) -> TaskRequest:
    return TaskRequest(kind=kind, arguments=arguments)


async def test_a_task_runs_once_per_id(tasks: Tasks, tmp_path: Path) -> None:
    first = await tasks.put("t", request("quick", what="this"))
    assert first.state is TaskState.RUNNING
    done = await ended(tasks, "t")
    assert done.state is TaskState.COMPLETED
    assert done.message == f"did this at nice {os.nice(0) + 10}"
    assert (done.bytes_done, done.bytes_total) == (2, 2)
    assert await tasks.put("t", request("quick", what="that")) == done
    with pytest.raises(TaskConflict):
        await tasks.put("t", request("failing"))
    later = make(tmp_path)
    await later.recover()
    assert later.get("t") == done


@pytest.mark.parametrize(
    ("kind", "message"),
    [("failing", "it cannot be done"), ("crashing", "the task ended with signal 11")],
)
async def test_a_task_that_fails_says_why(tasks: Tasks, kind: str, message: str) -> None:
    await tasks.put("t", request(kind))
    done = await ended(tasks, "t")
    assert (done.state, done.message) == (TaskState.FAILED, message)


@pytest.mark.parametrize("kind", ["endless", "stubborn"])
async def test_a_task_is_cancelled(
    tasks: Tasks, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks_module, "_CANCEL_S", 0.2)
    pid_file = tmp_path / "pid"
    await tasks.put("t", request(kind, pid_file=str(pid_file)))
    await has_begun(tasks)
    with pytest.raises(TaskConflict):
        await tasks.put("second", request("quick", what="x"))
    await tasks.cancel("t")
    done = tasks.get("t")
    assert done is not None
    assert done.state is TaskState.CANCELLED
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)
    await tasks.cancel("t")
    await tasks.cancel("never-heard-of")


async def test_what_ran_when_the_agent_ended_has_failed(tasks: Tasks, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    await tasks.put("t", request("endless", pid_file=str(pid_file)))
    await has_begun(tasks)
    await tasks.close()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)
    later = make(tmp_path)
    await later.recover()
    found = later.get("t")
    assert found is not None
    assert found.state is TaskState.FAILED
    assert found.finished_at is not None


async def test_bad_requests(tasks: Tasks) -> None:
    for task_id in ("", "../x", "A", "x" * 64, "a/b"):
        with pytest.raises(UserError):
            await tasks.put(task_id, request("quick"))
    with pytest.raises(UserError, match="quick"):
        await tasks.put("t", request("nonsense"))


async def test_only_the_latest_records_are_kept(tasks: Tasks, tmp_path: Path) -> None:
    folder = tmp_path / "tasks"
    folder.mkdir()
    for number in range(30):
        record = TaskStatus(
            id=f"t{number}",
            kind="quick",
            state=TaskState.COMPLETED,
            started_at=f"2026-01-01T00:00:{number:02}Z",
            finished_at=f"2026-01-01T00:00:{number:02}Z",
        )
        (folder / f"t{number}.json").write_text(record.model_dump_json())
    (folder / "torn.json").write_text("{")
    await tasks.recover()
    await tasks.put("newest", request("failing"))
    await ended(tasks, "newest")
    await asyncio.to_thread(
        until, "the oldest go", lambda: len(list(folder.glob("t[0-9]*.json"))) == 9
    )
    assert tasks.get("newest") is not None
    assert tasks.get("t29") is not None
    assert tasks.get("t0") is None
