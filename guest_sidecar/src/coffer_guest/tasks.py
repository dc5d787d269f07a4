"""Long work, each piece in a child process of the agent.

Owns the tasks' records on the volume and the one child that may run. A child's memory goes when
it ends, and its crash is not the agent's. The record is on the volume before the child starts, so
an agent that comes back knows what was running when it ended, and says that it failed. Such a task
begins anew, from zero, when the same id is put again: its payload is kept nowhere.
"""

import asyncio
import contextlib
import datetime
import json
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import ValidationError

from coffer_common.errors import Transient, UserError
from coffer_common.wire import TaskRequest, TaskState, TaskStatus
from coffer_guest.files import write_durably

_log = logging.getLogger(__name__)

_ID: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_KEPT: Final = 10  # finished tasks
_CANCEL_S: Final = 10.0  # from SIGTERM to SIGKILL
_LINE_LIMIT_BYTES: Final = 1 << 16

#: Reason of a task that failed because the agent ended.
AGENT_ENDED: Final = "AgentEnded"
#: What any agent can do, as names of tasks to module:function.
ALWAYS: Final = {"noteVerified": "coffer_guest.strategies.backup.note:note_verified"}
#: And with any engine; see Engine.tasks.
WITH_ENGINE: Final = {
    "backup": "coffer_guest.strategies.backup.take:backup",
    "restoreDump": "coffer_guest.strategies.backup.load:restore_dump",
}
#: And where the volume is to be laid out from a backup.
WITH_EMPTY_VOLUME: Final = {"restore": "coffer_guest.strategies.backup.restore:restore"}


_REPORTED: Final = ("bytes_done", "bytes_total", "message", "reason", "permanent", "result")


class _Ending(NamedTuple):
    """How a task ended."""

    state: TaskState
    message: str
    reason: str = ""
    permanent: bool = False


class TaskConflict(Transient):
    """Another task runs, or the id is taken by another kind of task."""


