"""Real engines as local processes, for the tests that ask them about parameters.

Each runs without rights, with its files in a folder of its own, on a unix socket only.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_NOBODY: Final = 65534
_AS_NOBODY: Final = ("setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups")
_DEADLINE_S: Final = 30.0


def need(program: str, package: str) -> None:
    """Installs a Debian package where its program is missing."""
    if shutil.which(program):
        return
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "-y", "--no-install-recommends", package]):
        subprocess.run(["apt-get", "-qq", *arguments], check=True, env=environment, timeout=300)


@contextmanager
def folder() -> Iterator[Path]:
    """A folder that the engine may write to, short enough for a socket's path."""
    path = Path(tempfile.mkdtemp(prefix="coffer-rules-"))
    try:
        os.chown(path, _NOBODY, _NOBODY)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def as_nobody(*argv: str) -> str:
    """Runs a program to its end; its output."""
    done = subprocess.run(
        [*_AS_NOBODY, *argv],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


def reachable(path: Path) -> None:
    """Raises OSError while nobody listens; drivers leave a socket open when that happens."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))


@contextmanager
def running(argv: Sequence[str], log: Path, answers: Callable[[], object]) -> Iterator[None]:
    """An engine that serves: `answers` raises OSError until it does."""
    with log.open("wb") as output:
        process = subprocess.Popen([*_AS_NOBODY, *argv], stdout=output, stderr=output)
        try:
            _wait(process, log, answers)
            yield
        finally:
            process.terminate()
            try:
                process.wait(_DEADLINE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise AssertionError(f"it did not stop\n{log.read_text()[-3000:]}") from None


def _wait(process: "subprocess.Popen[bytes]", log: Path, answers: Callable[[], object]) -> None:
    deadline = time.monotonic() + _DEADLINE_S
    while True:
        try:
            answers()
        except OSError as error:
            ended = process.poll() is not None
            if ended or time.monotonic() > deadline:
                raise AssertionError(f"{error}\n{log.read_text()[-3000:]}") from error
            time.sleep(0.05)
        else:
            return
