"""Pid files: only the very process that was written down is ever signalled."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from coffer_cluster.processes import Identity, start_ticks


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def identity_of(pid: int) -> Identity:
    identity = Identity.of(pid)
    assert identity is not None
    return identity


def test_living_process_is_alive(sleeper: subprocess.Popen[bytes]) -> None:
    assert identity_of(sleeper.pid).alive


@pytest.mark.parametrize("change", [{"start_ticks": 1}, {"boot_id": "another boot"}])
def test_another_process_with_the_pid_is_left_alone(
    sleeper: subprocess.Popen[bytes], change: dict[str, int]
) -> None:
    other = replace(identity_of(sleeper.pid), **change)  # type: ignore[arg-type]
    assert not other.alive
    assert not other.send(signal.SIGKILL)
    other.end()
    assert sleeper.poll() is None


def test_signal_reaches_the_process(sleeper: subprocess.Popen[bytes]) -> None:
    identity = identity_of(sleeper.pid)
    assert identity.send(signal.SIGKILL)
    assert sleeper.wait(timeout=10) == -signal.SIGKILL
    assert not identity.alive
    assert not identity.send(signal.SIGKILL)


def test_process_that_waits_to_be_reaped_is_not_alive(sleeper: subprocess.Popen[bytes]) -> None:
    identity = identity_of(sleeper.pid)
    sleeper.send_signal(signal.SIGKILL)
    # Not reaped, only waited for: the pid stays taken by a zombie.
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert start_ticks(sleeper.pid) is None
    assert not identity.alive


def test_name_of_a_program_cannot_mislead(tmp_path: Path) -> None:
    program = tmp_path / "a) S 1 (b"
    program.symlink_to("/usr/bin/sleep")
    with subprocess.Popen([program, "60"]) as process:
        try:
            own = start_ticks(os.getpid())
            ticks = start_ticks(process.pid)
            assert own is not None
            assert ticks is not None
            assert ticks >= own
        finally:
            process.kill()


def test_pid_file_is_read_back(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    mine = identity_of(os.getpid())
    file.write_text(json.dumps(asdict(mine)))
    assert Identity.read(file) == mine


@pytest.mark.parametrize("content", ["", "12", "{}", "null", '{"pid": 1}', '{"pid": "x"}'])
def test_broken_pid_file_is_no_process(tmp_path: Path, content: str) -> None:
    file = tmp_path / "pid"
    file.write_text(content)
    assert Identity.read(file) is None


def test_missing_pid_file_is_no_process(tmp_path: Path) -> None:
    assert Identity.read(tmp_path / "pid") is None
