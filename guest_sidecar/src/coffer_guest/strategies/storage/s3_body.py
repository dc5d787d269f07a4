"""The body of an upload's request: a buffer that is sent in pieces and can be stopped.

A whole buffer given to `sendall` has one time-out for all of it, whatever the link's speed, and
cannot be interrupted. A file-like body is sent piece by piece: each has the time-out for itself.
"""

import io
from typing import Final

from coffer_guest.pipeline.codec import Buffer
from coffer_guest.pipeline.stop import Stop

_PIECE_BYTES: Final = 256 << 10


class PartBody(io.RawIOBase):
    """Reads from a buffer without copying it; a `read` gives at least a piece if there is one.

    HTTP clients ask for some KiB at a time and send what they get; longer pieces cost a tenth of
    the processor time.
    """

    def __init__(self, buffer: Buffer, stop: Stop) -> None:
        super().__init__()
        self._view = memoryview(buffer)
        self._size_bytes = len(buffer)
        self._position = 0
        self._stop = stop

    def read(self, size: int = -1) -> bytes:
        self._stop.check()
        end = self._size_bytes if size < 0 else self._position + max(size, _PIECE_BYTES)
        piece = self._view[self._position : end]
        self._position += len(piece)
        return piece  # type: ignore[return-value]  # bytes-like is what a socket takes

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size_bytes}
        self._position = max(0, base[whence] + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def __len__(self) -> int:
        return self._size_bytes
