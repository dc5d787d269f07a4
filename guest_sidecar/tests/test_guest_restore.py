"""Restores that are refused, broken off or killed: never anything but the backup, or nothing."""

import base64
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from coffer_common.wire import DataState, RestoreTask, TaskState
from guest_harness import DEADLINE_S, HERE, MIB, MakePod, Pod, as_user, give_away, stopped, until
from guest_restores import (
    Vault,
    awaiting,
    backup,
    begin_restore,
    directory,
    ended,
    fill,
    get_task,
    processes_on,
    restore,
    rows,
    sums,
    tools,
    until_awaiting,
)

pytestmark = pytest.mark.guest

SLOW_BYTES = 1 * MIB  # a second: the backup below lasts for some seconds


@dataclass
class Chain:
    """A full backup and an increment, and what is in them."""

    vault: Vault
    full: str
    last: str
    sums: dict[str, object]


@pytest.fixture(scope="module")
def chain(mariadb_seed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    tools()
    vault = directory(tmp_path_factory.mktemp("chain") / "vault")
    pod = Pod("mariadb", "10.11", mariadb_seed)
    try:
        pod.start().until_running()
        fill(pod)
        strategy = "MariaBackupIncremental"
        full = backup(pod, vault, "b1", strategy=strategy)
        rows(pod, "INSERT INTO shop.orders (data) SELECT RANDOM_BYTES(999) FROM shop.seq_1_to_2000")
        last = backup(pod, vault, "b2", strategy=strategy, parent=full.path)
        assert last.type == "incremental"
        yield Chain(vault, full.path, last.path, sums(pod))
    finally:
        pod.close()


@pytest.fixture
def pod(mariadb_pod: MakePod, chain: Chain) -> Pod:
    """It waits to be restored from the chain."""
    return awaiting(mariadb_pod(), chain.last)


def expect_restored(pod: Pod, chain: Chain) -> None:
    task = restore(pod, chain.vault, chain.last, "at-last")
    assert task.state is TaskState.COMPLETED, (task, pod.tail())
    pod.until_running()
    assert sums(pod) == chain.sums
    assert not (pod.volume / ".coffer" / "incoming").exists()
    assert not (pod.volume / ".coffer" / "increment").exists()


def expect_untouched(pod: Pod) -> None:
    """Nothing but the agent's notes is on the volume."""
    assert {path.name for path in pod.volume.iterdir()} <= {".coffer", "log", "tmp", "etc"}
    assert {path.name for path in (pod.volume / ".coffer").iterdir()} <= {"tasks", "lock"}


# --- what is wrong with a backup ------------------------------------------------------------------
def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def other_key(vault: Vault) -> None:
    vault.keys = {"k1": base64.b64encode(b"2" * 32).decode()}


def rotated_key(vault: Vault) -> None:
    vault.keys, vault.current = {"k2": base64.b64encode(b"2" * 32).decode()}, "k2"


Harm = Callable[[Vault, Path, Path], object]  # the vault, the full backup, the increment

HARMS: dict[str, tuple[Harm, str, str]] = {
    "key": (lambda vault, *_: other_key(vault), "KeyWrong", "'k1'"),
    "rotated": (lambda vault, *_: rotated_key(vault), "KeyUnknown", "'k1'"),
    "missing parent": (lambda _, full, __: shutil.rmtree(full), "BackupMissing", "b1"),
    "parent without data": (lambda _, full, __: (full / "data").unlink(), "BackupDamaged", "b1"),
    "no backup": (lambda *folders: shutil.rmtree(folders[2]), "BackupMissing", "b2"),
    "truncated": (
        lambda _, full, __: os.truncate(full / "data", (full / "data").stat().st_size - 1),
        "BackupDamaged",
        "b1/data is truncated",
    ),
    "longer": (
        lambda *folders: os.truncate(folders[2] / "data", 99 * MIB),
        "BackupDamaged",
        "b2/data is longer",
    ),
    "edited": (
        lambda *folders: edit(folders[2] / "manifest.json", '"depth": 1', '"depth": 0'),
        "BackupDamaged",
        "b2/manifest.json was altered",
    ),
    "replayed": (
        lambda _, full, last: shutil.copy(full / "manifest.json", last / "manifest.json"),
        "BackupReplayed",
        "b2/manifest.json is the manifest of backup b1",
    ),
    "newer format": (
        lambda *folders: edit(folders[2] / "manifest.json", '"format": 1', '"format": 2'),
        "BackupFormatUnknown",
        "format 2",
    ),
    "nonsense": (
        lambda *folders: (folders[2] / "manifest.json").write_text("{"),
        "BackupDamaged",
        "b2/manifest.json is not a manifest",
    ),
}


def test_what_is_wrong_is_named_before_anything_is_touched(
    pod: Pod, chain: Chain, tmp_path: Path
) -> None:
    for number, (name, (harm, reason, words)) in enumerate(HARMS.items()):
        root = tmp_path / str(number)
        shutil.copytree(chain.vault.root, root)
        vault = replace(directory(root), keys=dict(chain.vault.keys))
        harm(vault, vault.folder(chain.full), vault.folder(chain.last))
        task = restore(pod, vault, chain.last, f"r{number}")
        assert task.state is TaskState.FAILED, name
        assert (task.reason, task.permanent) == (reason, True), (name, task)
        assert words in task.message, (name, task)
        expect_untouched(pod)
    status = until_awaiting(pod)
    assert status.data.message == f"to be restored from {chain.last}"
    answer = pod.ask("PUT", "/v1/databases/x", {})
    assert answer.status == 503, "it is no instance yet"
    expect_restored(pod, chain)


def test_what_does_not_fit_the_instance_is_refused(
    mariadb_pod: MakePod, redis_pod: MakePod, chain: Chain
) -> None:
    other = awaiting(redis_pod(), chain.last)
    task = restore(other, chain.vault, chain.last)
    assert (task.state, task.reason) == (TaskState.FAILED, "DatastoreMismatch")
    newer = awaiting(mariadb_pod("11.8"), chain.last)
    task = restore(newer, chain.vault, chain.last)
    assert (task.state, task.reason) == (TaskState.FAILED, "VersionMismatch")
    assert "10.11" in task.message
    expect_untouched(newer)
    laid_out = mariadb_pod().start()
    laid_out.until_running()
    request = RestoreTask(storage=chain.vault.access, path=chain.last).model_dump(mode="json")
    body = {"kind": "restore", "payload": request}
    assert laid_out.ask("PUT", "/v1/tasks/r", body).status == 422, "it holds data"


@pytest.mark.parametrize("which", ["full", "last"])
def test_one_flipped_bit_of_the_data_leaves_nothing(
    pod: Pod, chain: Chain, tmp_path: Path, which: str
) -> None:
    root = tmp_path / "copy"
    shutil.copytree(chain.vault.root, root)
    vault = replace(directory(root), keys=chain.vault.keys)
    data = vault.folder(chain.full if which == "full" else chain.last) / "data"
    flip(data, data.stat().st_size * 2 // 3)
    task = restore(pod, vault, chain.last)
    assert (task.state, task.reason, task.permanent) == (TaskState.FAILED, "BackupDamaged", True)
    assert f"{'b1' if which == 'full' else 'b2'}/data" in task.message
    until_awaiting(pod)
    assert not (pod.volume / ".coffer" / "incoming").exists()
    assert not (pod.volume / "data").exists()
    expect_restored(pod, chain)


# --- who dies -------------------------------------------------------------------------------------
STEPS = (
    *(("intent", 1), ("clear", 1), ("extract", 1), ("prepare", 1), ("extract", 2), ("prepare", 2)),
    *(("sync", 1), ("rename", 1), ("complete", 1), ("done", 1)),
)


def test_killed_before_any_step_it_begins_anew(mariadb_pod: MakePod, chain: Chain) -> None:
    pod = awaiting(mariadb_pod(), chain.last)
    task = RestoreTask(storage=chain.vault.access, path=chain.last)
    text = f"{pod.config.model_dump_json()}\n{task.model_dump_json()}\n"
    for step, count in STEPS:
        pod.kill_agent()
        program = [str(HERE / "guest_dying_restore.py"), step, str(count)]
        done = subprocess.run(
            as_user([sys.executable, *program, str(pod.volume), str(pod.run)]),
            input=text.encode(),
            check=False,
            timeout=DEADLINE_S,
        )
        assert done.returncode == -signal.SIGKILL, (step, count)
        assert processes_on(pod.volume) == []
        pod.start_agent()
        if step != "done":
            until_awaiting(pod)
    pod.until_running()
    assert sums(pod) == chain.sums


def test_agent_killed_in_the_middle(pod: Pod, chain: Chain) -> None:
    slow = replace(chain.vault, rate_limit_bytes=SLOW_BYTES)
    begin_restore(pod, slow, chain.last)
    until("some of it is there", lambda: get_task(pod, "restore").bytes_done > 0)
    until("the tool runs", lambda: processes_on(pod.volume))
    pod.kill_agent()
    until("all of it ends", lambda: not processes_on(pod.volume))
    pod.start_agent()
    until_awaiting(pod)
    task = until("the task is known", pod.status).tasks[0]
    assert (task.state, task.reason, task.permanent) == (TaskState.FAILED, "AgentEnded", False)
    again = restore(pod, chain.vault, chain.last)  # the same id
    assert again.state is TaskState.COMPLETED
    pod.until_running()
    assert sums(pod) == chain.sums


def test_cancelled_in_the_middle(pod: Pod, chain: Chain) -> None:
    slow = replace(chain.vault, rate_limit_bytes=SLOW_BYTES)
    begin_restore(pod, slow, chain.last)
    until("some of it is there", lambda: get_task(pod, "restore").bytes_done > 0)
    assert pod.ask("DELETE", "/v1/tasks/restore").status == 204
    assert get_task(pod, "restore").state is TaskState.CANCELLED
    assert processes_on(pod.volume) == []
    until_awaiting(pod)
    expect_restored(pod, chain)


def test_a_tool_that_dies_is_told(pod: Pod, chain: Chain) -> None:
    slow = replace(chain.vault, rate_limit_bytes=SLOW_BYTES)
    begin_restore(pod, slow, chain.last)
    (tool,) = until("the tool runs", lambda: processes_on(pod.volume))
    os.kill(tool, signal.SIGKILL)
    task = ended(pod, "restore")
    assert (task.state, task.reason, task.permanent) == (TaskState.FAILED, "ToolFailed", False)
    assert "mbstream died of signal 9" in task.message
    until_awaiting(pod)
    expect_restored(pod, chain)


# --- no room --------------------------------------------------------------------------------------
@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 160 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    path = tmp_path / "small"
    path.mkdir()
    for parent in path.parents[:4]:
        parent.chmod(parent.stat().st_mode | 0o011)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "none", path], check=True)
    try:
        give_away(path)
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


