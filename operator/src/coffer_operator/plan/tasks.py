"""A task of an agent that is tried again: the words of its latest attempt, and what follows.

Pure. The attempt's number is part of the task's id, so that each is a task of its own and none is
asked for twice. What ended with the agent may succeed later; what says that it would fail alike is
not tried again.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from coffer_common.resources.backup import BackupProgress
from coffer_common.wire import TaskState, TaskStatus
from coffer_operator.plan import reasons
from coffer_operator.plan.clock import after, from_text, to_text
from coffer_operator.plan.wording import one_line

ATTEMPTS: Final = 3
NO_PROGRESS_S: Final = 900.0
PROGRESS_EVERY_S: Final = 2.0
STILL_S: Final = 20.0  # without a byte: to be told, since a storage that hangs says nothing itself
_FIRST_RETRY_S: Final = 30.0
_MAX_MESSAGE: Final = 2048


@dataclass(frozen=True)
class Failed:
    """Why an attempt, or all of it, failed."""

    reason: str
    message: str
    permanent: bool


def find(tasks: Iterable[TaskStatus], task_id: str) -> TaskStatus | None:
    """The task of this id, as the agent reports it."""
    return next((task for task in tasks if task.id == task_id), None)


def another_runs(tasks: Iterable[TaskStatus], task_id: str) -> TaskStatus | None:
    """A task that keeps the agent from beginning this one."""
    return next((t for t in tasks if t.id != task_id and t.state is TaskState.RUNNING), None)


def failure_of(task: TaskStatus) -> Failed:
    """Of a task that has failed or was cancelled."""
    if task.state is TaskState.CANCELLED:
        return Failed(reasons.CANCELLED, "it was cancelled at the agent", permanent=False)
    text = one_line(task.message)[:_MAX_MESSAGE] or "the agent gave no reason"
    return Failed(task.reason or "TaskFailed", text, task.permanent)


def may_try_again(failed: Failed, attempt: int) -> bool:
    """After the attempt of this number (from 1 on)."""
    return not failed.permanent and attempt < ATTEMPTS


def retry_at(attempt: int, now: datetime) -> datetime:
    """When the next attempt begins."""
    return after(now, _FIRST_RETRY_S * 4 ** (attempt - 1))


def begun(now: datetime) -> BackupProgress:
    """The progress of an attempt that begins."""
    return BackupProgress(updated_at=to_text(now))


def progress_of(
    task: TaskStatus, former: BackupProgress | None, now: datetime
) -> tuple[BackupProgress, float | None]:
    """The progress to tell, and in how many seconds more is to be told; None: all is told.

    It is told every other second at most: each time is a write.
    """
    since = from_text(former.updated_at) if former is not None else None
    if former is None or since is None:
        return _progress(task, None, now), None
    if (former.bytes_done, former.bytes_total) == (task.bytes_done, task.bytes_total):
        return former, None
    passed_s = (now - since).total_seconds()
    if 0 <= passed_s < PROGRESS_EVERY_S and former.bytes_done:
        return former, PROGRESS_EVERY_S - passed_s
    rate = None
    if passed_s > 0 and task.bytes_done > former.bytes_done:
        rate = int((task.bytes_done - former.bytes_done) / passed_s)
    return _progress(task, rate, now), None


def _progress(task: TaskStatus, rate: int | None, now: datetime) -> BackupProgress:
    percent = None
    if task.bytes_total:
        percent = min(99, task.bytes_done * 100 // task.bytes_total)
    return BackupProgress(
        bytes_done=task.bytes_done,
        bytes_total=task.bytes_total,
        percent=percent,
        bytes_per_second=rate,
        updated_at=to_text(now),
    )


def all_of(task: TaskStatus, now: datetime) -> BackupProgress:
    """The progress of an attempt that is complete."""
    return BackupProgress(
        bytes_done=task.bytes_done,
        bytes_total=task.bytes_total,
        percent=100,
        updated_at=to_text(now),
    )


def overdue_at(progress: BackupProgress | None, now: datetime) -> datetime:
    """When an attempt is given up unless it moves."""
    moved = from_text(progress.updated_at) if progress is not None else None
    return after(moved or now, NO_PROGRESS_S)


def standstill(progress: BackupProgress, now: datetime) -> tuple[str | None, float | None]:
    """What is to be told of an attempt that does not move, or in how many seconds to look again.

    It is no failure yet: an engine that makes restored files consistent moves none, either.
    """
    moved = from_text(progress.updated_at)
    if moved is None:
        return None, None
    passed_s = (now - moved).total_seconds()
    if passed_s < STILL_S:
        return None, STILL_S - passed_s
    return f"no byte has moved since {progress.updated_at}", None
