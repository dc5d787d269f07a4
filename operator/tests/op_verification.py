"""A Backup that is verified, in a world that does what the plans say, and may end them anywhere."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from coffer_common.resources.backup import Backup
from coffer_common.resources.backup_storage import BackupStorage
from coffer_common.resources.instance import DatabaseInstance
from coffer_common.resources.operation import Operation
from coffer_common.wire import (
    DataState,
    DataStatus,
    EngineState,
    EngineStatus,
    GuestStatus,
    TaskState,
    TaskStatus,
)
from coffer_operator.plan.clock import to_text
from coffer_operator.plan.errand import Errand
from coffer_operator.plan.model import EventNote, PutTask
from coffer_operator.plan.verification import plan_verification
from coffer_operator.plan.verification_world import VerificationWorld
from coffer_operator.plan.world import ActFailure, AgentFact
from op_backup_worlds import POD, backup, storage
from op_plan_worlds import NOW, UID, catalogue, instance_obj

NAME = "verify-monday"
DONE = {
    "phase": "Completed",
    "path": "u-1/base/b-1",
    "datastore": "mariadb",
    "engineVersion": "10.11.6-MariaDB",
    "rawBytes": 500 * 1024**2,
    "instanceUid": UID,
}
SOURCE_STATUS = {"datastore": {"type": "mariadb", "version": "10.11", "name": "mariadb-10.11"}}


class KilledError(Exception):
    """The operator ends here."""


def verification(
    name: str = "check", status: dict[str, Any] | None = None, **spec: Any
) -> Operation:
    return Operation.model_validate(
        {
            "metadata": {
                "name": name,
                "namespace": "prod",
                "uid": f"uid-{name}",
                "generation": 1,
                "resourceVersion": "3",
                "creationTimestamp": "2026-11-22T12:00:00Z",
            },
            "spec": {"type": "VerifyBackup", "backupRef": {"name": "monday"}} | spec,
            "status": status or {},
        }
    )


def source(**spec: Any) -> DatabaseInstance:
    return DatabaseInstance.model_validate({**instance_obj(**spec), "status": SOURCE_STATUS})


Answer = tuple[TaskState, str, str, bool]  # state, message, reason, permanent
Answers = Callable[["Field", int], Answer]


def sound(_: "Field", __: int) -> tuple[TaskState, str, str, bool]:
    return TaskState.COMPLETED, "2 tables in 1 databases are sound", "", False


def noted(_: "Field", __: int) -> Answer:
    return TaskState.COMPLETED, "the proof was kept", "", False


def loaded(_: "Field", __: int) -> Answer:
    return TaskState.COMPLETED, "the dump was loaded", "", False


@dataclass
class Field:
    """The objects, and what becomes of the scratch instance by itself with each look.

    `restores` are the statuses that its restore goes through; `answer` gives the end of a check by
    its number. `dies_at`: the number of the action before which the operator is killed.
    """

    operation: Operation = field(default_factory=verification)
    backup: Backup | None = field(default_factory=lambda: backup("monday", DONE))
    storage: BackupStorage | None = field(default_factory=storage)
    source: DatabaseInstance | None = field(default_factory=source)
    others: tuple[Operation, ...] = ()
    restores: tuple[dict[str, Any], ...] = ()
    engine: EngineStatus = field(default_factory=lambda: EngineStatus(state=EngineState.RUNNING))
    ready: tuple[str, str, str] = ("True", "Ready", "it serves")
    answer: Answers = sound
    notes: Answers = noted  # the same of what is kept beside the backup
    loads: Answers = loaded  # and of a dump
    reachable: bool = True
    dies_at: int | None = None
    failure: ActFailure | None = None
    now: datetime = NOW
    scratch: dict[str, Any] | None = None
    looks: int = 0  # since the scratch instance was made
    tasks: dict[str, TaskStatus] = field(default_factory=dict)
    actions: int = 0
    made: list[dict[str, Any]] = field(default_factory=list)
    calls: list[PutTask] = field(default_factory=list)
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    events: list[EventNote] = field(default_factory=list)
    expired: bool = False

    # --- the world -------------------------------------------------------------------------------
    def world(self) -> VerificationWorld:
        scratch = None if self.scratch is None else DatabaseInstance.model_validate(self.scratch)
        agent = None
        if scratch is not None and self.reachable and self.looks >= len(self._restores()):
            agent = AgentFact(self._said(), "p1", 0.0)
        return VerificationWorld(
            now=self.now,
            operation=self.operation,
            catalogue=catalogue(),
            backup=self.backup,
            storage=self.storage,
            source=self.source,
            scratch=scratch,
            pod=replace(POD, name=f"{NAME}-0") if scratch is not None else None,
            agent=agent,
            others=self.others,
            failure=self.failure,
        )

    def _restores(self) -> tuple[dict[str, Any], ...]:
        plain = {"storage": "minio", "path": DONE["path"], "startedAt": to_text(NOW)}
        steps = self.restores or ({"phase": "Running", "attempt": 1}, {"phase": "Completed"})
        return tuple(plain | step for step in steps)

    def _said(self) -> GuestStatus:
        return GuestStatus(
            etag="e",
            agent_version="1",
            boot_id="b",
            instance_uid="uid-scratch",
            pod_uid="p1",
            data=DataStatus(state=DataState.LAID_OUT, data_id="d1"),
            engine=self.engine,
            tasks=tuple(self.tasks.values()),
        )

    def pass_time(self, seconds: float = 5.0) -> None:
        """The scratch instance gets on, and so does its agent."""
        self.now += timedelta(seconds=seconds)
        for number, task in enumerate(list(self.tasks.values())):
            if task.state is TaskState.RUNNING:
                answers = {"noteVerified": self.notes, "restoreDump": self.loads}
                answer = answers.get(task.kind, self.answer)
                state, message, reason, permanent = answer(self, number)
                ended: dict[str, object] = {"message": message, "reason": reason}
                ended |= {"state": state, "permanent": permanent}
                ended |= {"finished_at": to_text(self.now)}
                self.tasks[task.id] = task.model_copy(update=ended)
        if self.scratch is None:
            return
        if "deletionTimestamp" in self.scratch["metadata"]:
            self.scratch, self.tasks = None, {}
            return
        self.looks += 1
        restores = self._restores()
        served = self.looks >= len(restores)
        status, reason, message = self.ready if served else ("False", "Restoring", "wait")
        condition = {"type": "Ready", "status": status, "reason": reason, "message": message}
        restored = "restoreFrom" in self.scratch["spec"]
        restore = {"restore": restores[min(self.looks, len(restores)) - 1]} if restored else {}
        self.scratch["status"] = restore | {
            "conditions": [condition | {"lastTransitionTime": to_text(NOW)}],
            "engine": {
                "version": "10.11.6",
                "restarts": self.engine.restarts,
                "lastExit": self.engine.last_exit,
            },
        }

    # --- the operator ----------------------------------------------------------------------------
    def look(self) -> Errand:
        """Plan and act, in the order of ErrandRunner and ErrandReconciler."""
        errand = plan_verification(self.world())
        for act in self._steps(errand):
            if self.actions == self.dies_at:
                self.dies_at = None
                raise KilledError
            self.actions += 1
            act()
        return errand

    def _steps(self, errand: Errand) -> Iterator[Callable[[], None]]:
        if errand.scratch is not None:
            yield lambda: self._make(dict(errand.scratch or {}))
        if errand.unwanted is not None:
            yield lambda: self._unmake(errand)
        for call in errand.calls:
            assert isinstance(call, PutTask)
            yield partial(self._put, call)
        if errand.verdict is not None:
            yield lambda: self._pronounce(errand)
        if errand.status is not None:
            yield lambda: self._patch(errand)
        for note in errand.events:
            yield partial(self.events.append, note)
        if errand.expired:
            yield self._expire

    def _make(self, obj: dict[str, Any]) -> None:
        self.made.append(obj)
        if self.scratch is None:
            metadata = obj["metadata"] | {
                "uid": "uid-scratch",
                "creationTimestamp": to_text(self.now),
            }
            self.scratch, self.looks = {**obj, "metadata": metadata}, 0

    def _unmake(self, errand: Errand) -> None:
        assert errand.unwanted is not None
        assert self.scratch is not None
        assert errand.unwanted.uid == self.scratch["metadata"]["uid"]
        self.scratch["metadata"]["deletionTimestamp"] = to_text(self.now)

    def _put(self, call: PutTask) -> None:
        self.calls.append(call)
        begun = TaskStatus(
            id=call.id, kind=call.kind, state=TaskState.RUNNING, started_at=to_text(self.now)
        )
        self.tasks.setdefault(call.id, begun)

    def _pronounce(self, errand: Errand) -> None:
        assert errand.verdict is not None
        assert self.backup is not None
        content = self.backup.model_dump(mode="json", by_alias=True)
        content["status"] = dict(errand.verdict.status)
        self.backup = Backup.model_validate(content)
        self.verdicts.append(content["status"]["verified"])

    def _patch(self, errand: Errand) -> None:
        content = self.operation.model_dump(mode="json", by_alias=True)
        content["status"] = dict(errand.status or {})
        self.operation = Operation.model_validate(content)

    def _expire(self) -> None:
        self.expired = True

    # --- until the end ---------------------------------------------------------------------------
    def run(self, looks: int = 80, seconds: float = 5.0) -> "Field":
        """Look until it has ended; whoever was killed is followed by another."""
        for _ in range(looks):
            try:
                self.look()
            except KilledError:
                continue  # and time passes while another takes over
            finally:
                self.pass_time(seconds)
            if self.operation.status.finished_at is not None:
                return self
        raise AssertionError(f"it has not ended: {self.operation.status}")

    @property
    def reason(self) -> str:
        """Of the Ready condition."""
        return next(c.reason for c in self.operation.status.conditions if c.type == "Ready")


DAMAGED: Answer = (TaskState.FAILED, "1 of 9 tables damaged: `a`.`b`", "DataDamaged", True)


def always(answer: Answer) -> Answers:
    return lambda _, __: answer


def gone_right(run: Field) -> None:
    status = run.operation.status
    assert (status.phase, status.outcome) == ("Completed", None)
    assert run.scratch is None
    (verdict,) = run.verdicts
    assert verdict["result"] == "Passed"
