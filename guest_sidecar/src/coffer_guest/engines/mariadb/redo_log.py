"""InnoDB's redo log as MariaDB 10.8 and later keep it (MDEV-14425): a header, then a ring.

A server that finds it smaller than configured makes it anew, which takes it a tenth of a second.
The header does not say how large the ring is, so a log that has not come round yet may as well be
made longer at its end: each record stays where a server looks for it. Whatever differs from that
is left to the server.
"""

import os
from pathlib import Path
from typing import Final

FILE: Final = "ib_logfile0"

_FORMAT: Final = b"Phys"
_FIRST_LSN: Final = slice(8, 16)
_CHECKPOINTS: Final = (slice(4096 + 8, 4096 + 16), slice(8192 + 8, 8192 + 16))  # where they end
_HEADER_BYTES: Final = 12288
_BLOCK_BYTES: Final = 4096


def grow(path: Path, size_bytes: int) -> bool:
    """Give a log its size, before its first server; False if it is left as it is. Raises OSError.

    The server that wrote it must have been shut down, and none may run.
    """
    with open(path, "r+b", buffering=0) as file:
        present_bytes = os.fstat(file.fileno()).st_size
        if size_bytes <= present_bytes or size_bytes % _BLOCK_BYTES:
            return False
        header = file.read(_HEADER_BYTES)
        if len(header) < _HEADER_BYTES or not header.startswith(_FORMAT):
            return False
        written_bytes = max(_number(header[end]) for end in _CHECKPOINTS)
        written_bytes -= _number(header[_FIRST_LSN])
        if not 0 <= written_bytes < present_bytes - _HEADER_BYTES - _BLOCK_BYTES:
            return False
        os.posix_fallocate(file.fileno(), 0, size_bytes)
    return True


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")