class Tasks:
    """The tasks of one agent; `changed` is called with all of them when one is another."""

    def __init__(
        self,
        folder: Path,
        changed: Callable[[tuple[TaskStatus, ...]], None],
        site: Callable[[], tuple[Mapping[str, str], Mapping[str, object]]],
    ) -> None:
        """`site` gives the engine's task kinds (name to module:function) and the child's input.

        It raises EngineUnavailable while there is no engine.
        """
        self._folder = folder
        self._changed = changed
        self._site = site
        self._tasks: dict[str, TaskStatus] = {}
        self._child: asyncio.subprocess.Process | None = None
        self._runner: asyncio.Task[None] | None = None
        self._cancelled: set[str] = set()
        self._closing = False

    async def recover(self) -> None:
        """Read the records; what ran when the last agent ended has failed."""
        for task in await asyncio.to_thread(self._read_records):
            if task.id not in self._tasks:
                self._tasks[task.id] = task
                if task.state is TaskState.RUNNING:
                    text = "the agent ended while it ran"
                    await self._finish(task.id, _Ending(TaskState.FAILED, text, AGENT_ENDED))
        self._publish()

    def _read_records(self) -> list[TaskStatus]:
        found = []
        for path in self._folder.glob("*.json"):
            try:
                found.append(TaskStatus.model_validate_json(path.read_bytes()))
            except (OSError, ValidationError) as error:
                _log.warning("task record %s: %s", path.name, error)
        return found

    def get(self, task_id: str) -> TaskStatus | None:
        return self._tasks.get(task_id)

    async def put(self, task_id: str, request: TaskRequest) -> TaskStatus:
        """Start the task; the same id again is the same task, also when it has ended.

        But one that failed because the agent ended begins anew.
        Raises UserError, TaskConflict, EngineUnavailable.
        """
        if _ID.fullmatch(task_id) is None:
            raise UserError("InvalidRequest", f"{task_id!r} is no id of a task")
        known = self._tasks.get(task_id)
        if known is not None:
            if known.kind != request.kind:
                raise TaskConflict(f"task {task_id} is a {known.kind}")
            if known.reason != AGENT_ENDED:
                return known
        kinds, site = self._site()
        if request.kind not in kinds:
            raise UserError(
                "InvalidTask",
                f"no task is named {request.kind!r}; there are: {', '.join(sorted(kinds)) or '-'}",
            )
        if any(task.state is TaskState.RUNNING for task in self._tasks.values()):
            raise TaskConflict("another task is running", retry_after_s=5.0)
        task = TaskStatus(id=task_id, kind=request.kind, state=TaskState.RUNNING, started_at=_now())
        self._tasks[task_id] = task  # before the first await: two requests are one task
        try:
            await self._record(task)
        except OSError as error:
            del self._tasks[task_id]
            raise Transient(f"the task cannot be recorded: {error}") from error
        message = {
            "agent": os.getpid(),
            "run": kinds[request.kind],
            "arguments": request.arguments,
            "payload": request.payload,
            **site,
        }
        self._runner = asyncio.create_task(self._run(task, message))
        self._publish()
        return task

    async def cancel(self, task_id: str) -> None:
        """End the task if it runs; returns when it has ended."""
        task = self._tasks.get(task_id)
        if task is None or task.state is not TaskState.RUNNING or self._runner is None:
            return
        self._cancelled.add(task_id)
        if self._child is not None:
            self._signal(signal.SIGTERM)
        done, _ = await asyncio.wait([self._runner], timeout=_CANCEL_S)
        if not done:
            self._signal(signal.SIGKILL)
            await asyncio.wait([self._runner])

    async def close(self) -> None:
        """The agent ends: so does the child, which may clean up before.

        The record stays as running, and is found so, unless the task was complete.
        """
        self._closing = True
        if self._runner is None or self._runner.done():
            return
        self._signal(signal.SIGTERM)
        await asyncio.wait([self._runner], timeout=_CANCEL_S)
        self._runner.cancel()
        await asyncio.wait([self._runner])

    # --- the child ------------------------------------------------------------------------------
    async def _run(self, task: TaskStatus, message: Mapping[str, object]) -> None:
        try:
            ending = await self._attend(task, message)
        except OSError as error:
            ending = _Ending(TaskState.FAILED, f"the task could not be started: {error}")
        finally:
            if self._child is not None:
                self._signal(signal.SIGKILL)  # also what it may have left
                await self._child.wait()
                self._child = None
        if ending.state is not TaskState.COMPLETED:
            if task.id in self._cancelled:
                ending = _Ending(TaskState.CANCELLED, "cancelled by request")
            elif self._closing:
                return
        self._cancelled.discard(task.id)
        await self._finish(task.id, ending)

    async def _attend(self, task: TaskStatus, message: Mapping[str, object]) -> _Ending:
        self._child = child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "coffer_guest.task_child",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_LIMIT_BYTES,
            start_new_session=True,
        )
        if task.id in self._cancelled or self._closing:
            return _Ending(TaskState.CANCELLED, "")
        assert child.stdin is not None and child.stdout is not None  # noqa: S101, PT018 - PIPE
        with contextlib.suppress(ConnectionError):
            child.stdin.write(json.dumps(message).encode() + b"\n")
            await child.stdin.drain()
        failure: TaskStatus | None = None
        while line := await child.stdout.readline():
            failure = self._take(task.id, line) or failure
        code = await child.wait()
        if code == 0:
            return _Ending(TaskState.COMPLETED, self._tasks[task.id].message)
        if code == 1 and failure is not None:
            known = self._tasks[task.id]
            return _Ending(TaskState.FAILED, known.message, known.reason, known.permanent)
        ending = f"signal {-code}" if code < 0 else f"exit {code}"
        return _Ending(TaskState.FAILED, f"the task ended with {ending}", "TaskDied")

    def _take(self, task_id: str, line: bytes) -> TaskStatus | None:
        """Take over one line of the child; the task where it says that it failed."""
        try:
            report = json.loads(line)
            change = {key: report[key] for key in _REPORTED if key in report}
            task = TaskStatus.model_validate(self._tasks[task_id].model_dump() | change)
        except (ValueError, TypeError, KeyError) as error:
            _log.warning("task %s: a report that cannot be read: %s", task_id, type(error).__name__)
            return None
        self._tasks[task_id] = task
        self._publish()
        return task if task.reason else None

    def _signal(self, number: signal.Signals) -> None:
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, number)

    # --- records --------------------------------------------------------------------------------
    async def _finish(self, task_id: str, ending: _Ending) -> None:
        change = {**ending._asdict(), "finished_at": _now()}
        task = self._tasks[task_id].model_copy(update=change)
        try:
            # before anybody sees it: a later agent must not call failed what was complete
            await self._record(task)
        except OSError as error:
            # the next agent will find it as running, and call it failed: true enough
            _log.warning("the end of task %s cannot be recorded: %s", task_id, error)
        self._tasks[task_id] = task
        with contextlib.suppress(OSError):
            await asyncio.to_thread(self._forget_oldest)
        self._publish()

    async def _record(self, task: TaskStatus) -> None:
        await asyncio.to_thread(self._folder.mkdir, mode=0o750, parents=True, exist_ok=True)
        text = task.model_dump_json().encode()
        await asyncio.to_thread(write_durably, self._path(task.id), text)

    def _forget_oldest(self) -> None:
        ended = [task for task in self._tasks.values() if task.state is not TaskState.RUNNING]
        for task in sorted(ended, key=lambda task: task.finished_at or "")[:-_KEPT]:
            self._path(task.id).unlink(missing_ok=True)
            del self._tasks[task.id]

    def _path(self, task_id: str) -> Path:
        return self._folder / f"{task_id}.json"

    def _publish(self) -> None:
        self._changed(tuple(sorted(self._tasks.values(), key=lambda task: task.started_at)))


def _now() -> str:
    return (
        datetime.datetime.now(datetime.UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )
