"""Backups and restores of pods: a vault to keep them in, tasks that are waited for, and data."""

import base64
import contextlib
import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pymysql
from pymysql.connections import Connection

from coffer_cluster import preflight
from coffer_common.wire import (
    BackupResult,
    BackupTask,
    DataState,
    EngineState,
    GuestStatus,
    RestoreTask,
    RestoreWanted,
    StorageAccess,
    TaskRequest,
    TaskState,
    TaskStatus,
)
from guest_harness import Pod, give_away

PACKAGES: Final = {
    "mariadb-backup": "mariadb-backup",
    "mbstream": "mariadb-backup",
    "mariadb-dump": "mariadb-client",
}
TOOLS: Final = frozenset(PACKAGES)
TASK_S: Final = 90.0


def tools() -> None:
    """The engines' backup tools are on this machine."""
    preflight.install_missing(PACKAGES)


@dataclass
class Vault:
    """A storage with its keys."""

    strategy: str
    settings: dict[str, Any]
    root: Path  # where its files are
    prefix: str = "some/prefix"
    current: str = "k1"
    rate_limit_bytes: int | None = None  # per second
    keys: dict[str, str] = field(
        default_factory=lambda: {"k1": base64.b64encode(b"1" * 32).decode()}
    )

    @property
    def access(self) -> StorageAccess:
        return StorageAccess(
            strategy=self.strategy,
            settings=self.settings,
            prefix=self.prefix,
            current_key=self.current,
            keys=self.keys,
            rate_limit_bytes=self.rate_limit_bytes,
        )

    def folder(self, path: str) -> Path:
        return self.root / self.prefix / path

    def secrets(self) -> list[bytes]:
        words = [*self.keys.values(), str(self.settings.get("secret_key", "no-secret-here"))]
        return [word.encode() for word in words]


def directory(path: Path) -> Vault:
    """A vault that is a directory; it may be written to by the pods' user."""
    path.mkdir(parents=True, exist_ok=True)
    for parent in path.parents[:4]:
        with contextlib.suppress(PermissionError):
            parent.chmod(parent.stat().st_mode | 0o011)
    give_away(path)
    return Vault("filesystem", {"root": str(path)}, path)


# --- tasks ----------------------------------------------------------------------------------------
def put_task(pod: Pod, task_id: str, kind: str, payload: Mapping[str, Any]) -> None:
    request = TaskRequest(kind=kind, payload=dict(payload))
    answer = pod.ask("PUT", f"/v1/tasks/{task_id}", request.model_dump(mode="json"))
    assert answer.status == 202, answer


def get_task(pod: Pod, task_id: str) -> TaskStatus:
    answer = pod.ask("GET", f"/v1/tasks/{task_id}")
    assert answer.status == 200, answer
    return TaskStatus.model_validate(answer.body)


def ended(pod: Pod, task_id: str) -> TaskStatus:
    def over(status: GuestStatus) -> bool:
        tasks = (task for task in status.tasks if task.id == task_id)
        return any(task.state is not TaskState.RUNNING for task in tasks)

    pod.until_status(f"task {task_id} ends", over, TASK_S)
    return get_task(pod, task_id)


def backup_payload(vault: Vault, backup_id: str, uid: str, **options: Any) -> dict[str, Any]:
    task = BackupTask(
        storage=vault.access,
        backup_id=backup_id,
        instance={"uid": uid, "name": "one", "namespace": "tests"},
        strategy=options.pop("strategy"),
        **options,
    )
    return task.model_dump(mode="json")


def begin_backup(pod: Pod, vault: Vault, backup_id: str, **options: Any) -> None:
    put_task(pod, backup_id, "backup", backup_payload(vault, backup_id, pod.config.uid, **options))


def backup(pod: Pod, vault: Vault, backup_id: str, **options: Any) -> BackupResult:
    """Take it, and expect that it succeeds."""
    begin_backup(pod, vault, backup_id, **options)
    task = ended(pod, backup_id)
    assert task.state is TaskState.COMPLETED, (task, pod.tail())
    return BackupResult.model_validate(task.result)


