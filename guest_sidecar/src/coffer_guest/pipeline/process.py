"""Child processes at both ends of the data path: a tool's output, or a tool's input.

Owns starting, feeding, draining and ending them. A child has a process group of its own, which is
killed as a whole; should this process die first, the kernel kills the child. Exit statuses are
always read, and the last words on stderr become the message. Nothing here knows what tool it is.
"""

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from coffer_guest.pipeline.codec import Buffer
from coffer_guest.pipeline.failures import ToolFailed
from coffer_guest.pipeline.stop import Stop

PIPE_BYTES: Final = 1 << 20  # the most an unprivileged process gets
_TAIL_BYTES: Final = 64 << 10
_LAST_WORDS_CHARS: Final = 500
_TERMINATE_S: Final = 3.0
# A tool must not outlive us with its locks held. prctl between fork and exec is not safe in a
# process with threads, so util-linux does it.
_WITH_US: Final = ("setpriv", "--pdeathsig", "KILL", "--")


class Source(Protocol):
    """Where the plain stream comes from."""

    def readinto(self, into: memoryview, stop: Stop) -> int:
        """Some bytes, 0 at the end; raises what `stop` is set to."""

    def finish(self, stop: Stop) -> None:
        """After the end: raises unless the stream was whole."""

    def kill(self) -> None:
        """End it at once, if it still runs; may be called at any time and again."""


class Sink(Protocol):
    """Where a plain stream goes."""

    def write(self, data: Buffer, stop: Stop) -> None: ...

    def finish(self, stop: Stop) -> None:
        """All is written: raises unless it was taken."""

    def kill(self) -> None: ...


@dataclass(frozen=True)
class Ending:
    """How a child ended; `tail` are its last words on stderr (at most 64 KiB)."""

    program: str
    status: int  # as Popen.returncode: negative is a signal
    tail: str

    def require_success(self) -> None:
        """Raise ToolFailed unless the status is 0."""
        if self.status != 0:
            how = f"died of signal {-self.status}" if self.status < 0 else f"exited {self.status}"
            raise ToolFailed(self.program, how, last_words(self.tail))


Check = Callable[[Ending], None]  # raises if the tool's success is none


class _Child:
    """A process, its stderr, its end."""

    def __init__(
        self,
        argv: Sequence[str],
        check: Check,
        environment: Mapping[str, str] | None,
        folder: Path | None,
        output: bool,
    ) -> None:
        self._program = Path(argv[0]).name
        self._check = check
        self._tail = bytearray()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - argv is the strategy's, no shell
                [*_WITH_US, *argv],
                stdin=subprocess.DEVNULL if output else subprocess.PIPE,
                stdout=subprocess.PIPE if output else subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=None if environment is None else dict(environment),
                cwd=folder,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            raise ToolFailed(self._program, "could not be started", str(error)) from error
        pipe = self._process.stdout if output else self._process.stdin
        if pipe is None:
            raise AssertionError("a pipe was asked for")
        self._pipe = pipe
        with contextlib.suppress(OSError):  # the user's pages for pipes are spent: slower
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        os.set_blocking(pipe.fileno(), False)
        self._drain = threading.Thread(target=self._drain_stderr, name="stderr", daemon=True)
        self._drain.start()

    def _drain_stderr(self) -> None:
        stderr = self._process.stderr
        if stderr is None:
            return
        with stderr:
            while chunk := stderr.read(PIPE_BYTES):
                self._tail += chunk
                del self._tail[:-_TAIL_BYTES]

    def _wait_ready(self, event: int, stop: Stop) -> None:
        poll = select.poll()
        poll.register(self._pipe, event)
        stop.register(poll)
        poll.poll()
        stop.check()

    def finish(self, stop: Stop) -> None:
        """Wait for the end. Raises ToolFailed, what the check raises, what `stop` is set to."""
        with contextlib.suppress(BrokenPipeError):
            self._pipe.close()
        while True:
            try:
                self._process.wait(0.05 if self._process.poll() is None else 0)
                break
            except subprocess.TimeoutExpired:
                stop.check()
        self._drain.join(_TERMINATE_S)  # a grandchild may hold stderr open
        self._check(Ending(self._program, self._process.returncode, self._text()))

    def _text(self) -> str:
        return bytes(self._tail).decode(errors="replace")

    def kill(self) -> None:
        """SIGTERM to the group, SIGKILL three seconds later; returns when it is gone."""
        if self._process.returncode is None and self._process.poll() is None:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_TERMINATE_S)
        self._signal(signal.SIGKILL)  # also what the tool left behind in its group
        self._process.wait()
        with contextlib.suppress(BrokenPipeError):
            self._pipe.close()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


class ChildSource(_Child):
    """A tool whose stdout is the stream."""

    def __init__(
        self,
        argv: Sequence[str],
        check: Check = Ending.require_success,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        """`check` judges the end: exit status and last words. No secret belongs in `argv`."""
        super().__init__(argv, check, environment, folder, output=True)

    def readinto(self, into: memoryview, stop: Stop) -> int:
        while True:
            try:
                return os.readv(self._pipe.fileno(), [into])
            except BlockingIOError:
                self._wait_ready(select.POLLIN, stop)


class ChildSink(_Child):
    """A tool that takes the stream on stdin."""

    def __init__(
        self,
        argv: Sequence[str],
        check: Check = Ending.require_success,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        super().__init__(argv, check, environment, folder, output=False)

    def write(self, data: Buffer, stop: Stop) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._pipe.fileno(), view) :]
            except BlockingIOError:
                self._wait_ready(select.POLLOUT, stop)
            except BrokenPipeError:
                self.finish(stop)  # its own reason is better than ours
                raise ToolFailed(
                    self._program, "stopped reading", last_words(self._text())
                ) from None


class FileSink:
    """A new file, durable when `finish` returns; no file is left of what did not finish."""

    def __init__(self, path: Path, mode: int = 0o640) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._path = path
        self._file = open(os.open(path, flags, mode), "wb", buffering=0)  # noqa: SIM115 - finish, kill

    def write(self, data: Buffer, stop: Stop) -> None:
        stop.check()
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]

    def finish(self, stop: Stop) -> None:
        stop.check()
        os.fsync(self._file.fileno())
        self._file.close()

    def kill(self) -> None:
        if not self._file.closed:
            self._file.close()
            self._path.unlink(missing_ok=True)


class NullSink:
    """Takes everything: for a backup that is only read to prove it."""

    def write(self, data: Buffer, stop: Stop) -> None:
        stop.check()

    def finish(self, stop: Stop) -> None:
        pass

    def kill(self) -> None:
        pass


def last_words(tail: str) -> str:
    """The end of what a tool said, on one line."""
    return " ".join(tail.split())[-_LAST_WORDS_CHARS:]
