"""The engine's output: passed on to the container's own, and kept in a bounded log on the volume.

Never makes the engine wait: what the container's output does not take at once is dropped (and
counted), and a log that cannot be written is given up for that piece.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select

CHUNK_BYTES = 65536
_PIPE_BYTES = 1 << 20
_F_SETPIPE_SZ = 1031
_ATOMIC_BYTES = 4096  # PIPE_BUF: a pipe that polls as writable takes this much without blocking


class Log:
    """`path` and one older file `path`.1, each of at most `limit_bytes`."""

    def __init__(self, path: str, limit_bytes: int = 8 << 20) -> None:
        self.path = path
        self.limit_bytes = limit_bytes
        self._fd: int | None = None
        self._size = 0

    def write(self, data: bytes) -> None:
        """Append; errors (a full volume) cost this piece, not the engine."""
        try:
            if self._fd is None:
                self._open()
            elif self._size + len(data) > self.limit_bytes:
                self._rotate()
            if self._fd is not None:
                self._size += os.write(self._fd, data)
        except OSError:
            self.close()

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _open(self) -> None:
        os.makedirs(os.path.dirname(self.path), mode=0o750, exist_ok=True)
        self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        self._size = os.fstat(self._fd).st_size

    def _rotate(self) -> None:
        self.close()
        os.replace(self.path, f"{self.path}.1")
        self._open()


class Output:
    """Moves what the engine writes from its pipe to the container's output and to the log."""

    def __init__(self, log: Log, target_fd: int = 1) -> None:
        self.dropped_bytes = 0
        self._log = log
        self._target_fd = target_fd

    def pipe(self) -> tuple[int, int]:
        """A new pipe for an engine process: (our end, its end). Close its end after the spawn."""
        ours, its = os.pipe()
        os.set_blocking(ours, False)
        with contextlib.suppress(OSError):  # over the user's limit: the default size does as well
            fcntl.fcntl(its, _F_SETPIPE_SZ, _PIPE_BYTES)
        return ours, its

    def move(self, fd: int) -> bool:
        """Pass on what is there now; False at the end of the stream."""
        try:
            data = os.read(fd, CHUNK_BYTES)
        except BlockingIOError:
            return True
        if not data:
            return False
        self._log.write(data)
        self._pass_on(data)
        return True

    def _pass_on(self, data: bytes) -> None:
        poll = select.poll()
        poll.register(self._target_fd, select.POLLOUT)
        for start in range(0, len(data), _ATOMIC_BYTES):
            piece = data[start : start + _ATOMIC_BYTES]
            try:
                events = poll.poll(0)
                if not events or not events[0][1] & select.POLLOUT:
                    raise BlockingIOError
                os.write(self._target_fd, piece)
            except OSError:
                self.dropped_bytes += len(data) - start
                return
