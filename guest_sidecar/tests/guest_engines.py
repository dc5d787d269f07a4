"""Real engines: as programs of this machine, and as processes without an agent.

Programs come from Debian where they are missing, never from the packages that would start a
service. A process runs without rights, with its files in a folder of its own.
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
from typing import Any, Final

import hiredis

from coffer_cluster import preflight
from guest_harness import as_user, give_away

PACKAGES: Final = {
    "mariadbd": "mariadb-server-core",
    "mariadb": "mariadb-client-core",
    "redis-cli": "redis-tools",
}
#: redis-tools has the server's one binary, which serves under this name only.
_REDIS_ALIAS: Final = Path("/usr/local/bin/redis-server")
_REDIS_BINARY: Final = "redis-check-rdb"
_DEADLINE_S: Final = 30.0


def program(name: str) -> str:
    """The absolute path of an engine's program; it is there afterwards."""
    preflight.install_missing(PACKAGES)
    path = f"{os.environ['PATH']}:/usr/sbin"
    if name == "redis-server" and shutil.which(name, path=path) is None:
        binary = shutil.which(_REDIS_BINARY, path=path)
        assert binary is not None
        _REDIS_ALIAS.symlink_to(binary)
    found = shutil.which(name, path=path)
    assert found is not None, f"no {name} on this machine"
    return found


@contextmanager
def folder() -> Iterator[Path]:
    """A folder that the engine may write to, short enough for a socket's path."""
    path = Path(tempfile.mkdtemp(prefix="coffer-engine-", dir="/tmp"))
    try:
        give_away(path)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def output_of(*argv: str) -> str:
    """Runs a program without rights to its end; what it says."""
    done = subprocess.run(
        as_user(argv),
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
        process = subprocess.Popen(as_user(argv), stdout=output, stderr=output)
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
            time.sleep(0.02)
        else:
            return


class Redis:
    """A connection to a Redis, by port or by socket. It closes with its block."""

    def __init__(self, address: int | Path, user: str | None = None, password: str = "") -> None:
        """Raises OSError, hiredis.ReplyError where the user is refused."""
        self._parser = hiredis.Reader(encoding="utf-8", errors="replace")
        if isinstance(address, int):
            self._socket = socket.create_connection(("127.0.0.1", address), _DEADLINE_S)
        else:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.settimeout(_DEADLINE_S)
        try:
            if isinstance(address, Path):
                self._socket.connect(str(address))
            if user is not None:
                self.ask("AUTH", user, password)
        except (OSError, hiredis.HiredisError):
            self._socket.close()
            raise

    def ask(self, *words: str | int) -> Any:
        """The answer to a command. Raises OSError, hiredis.ReplyError."""
        self._socket.sendall(hiredis.pack_command(words))  # type: ignore[arg-type] # its stub names a tuple of one
        while (answer := self._parser.gets()) is False:
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionResetError("the server closed the connection")
            self._parser.feed(data)
        if isinstance(answer, hiredis.ReplyError):
            raise answer
        return answer

    def info(self, section: str) -> dict[str, str]:
        """The fields of a section of INFO."""
        lines = str(self.ask("INFO", section)).splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def __enter__(self) -> "Redis":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
