"""An agent's tasks in memory: backups, restores and checks, over a bucket that all of a run share.

As the real ones: one at a time, the record lies on the disk and says Failed where the agent ended
meanwhile, the same id is the same task. A backup writes its objects with its last step.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from coffer_common.proof import NoteTask, Proof
from coffer_common.wire import (
    BackupResult,
    BackupTask,
    OfferedStrategy,
    RestoreTask,
    TaskRequest,
    TaskState,
    TaskStatus,
)
from sim_disks import Disk
from sim_loop import stamp

KEPT: Final = 10
_STEPS: Final = 5
_BYTES: Final = 1_000_000
OFFERS: Final = {  # of each engine's image
    "mariadb": (
        OfferedStrategy(name="MariaBackup"),
        OfferedStrategy(name="MariaBackupIncremental", incremental=True),
        OfferedStrategy(name="MySQLDump", logical=True),
    ),
    "redis": (OfferedStrategy(name="RedisBackup"),),
}
_OLD_SHARE: Final = 0.2  # of the agents do not tell what they offer
DATABASES: Final = ("one", "two")  # of every dump


@dataclass(frozen=True)
class LoadFault:
    """Why a dump cannot be loaded; `guilty`: the dump is to blame."""

    reason: str
    message: str
    permanent: bool
    guilty: bool


@dataclass
class Bucket:
    """What is in the store: by path, the id of the data that the backup holds, and its proof.

    `checked`: what was on the volume that a task `verify` has found sound, by the task's id.
    """

    backups: dict[str, str] = field(default_factory=dict)
    proofs: dict[str, Proof] = field(default_factory=dict)
    restored: list[tuple[str, str]] = field(default_factory=list)  # path, data id
    faults: dict[str, LoadFault] = field(default_factory=dict)  # of dumps, by path
    checked: dict[str, frozenset[str]] = field(default_factory=dict)
    failing: float = 0.0  # share of requests that fail
    away: bool = False


class SimTasks:
    """The tasks of one pod's agent."""

    def __init__(
        self,
        bucket: Bucket,
        rng: random.Random,
        disk: Disk,
        manager: str,
        changed: Callable[[], None],
    ) -> None:
        self._bucket = bucket
        self._rng = rng
        self._disk = disk
        self._changed = changed
        self._offers = OFFERS[manager]
        self.offers = self._offers if rng.random() >= _OLD_SHARE else None  # as the status has it
        self._life = 0  # counts agents: timers of an older one are void
        self.up = False
        self.on_restored: Callable[[str, str], None] = lambda *_: None  # data id, path

    def start(self) -> None:
        """An agent starts, and finds the records."""
        self._life += 1
        self.up = True
        for task in list(self._disk.tasks.values()):
            if task.state is TaskState.RUNNING:
                self._end(task, TaskState.FAILED, "AgentEnded", "the agent ended while it ran")

    def stop(self) -> None:
        self._life += 1
        self.up = False

    def statuses(self) -> tuple[TaskStatus, ...]:
        return tuple(sorted(self._disk.tasks.values(), key=lambda task: task.started_at))

    def put(self, task_id: str, request: TaskRequest) -> bool:
        """Whether it is, or was, taken; False: another one runs."""
        if task_id in self._disk.tasks:
            return True
        if any(task.state is TaskState.RUNNING for task in self._disk.tasks.values()):
            return False
        task = TaskStatus(
            id=task_id, kind=request.kind, state=TaskState.RUNNING, started_at=stamp()
        )
        self._disk.tasks[task_id] = task
        self._later(task_id, request, 1)
        self._changed()
        return True

    def cancel(self, task_id: str) -> None:
        task = self._disk.tasks.get(task_id)
        if task is not None and task.state is TaskState.RUNNING:
            self._end(task, TaskState.CANCELLED, "", "cancelled by request")

    def _later(self, task_id: str, request: TaskRequest, step: int) -> None:
        wait_s = self._rng.choice((0.1, 1.0, 20.0)) * self._rng.random()
        loop = asyncio.get_running_loop()
        loop.call_later(wait_s, self._step, self._life, task_id, request, step)

    def _step(self, life: int, task_id: str, request: TaskRequest, step: int) -> None:
        task = self._disk.tasks.get(task_id)
        if life != self._life or task is None or task.state is not TaskState.RUNNING:
            return
        bucket = self._bucket
        if bucket.away or self._rng.random() < bucket.failing:
            self._end(task, TaskState.FAILED, "StoreUnavailable", "503 from the store")
        elif step < _STEPS:
            done = _BYTES * step // _STEPS
            self._disk.tasks[task_id] = task.model_copy(
                update={"bytes_done": done, "bytes_total": _BYTES}
            )
            self._changed()
            self._later(task_id, request, step + 1)
        elif request.kind == "backup":
            self._back_up(task, BackupTask.model_validate(request.payload))
        elif request.kind == "verify":
            held = {self._disk.restored_from or "", *self._disk.loaded.values()}
            self._bucket.checked[task.id] = frozenset(held)
            self._end(task, TaskState.COMPLETED, "", "all is sound")
        elif request.kind == "restoreDump":
            self._load(task, RestoreTask.model_validate(request.payload))
        elif request.kind == "noteVerified":
            self._note(task, NoteTask.model_validate(request.payload))
        else:
            self._restore(task, RestoreTask.model_validate(request.payload))

    def _back_up(self, task: TaskStatus, request: BackupTask) -> None:
        if request.strategy not in [offer.name for offer in self._offers]:
            text = f"no backup strategy is named {request.strategy}"
            self._end(task, TaskState.FAILED, "StrategyUnknown", text, permanent=True)
            return
        path = f"{request.instance['uid']}/base/{request.backup_id}"
        data_id = self._disk.data_id or ""
        self._bucket.backups[path] = data_id
        parent = request.parent if request.parent in self._bucket.backups else None
        result = BackupResult(
            path=path,
            location=f"s3://backups/{path}",
            type="full" if parent is None else "incremental",
            strategy=request.strategy,
            size_bytes=_BYTES // 3,
            plain_bytes=_BYTES,
            plain_sha256="0" * 64,
            manifest_digest=f"digest of {path}",
            key_id=request.storage.current_key,
            datastore=self._disk.datastore or "",
            engine_version=self._disk.version or "",
            data_id=data_id,
            parent=parent,
            depth=0 if parent is None else 1,
        )
        self._end(task, TaskState.COMPLETED, "", "backed up", result)

    def _note(self, task: TaskStatus, request: NoteTask) -> None:
        if request.path not in self._bucket.backups:
            self._end(task, TaskState.FAILED, "BackupMissing", "it is gone", permanent=True)
            return
        self._bucket.proofs[request.path] = request.proof
        self._end(task, TaskState.COMPLETED, "", "kept")

    def _load(self, task: TaskStatus, request: RestoreTask) -> None:
        """What came before its last step is loaded, too; the same again replaces it."""
        if request.path not in self._bucket.backups:
            self._end(task, TaskState.FAILED, "BackupMissing", "it is gone", permanent=True)
        elif unknown := [name for name in request.databases if name not in DATABASES]:
            text = f"the dump holds no database {unknown[0]}"
            self._end(task, TaskState.FAILED, "DatabaseMissing", text, permanent=True)
        elif (fault := self._bucket.faults.get(request.path)) is not None:
            failed = TaskState.FAILED
            self._end(task, failed, fault.reason, fault.message, permanent=fault.permanent)
        else:
            self._disk.loaded[task.id] = request.path
            self._end(task, TaskState.COMPLETED, "", "loaded")

    def _restore(self, task: TaskStatus, request: RestoreTask) -> None:
        if request.path not in self._bucket.backups:
            text = f"there is no backup at {request.path}"
            self._end(task, TaskState.FAILED, "BackupMissing", text, permanent=True)
            return
        data_id = f"{self._rng.getrandbits(128):032x}"
        self._bucket.restored.append((request.path, data_id))
        self._end(task, TaskState.COMPLETED, "", "restored")
        self.on_restored(data_id, request.path)

    def _end(
        self,
        task: TaskStatus,
        state: TaskState,
        reason: str,
        message: str,
        result: BackupResult | None = None,
        *,
        permanent: bool = False,
    ) -> None:
        self._disk.tasks[task.id] = task.model_copy(
            update={
                "state": state,
                "reason": reason,
                "message": message,
                "finished_at": stamp(),
                "permanent": permanent,
                "result": result.model_dump(mode="json") if result is not None else None,
            }
        )
        ended = [t for t in self.statuses() if t.state is not TaskState.RUNNING]
        for old in ended[:-KEPT]:
            del self._disk.tasks[old.id]
        self._changed()
