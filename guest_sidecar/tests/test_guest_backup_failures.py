"""Backups that fail, are cancelled, or whose agent, tool or engine dies: no trace is left.

And the next one runs.
"""

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from coffer_common.wire import TaskState
from guest_harness import MIB, Pod, give_away, until
from guest_restores import (
    Vault,
    backup,
    begin_backup,
    directory,
    ended,
    fill,
    get_task,
    processes_on,
    rows,
    tools,
)

pytestmark = pytest.mark.guest

FULL = "MariaBackup"
SLOW_BYTES = MIB // 2  # a second: the backup below lasts for some seconds


@pytest.fixture(scope="module")
def pod(mariadb_seed: Path) -> Iterator[Pod]:
    tools()
    pod = Pod("mariadb", "10.11", mariadb_seed)
    try:
        pod.start().until_running()
        fill(pod)
        rows(pod, "INSERT INTO shop.orders (data) SELECT RANDOM_BYTES(999) FROM shop.seq_1_to_9000")
        yield pod
    finally:
        pod.close()


@pytest.fixture
def vault(tmp_path: Path, pod: Pod, request: pytest.FixtureRequest) -> Iterator[Vault]:
    """Afterwards the next backup runs, and nothing else is in it."""
    vault = directory(tmp_path / "vault")
    yield vault
    pod.until_running()
    digits = "".join(filter(str.isdigit, tmp_path.name))
    name = f"next-{request.node.originalname.replace('_', '-')[:30]}-{digits}"
    taken = backup(pod, vault, name, strategy=FULL)
    assert files(vault) == {f"{taken.path}/data", f"{taken.path}/manifest.json"}
    assert not processes_on(pod.volume)
    assert not (pod.volume / ".coffer" / "scratch").exists()


def files(vault: Vault) -> set[str]:
    """All that is in the vault, unfinished uploads too."""
    start = vault.folder("")
    found = [path for path in vault.root.rglob("*") if path.is_file()]
    return {
        str(path.relative_to(start)) if path.is_relative_to(start) else str(path) for path in found
    }


def begin(pod: Pod, vault: Vault, backup_id: str) -> int:
    """A slow backup that has come some way; its tool."""
    begin_backup(pod, replace(vault, rate_limit_bytes=SLOW_BYTES), backup_id, strategy=FULL)
    until("some bytes are read", lambda: get_task(pod, backup_id).bytes_done > 0)
    (tool,) = until("the tool runs", lambda: processes_on(pod.volume))
    return tool


def test_cancelled(pod: Pod, vault: Vault) -> None:
    begin(pod, vault, "cancelled")
    total = get_task(pod, "cancelled").bytes_total
    assert total is not None
    assert total > 20 * MIB
    assert pod.ask("DELETE", "/v1/tasks/cancelled").status == 204
    assert get_task(pod, "cancelled").state is TaskState.CANCELLED
    assert not processes_on(pod.volume)
    assert files(vault) == set()


def test_agent_killed_and_asked_again(pod: Pod, vault: Vault) -> None:
    begin(pod, vault, "again")
    pod.kill_agent()
    until("all of it ends", lambda: not processes_on(pod.volume))
    pod.start_agent()
    pod.until_running()
    task = get_task(pod, "again")
    assert (task.state, task.reason, task.permanent) == (TaskState.FAILED, "AgentEnded", False)
    taken = backup(pod, vault, "again", strategy=FULL)
    assert files(vault) == {f"{taken.path}/data", f"{taken.path}/manifest.json"}
    (vault.folder(taken.path) / "manifest.json").unlink()
    (vault.folder(taken.path) / "data").unlink()


def test_tool_killed(pod: Pod, vault: Vault) -> None:
    os.kill(begin(pod, vault, "tool"), signal.SIGKILL)
    task = ended(pod, "tool")
    assert (task.state, task.reason, task.permanent) == (TaskState.FAILED, "ToolFailed", False)
    assert "mariadb-backup died of signal 9" in task.message
    assert files(vault) == set()


def test_engine_killed(pod: Pod, vault: Vault) -> None:
    begin(pod, vault, "engine")
    os.kill(pod.engine_pid, signal.SIGKILL)
    task = ended(pod, "engine")
    assert (task.state, task.reason, task.permanent) == (TaskState.FAILED, "ToolFailed", False)
    assert "mariadb-backup" in task.message
    assert files(vault) == set()


def test_what_cannot_be_is_refused(pod: Pod, vault: Vault, tmp_path: Path) -> None:
    cases: list[tuple[Vault, dict[str, object], str]] = [
        (vault, {"strategy": "RedisBackup"}, "StrategyInvalid"),
        (vault, {"strategy": "Nonsense"}, "StrategyUnknown"),
        (replace(vault, keys={}), {"strategy": FULL}, "KeyInvalid"),
        (
            replace(vault, settings={"root": str(tmp_path / "no")}),
            {"strategy": FULL},
            "BucketMissing",
        ),
        (replace(vault, strategy="tape"), {"strategy": FULL}, "StorageUnknown"),
        (vault, {"strategy": "MySQLDump", "databases": ("no",)}, "DatabaseMissing"),
    ]
    for number, (where, options, reason) in enumerate(cases):
        begin_backup(pod, where, f"refused-{number}", **options)
        task = ended(pod, f"refused-{number}")
        assert (task.state, task.reason, task.permanent) == (TaskState.FAILED, reason, True), task
    assert files(vault) == set()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_a_full_storage_is_told(pod: Pod, vault: Vault, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", small], check=True)
    try:
        give_away(small)
        begin_backup(pod, directory(small), "full", strategy=FULL)
        task = ended(pod, "full")
        assert (task.state, task.reason) == (TaskState.FAILED, "StorageFull"), task
        assert not [path for path in small.rglob("*") if path.is_file()]
    finally:
        subprocess.run(["umount", "--lazy", small], check=True)
