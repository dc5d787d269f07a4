"""What a task is told, what it answers, and what is kept of it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coffer_common.wire import TaskRequest, TaskState, TaskStatus
from coffer_guest.engines.base import Site
from coffer_guest.task_child import site_message
from coffer_guest.tasks import AGENT_ENDED, Tasks
from guest_harness import until

pytestmark = pytest.mark.guest

SECRET = "hush-4711"
NAMES = (
    *("told", "user_error", "permanent", "transient", "input_output", "misunderstood"),
    *("careful", "chatty"),
)
KINDS = {name: f"guest_backup_kinds:{name}" for name in NAMES}


class Changes:
    """How often the tasks were another."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, _: object) -> None:
        self.count += 1


def make(folder: Path, changes: Changes) -> Tasks:
    site = Site(folder, folder, folder)
    return Tasks(folder / "tasks", changes, lambda: (KINDS, {"site": site_message(site)}))


@pytest.fixture
def changes() -> Changes:
    return Changes()


@pytest.fixture
async def tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: Changes
) -> AsyncIterator[Tasks]:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    made = make(tmp_path, changes)
    yield made
    await made.close()


async def ended(tasks: Tasks) -> TaskStatus:
    def found() -> TaskStatus | None:
        task = tasks.get("t")
        return task if task is not None and task.state is not TaskState.RUNNING else None

    return await asyncio.to_thread(until, "the task ends", found)


async def has_begun(tasks: Tasks) -> None:
    def begun() -> bool:
        task = tasks.get("t")
        return task is not None and task.bytes_done == 1

    await asyncio.to_thread(until, "the task begins", begun)


async def run(tasks: Tasks, kind: str) -> TaskStatus:
    await tasks.put("t", TaskRequest(kind=kind, payload={"secret": SECRET}))
    return await ended(tasks)


def kept_in(folder: Path) -> list[str]:
    return [path.read_text() for path in folder.rglob("*") if path.is_file()]


async def test_a_secret_is_told_and_kept_nowhere(
    tasks: Tasks, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    task = await run(tasks, "told")
    assert (task.state, task.message) == (TaskState.COMPLETED, "told")
    assert task.result == {"secret_length": len(SECRET), "leaked": []}
    texts = kept_in(tmp_path)
    assert texts
    out, err = capfd.readouterr()
    assert "for the log" in err
    for text in (*texts, out, err, repr(task), repr(TaskRequest(kind="x", payload={"s": SECRET}))):
        assert SECRET not in text


@pytest.mark.parametrize(
    ("kind", "reason", "permanent", "message"),
    [
        ("user_error", "KeyWrong", True, "it is another key"),
        ("permanent", "Permanent", True, "never"),
        ("transient", "Transient", False, "later"),
        ("input_output", "InputOutputError", False, "[Errno 28] No space left on device"),
    ],
)
async def test_a_failure_says_whether_to_try_again(
    tasks: Tasks, kind: str, reason: str, permanent: bool, message: str
) -> None:
    task = await run(tasks, kind)
    assert task.state is TaskState.FAILED
    assert (task.reason, task.permanent, task.message) == (reason, permanent, message)
    assert task.result is None


async def test_a_payload_that_is_not_understood_is_not_repeated(
    tasks: Tasks, capfd: pytest.CaptureFixture[str]
) -> None:
    task = await run(tasks, "misunderstood")
    assert (task.reason, task.permanent) == ("InvalidRequest", True)
    assert task.message.startswith("StorageAccess: strategy: missing")
    assert SECRET not in task.message + "".join(capfd.readouterr())


async def test_reports_are_few_and_the_last_is_among_them(tasks: Tasks, changes: Changes) -> None:
    task = await run(tasks, "chatty")
    assert (task.bytes_done, task.bytes_total) == (9_999, 10_000)
    assert changes.count < 100


@pytest.mark.parametrize("how", ["cancel", "close"])
async def test_a_task_cleans_up_when_it_is_to_end(tasks: Tasks, tmp_path: Path, how: str) -> None:
    file = tmp_path / "file"
    await tasks.put("t", TaskRequest(kind="careful", arguments={"file": str(file)}))
    await has_begun(tasks)
    await (tasks.cancel("t") if how == "cancel" else tasks.close())
    assert file.read_text() == "cleaned up"
    task = tasks.get("t")
    assert task is not None
    wanted = TaskState.CANCELLED if how == "cancel" else TaskState.RUNNING
    assert task.state is wanted


async def test_what_the_agents_end_broke_off_begins_anew(
    tasks: Tasks, tmp_path: Path, changes: Changes
) -> None:
    file = tmp_path / "file"
    request = TaskRequest(kind="careful", arguments={"file": str(file)})
    await tasks.put("t", request)
    await has_begun(tasks)
    await tasks.close()
    later = make(tmp_path, changes)
    await later.recover()
    found = later.get("t")
    assert found is not None
    assert (found.state, found.reason, found.permanent) == (TaskState.FAILED, AGENT_ENDED, False)
    again = await later.put("t", request)
    assert (again.state, again.reason, again.bytes_done) == (TaskState.RUNNING, "", 0)
    await has_begun(later)
    await later.cancel("t")
    cancelled = later.get("t")
    assert await later.put("t", request) == cancelled, "only the agent's end is made good"
    await later.close()
