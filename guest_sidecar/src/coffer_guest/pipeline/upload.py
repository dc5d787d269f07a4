"""One multipart upload: bytes in any amounts, parts out on several threads.

Owns the part buffers. They are made once and used again, and as many parts are in flight as the
memory budget allows. Ends in exactly one of two ways: complete and compared with what the store
says it holds, or aborted, with every trace of the key's uploads.
"""

import logging
from collections import deque
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Final, Self

from coffer_common.errors import CofferError, Permanent, Transient
from coffer_guest.pipeline.codec import Buffer
from coffer_guest.pipeline.parts import MAX_OBJECT_BYTES, MAX_PARTS, MIB, part_bytes
from coffer_guest.pipeline.stages import Stage
from coffer_guest.pipeline.stop import Stop
from coffer_guest.pipeline.store import ObjectStore, Part, composite_checksum

_log = logging.getLogger(__name__)

BUDGET_BYTES: Final = 80 * MIB  # of part buffers: the one being filled, and those on their way
_ABORT_S: Final = 6.0  # a cancelled task has ten seconds in all


class Uploader:
    """The writing end of one object. One thread writes to it."""

    def __init__(
        self, store: ObjectStore, key: str, first_bytes: int, threads: int, stop: Stop
    ) -> None:
        """Makes the upload. `stop` is set at the first error of any part."""
        self._store = store
        self._key = key
        self._first_bytes = first_bytes
        self._stop = stop
        self._parts: list[Part] = []
        self._number = 0
        self._offset_bytes = 0
        self._buffers: deque[bytearray] = deque()
        self._filling: bytearray | None = None
        self._filled_bytes = 0
        self._threads = threads
        self._completing = False
        self._done = False
        self._stage: Stage[tuple[Part, bytearray]] = Stage("upload", threads, threads, stop)
        self._id: str | None = None

    def __enter__(self) -> Self:
        try:
            self._id = self._store.create_upload(self._key, self._stop)
        except CofferError:
            self._abort()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stage.__exit__(kind, error, trace)
        if error is not None or not self._done:
            self._abort()

    @property
    def size_bytes(self) -> int:
        """What was written so far."""
        return self._offset_bytes + self._filled_bytes

    def write(self, data: Buffer) -> None:
        """Append; waits while all buffers are on their way."""
        view = memoryview(data)
        while view:
            buffer = self._filling
            if buffer is None:
                buffer = self._next_buffer()
            taken = min(len(view), len(buffer) - self._filled_bytes)
            end = self._filled_bytes + taken
            buffer[self._filled_bytes : end] = view[:taken]
            self._filled_bytes = end
            view = view[taken:]
            if end == len(buffer):
                self._send(buffer)

    def _next_buffer(self) -> bytearray:
        self._number += 1
        if self._number > MAX_PARTS or self._offset_bytes >= MAX_OBJECT_BYTES:
            raise Permanent(f"{self._key} is larger than an object store takes (5 TiB)")
        size_bytes = part_bytes(self._number, self._first_bytes)
        others = max(1, min(self._threads, BUDGET_BYTES // size_bytes - 1))
        while len(self._stage) > others:
            self._collect()
        if self._buffers and len(self._buffers[0]) != size_bytes:
            self._buffers.clear()
        self._filling = self._buffers.popleft() if self._buffers else bytearray(size_bytes)
        self._filled_bytes = 0
        return self._filling

    def _send(self, buffer: bytearray) -> None:
        while self._stage.full:
            self._collect()
        offset_bytes = self._offset_bytes
        size_bytes = self._filled_bytes
        self._stage.submit(partial(self._upload, self._number, offset_bytes, buffer, size_bytes))
        self._offset_bytes += size_bytes
        self._filling = None
        self._filled_bytes = 0

    def _upload(
        self, number: int, offset_bytes: int, buffer: bytearray, size_bytes: int
    ) -> tuple[Part, bytearray]:
        # never cut to its size: an attempt that failed may still look at the buffer
        body = memoryview(buffer)[:size_bytes]
        if self._id is None:
            raise AssertionError("entered")
        part = self._store.upload_part(self._key, self._id, number, offset_bytes, body, self._stop)
        return part, buffer

    def _collect(self) -> None:
        part, buffer = self._stage.next()
        self._parts.append(part)
        self._buffers.append(buffer)

    def finish(self) -> tuple[Part, ...]:
        """Send the rest, make the object and compare it with what the store holds.

        Raises what the store raises; Transient if the store holds something else.
        """
        if self._id is None:
            raise AssertionError("entered")
        if self._filling is not None and self._filled_bytes:
            self._send(self._filling)
        while len(self._stage):
            self._collect()
        self._completing = True
        self._store.complete_upload(self._key, self._id, self._parts, self._stop)
        _compare(self._store, self._key, self._parts, self._stop)
        self._done = True
        self._sweep()  # a retried request may have made an upload whose id we never heard
        return tuple(self._parts)

    def _sweep(self) -> None:
        with Stop(self._stop, limit_s=_ABORT_S) as stop:
            try:
                abort_uploads(self._store, self._key, stop)
            except CofferError as error:
                self._stop.check()
                _log.warning("uploads of %s cannot be listed: %s", self._key, error)

    def _abort(self) -> None:
        with Stop(limit_s=_ABORT_S) as stop:
            try:
                if self._id is not None:
                    self._store.abort_upload(self._key, self._id, stop)
                abort_uploads(self._store, self._key, stop)
                if self._completing:  # and perhaps complete, but not what was sent
                    self._store.delete(self._key, stop)
            except CofferError as error:
                _log.warning("the upload of %s is left to the sweeper: %s", self._key, error)


def abort_uploads(store: ObjectStore, key: str, stop: Stop) -> int:
    """Abort every unfinished upload of exactly this key; their number."""
    found = [upload for upload in store.uploads(key, stop) if upload.key == key]
    for upload in found:
        store.abort_upload(upload.key, upload.id, stop)
    return len(found)


def _compare(store: ObjectStore, key: str, parts: Sequence[Part], stop: Stop) -> None:
    stored = store.head(key, stop)
    size_bytes = sum(part.size_bytes for part in parts)
    if stored.size_bytes != size_bytes:
        raise Transient(f"{key}: {size_bytes} bytes were sent, the store has {stored.size_bytes}")
    if stored.checksum is not None and stored.checksum != composite_checksum(parts):
        raise Transient(f"{key}: the store's checksum is not that of what was sent")
