"""A snapshot of a Redis as a replica gets it: the RDB that a forked child sends as it writes it.

Why not BGSAVE and its file: that file needs the room of the data once more, on a volume that holds
the append-only file already, and it takes the place of the `dump.rdb` that may be the data. This
way nothing is written on the volume, and the snapshot is of one moment too, that of the fork. Why
not `redis-cli --rdb -`, which does the same: it writes the mark that ends the transfer behind the
snapshot, and its exit status does not tell a snapshot from a part of one on every release.

Protocol: https://redis.io/docs/latest/develop/reference/protocol-spec/ (RESP),
replication.c of Redis 7: `REPLCONF capa eof`, `PSYNC ? -1`, `+FULLRESYNC <id> <offset>`, then
`$EOF:<40 bytes>` and a stream that these 40 bytes end, or `$<length>`; newlines keep it alive.
"""

import select
import socket
from pathlib import Path
from typing import Final

import hiredis

from coffer_common.errors import Transient
from coffer_guest.engines.base import EngineUnavailable
from coffer_guest.engines.redis.session import translate
from coffer_guest.pipeline.stop import Stop

_MARK_BYTES: Final = 40
_CHUNK_BYTES: Final = 1 << 20
_MAX_LINE_BYTES: Final = 1 << 16
_SILENCE_S: Final = 120.0  # the server sends newlines each second while the child gets ready
_MAGIC: Final = b"REDIS"
_EOF: Final = 0xFF  # opcode; a checksum of 8 bytes follows, and nothing else
_TRAILER_BYTES: Final = 9
_CUT: Final = "the server ended the connection before the snapshot was whole"


class RedisSnapshot:
    """A Source. `position` is known from the first byte on."""

    def __init__(self, path: Path, user: str, password: str, stop: Stop) -> None:
        """Ask for the snapshot. Raises EngineUnavailable, UserError, what `stop` is set to."""
        self.position: dict[str, str] = {}
        self._buffer = bytearray()
        self._mark: bytes | None = None
        self._left_bytes: int | None = None  # of the snapshot, where its length was told
        self._ended = False
        self._begun = False
        self._tail = bytearray()  # of what was delivered
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(str(path))
            self._socket.setblocking(False)
            for command in (
                ("AUTH", user, password),
                ("REPLCONF", "capa", "eof"),
                ("REPLCONF", "rdb-only", "1"),  # no changes after the snapshot: none to keep
            ):
                self._send(command)
                self._status(self._line(stop))
            self._send(("PSYNC", "?", "-1"))
            self._read_header(stop)
        except OSError as error:
            self._socket.close()
            raise EngineUnavailable(f"the server does not answer: {error}") from error
        except BaseException:
            self._socket.close()
            raise

    def readinto(self, into: memoryview, stop: Stop) -> int:
        while not self._ended and self._ready_bytes() == 0:
            self._receive(stop)
            self._judge_end()
        count = min(self._ready_bytes(), len(into))
        into[:count] = self._buffer[:count]
        del self._buffer[:count]
        self._note(into[:count])
        if self._left_bytes is not None:
            self._left_bytes -= count
            self._ended = self._left_bytes == 0
        return count

    def finish(self, stop: Stop) -> None:
        """Raises Transient unless it is a whole snapshot."""
        stop.check()
        self._socket.close()
        if not self._ended or len(self._tail) < _TRAILER_BYTES or self._tail[0] != _EOF:
            raise Transient("what the server sent is no whole snapshot")

    def kill(self) -> None:
        self._socket.close()

    # --- the transfer -----------------------------------------------------------------------------
    def _ready_bytes(self) -> int:
        """What can be delivered: the last 40 bytes may be the mark, until the end is known."""
        if self._mark is None or self._ended:
            return len(self._buffer)
        return max(0, len(self._buffer) - _MARK_BYTES)

    def _judge_end(self) -> None:
        # the mark comes last, and the server then waits for us: nothing can follow it
        if self._mark is not None and self._buffer.endswith(self._mark):
            del self._buffer[-_MARK_BYTES:]
            self._ended = True

    def _note(self, delivered: memoryview) -> None:
        if not self._begun and len(delivered):
            if bytes(delivered[: len(_MAGIC)]) != _MAGIC[: len(delivered)]:
                raise Transient("what the server sent is no snapshot")
            self._begun = True
        self._tail += delivered[-_TRAILER_BYTES:]
        del self._tail[:-_TRAILER_BYTES]

    # --- the conversation -------------------------------------------------------------------------
    def _send(self, words: tuple[str, ...]) -> None:
        # so few bytes always fit into the socket's buffer
        self._socket.sendall(hiredis.pack_command(words))  # type: ignore[arg-type] # its stub names a tuple of one

    def _read_header(self, stop: Stop) -> None:
        words = self._status(self._line(stop)).split()
        if len(words) != 3 or words[0] != "FULLRESYNC":
            raise Transient(f"the server offers no snapshot: {' '.join(words)}")
        self.position = {"replicationId": words[1], "replicationOffset": words[2]}
        size = self._line(stop)
        if size.startswith("$EOF:") and len(size) == len("$EOF:") + _MARK_BYTES:
            self._mark = size.removeprefix("$EOF:").encode()
        elif size[:1] == "$" and size[1:].isdecimal():
            self._left_bytes = int(size[1:])
        else:
            raise Transient(f"the server offers no snapshot: {size[:80]}")
        self._judge_end()

    def _line(self, stop: Stop) -> str:
        """The next line that is not empty: those keep the connection alive."""
        while True:
            end = self._buffer.find(b"\n")
            if end >= 0:
                line = bytes(self._buffer[:end]).decode(errors="replace").strip()
                del self._buffer[: end + 1]
                if line:
                    return line
            elif len(self._buffer) > _MAX_LINE_BYTES:
                raise Transient("the server's answer is no line")
            else:
                self._receive(stop)

    @staticmethod
    def _status(line: str) -> str:
        if line.startswith("-"):
            raise translate(line[1:])
        return line[1:]

    def _receive(self, stop: Stop) -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        stop.register(poll)
        ready = poll.poll(_SILENCE_S * 1000)
        stop.check()
        if not ready:
            raise EngineUnavailable(f"the server has been silent for {_SILENCE_S:.0f} s")
        try:
            data = self._socket.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            raise EngineUnavailable(f"{_CUT}: {error}") from error
        if not data:
            raise EngineUnavailable(_CUT)
        self._buffer += data