def begin_restore(
    pod: Pod, vault: Vault, path: str, task_id: str = "restore", *, whole: bool = False
) -> None:
    task = RestoreTask(storage=vault.access, path=path, whole=whole)
    put_task(pod, task_id, "restore", task.model_dump(mode="json"))


def restore(pod: Pod, vault: Vault, path: str, task_id: str = "restore") -> TaskStatus:
    begin_restore(pod, vault, path, task_id)
    return ended(pod, task_id)


def awaiting(pod: Pod, path: str) -> Pod:
    """Start it with an empty volume that is to be restored."""
    pod.configure(uid=f"uid-{uuid.uuid4()}", restore=RestoreWanted(path=path))
    pod.start()
    until_awaiting(pod)
    return pod


def until_awaiting(pod: Pod) -> GuestStatus:
    def waits(status: GuestStatus) -> bool:
        return status.data.state is DataState.AWAITING_RESTORE

    status = pod.until_status("it waits for a restore", waits)
    assert status.engine.state is EngineState.WAITING
    assert status.data.data_id is None
    return status


def restored(pod: Pod, vault: Vault, path: str) -> Pod:
    """Start it with an empty volume, restore it, and wait for its engine."""
    task = restore(awaiting(pod, path), vault, path)
    assert task.state is TaskState.COMPLETED, (task, pod.tail())
    status = pod.until_running()
    assert task.result is not None
    assert status.data.data_id == task.result["dataId"]
    return pod


def processes_on(volume: Path) -> list[int]:
    """Backup tools that work on this volume."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = path.joinpath("cmdline").read_bytes().split(b"\0")
            program = Path(os.fsdecode(words[0])).name
            here = any(os.fsencode(volume) in word for word in words[1:])
            if program in TOOLS and here and "Z" not in _state(path):
                found.append(int(path.name))
    return found


def _state(process: Path) -> str:
    return process.joinpath("stat").read_text().rpartition(")")[2].split()[0]


# --- MariaDB --------------------------------------------------------------------------------------
@contextlib.contextmanager
def connected(pod: Pod) -> Iterator[Connection]:
    connection = pymysql.connect(
        unix_socket=str(pod.run / "mariadb.sock"), user="root", autocommit=True, read_timeout=60
    )
    with contextlib.closing(connection):
        yield connection


def rows(pod: Pod, *statements: str) -> tuple[tuple[Any, ...], ...]:
    """What the last of the statements answers."""
    with connected(pod) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return tuple(cursor.fetchall())


def fill(pod: Pod) -> None:
    """Some tables in two databases, and what else is in databases."""
    rows(
        pod,
        "CREATE DATABASE shop",
        "CREATE DATABASE `odd-name`",
        "CREATE TABLE shop.orders (id INT PRIMARY KEY AUTO_INCREMENT, note TEXT, data BLOB)",
        "CREATE TABLE `odd-name`.aria (id INT PRIMARY KEY, t TEXT) ENGINE=Aria",
        "INSERT INTO shop.orders (note, data) SELECT CONCAT('é', seq), RANDOM_BYTES(200)"
        " FROM shop.seq_1_to_3000",
        "INSERT INTO `odd-name`.aria SELECT seq, seq FROM shop.seq_1_to_100",
        "CREATE PROCEDURE shop.p() SELECT 1",
        "CREATE TRIGGER shop.t BEFORE INSERT ON shop.orders FOR EACH ROW SET NEW.note = 'x'",
        "CREATE USER app@'%' IDENTIFIED BY 'from-the-source'",
    )


def sums(pod: Pod) -> dict[str, Any]:
    """The checksum of every table of the users."""
    names = rows(
        pod,
        "SELECT CONCAT('`', table_schema, '`.`', table_name, '`') FROM information_schema.tables"
        " WHERE table_schema IN ('shop', 'odd-name') AND table_type = 'BASE TABLE'",
    )
    return {str(name): rows(pod, f"CHECKSUM TABLE {name} EXTENDED")[0][1] for (name,) in names}