def test_a_volume_that_is_too_small_is_refused(
    mariadb_pod: MakePod, chain: Chain, small: Path
) -> None:
    filler = small / "tmp" / "filler"
    pod = awaiting(mariadb_pod(volume=small), chain.last)
    filler.parent.mkdir(exist_ok=True)
    filler.write_bytes(bytes(60 * MIB))
    task = restore(pod, chain.vault, chain.last)
    assert (task.state, task.reason, task.permanent) == (TaskState.FAILED, "VolumeTooSmall", True)
    assert "MiB are free" in task.message
    expect_untouched(pod)
    # and full while it is at work
    filler.unlink()
    slow = replace(chain.vault, rate_limit_bytes=SLOW_BYTES)
    begin_restore(pod, slow, chain.last, "full")
    (tool,) = until("the tool runs", lambda: processes_on(pod.volume))
    with stopped(tool), filler.open("wb") as file:
        use = os.statvfs(small)
        file.write(bytes(use.f_bavail * use.f_frsize - MIB // 2))
    task = ended(pod, "full")
    assert (task.state, task.reason) == (TaskState.FAILED, "VolumeTooSmall"), task
    until_awaiting(pod)
    filler.unlink()
    expect_restored(pod, chain)
    status = pod.status()
    assert status is not None
    assert status.data.state is DataState.LAID_OUT
