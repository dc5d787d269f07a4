"""The read path: one sealed object to a sink.

    threads                        this thread                    threads
    ranges of 8 MiB (four)  ─────▶ find the records     ─────────▶ open + decompress
                                   blocks in order      ◀─────────
                                   the sink
                                                        ─────────▶ SHA-256, where asked for

Nothing reaches the sink that did not authenticate in its place; that the stream is whole is known
at its end only, so a sink's content counts when `read_stream` has returned, and not before.
"""

import contextlib
import hashlib
import threading
import zlib
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import Final

from coffer_common.errors import Transient
from coffer_guest.pipeline.codec import Buffer
from coffer_guest.pipeline.failures import Damaged, Missing, gone, wrong_size
from coffer_guest.pipeline.frames import (
    LENGTH,
    MAX_HEADER_BYTES,
    Header,
    Opener,
    OpenErrors,
    decode_header,
    decode_length,
)
from coffer_guest.pipeline.keys import DataKey
from coffer_guest.pipeline.manifest import DataObject, Manifest
from coffer_guest.pipeline.process import Sink
from coffer_guest.pipeline.rate import RateLimit
from coffer_guest.pipeline.stages import Stage, default_workers
from coffer_guest.pipeline.stop import Progress, Stop, unheard
from coffer_guest.pipeline.store import ObjectStore

_RANGE_BYTES: Final = 8 << 20
_SPARE_BLOCKS: Final = 12


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How to read.

    Each block is authenticated in its place whatever is chosen: `digest` could only find a fault
    of the writer's own, and is for backups that are read to prove them.
    """

    downloads: int = 4
    workers: int | None = None  # one per processor
    rate_bytes_per_s: int | None = None  # of stored bytes
    digest: bool = False  # also compare the plain stream's SHA-256, at a quarter more time
    progress: Progress = unheard


class _Unopened(Exception):
    """A record that does not authenticate, or whose length cannot be."""

    def __init__(self, number: int, offset_bytes: int) -> None:
        super().__init__(number)
        self.number = number
        self.offset_bytes = offset_bytes


class Ranges:
    """An object's bytes in order, downloaded in parallel ahead of who takes them."""

    def __init__(
        self, store: ObjectStore, key: str, size_bytes: int, options: ReadOptions, stop: Stop
    ) -> None:
        self._store = store
        self._key = key
        self._size_bytes = size_bytes
        self._stop = stop
        self._rate = RateLimit(options.rate_bytes_per_s)
        self._asked_bytes = 0
        self._current = memoryview(b"")
        self.stage: Stage[bytearray] = Stage(
            "download", options.downloads, options.downloads + 1, stop
        )
        self.offset_bytes = 0  # of what is taken next

    def take(self, size_bytes: int) -> Buffer:
        """The next bytes; fewer only at the object's end. A view where that needs no copy."""
        if len(self._current) >= size_bytes:
            taken: Buffer = self._current[:size_bytes]
            self._current = self._current[size_bytes:]
            self.offset_bytes += size_bytes
            return taken
        joined = bytearray(self._current)
        while len(joined) < size_bytes and self._advance():
            wanted = size_bytes - len(joined)
            joined += self._current[:wanted]
            self._current = self._current[wanted:]
        self.offset_bytes += len(joined)
        return joined

    def give_back(self, data: bytes) -> None:
        """Put bytes that were taken last before what is taken next."""
        self._current = memoryview(data + bytes(self._current))
        self.offset_bytes -= len(data)

    def _advance(self) -> bool:
        while not self.stage.full and self._asked_bytes < self._size_bytes:
            size_bytes = min(_RANGE_BYTES, self._size_bytes - self._asked_bytes)
            self._rate.take(size_bytes, self._stop)
            self.stage.submit(partial(self._download, self._asked_bytes, size_bytes))
            self._asked_bytes += size_bytes
        if not len(self.stage):
            return False
        self._current = memoryview(self.stage.next())
        return True

    def _download(self, offset_bytes: int, size_bytes: int) -> bytearray:
        buffer = bytearray(size_bytes)
        with memoryview(buffer) as view:
            self._store.read_range(self._key, offset_bytes, view, self._stop)
        return buffer


class _Reader:
    """The coordinating thread's state."""

    def __init__(
        self, header: Header, key: bytes, sink: Sink, options: ReadOptions, stop: Stop
    ) -> None:
        workers = options.workers or default_workers()
        depth = workers + _SPARE_BLOCKS
        self.header = header
        self._key = key
        self._sink = sink
        self._stop = stop
        self._local = threading.local()
        self._sha256 = hashlib.sha256() if options.digest else None
        self._flight: deque[tuple[int, int]] = deque()  # number and offset of records
        self.opening: Stage[bytes | None] = Stage("open", workers, depth, stop)
        self.digesting: Stage[None] = Stage("digest", 1, depth, stop)
        self.plain_bytes = 0

    def put(self, number: int, offset_bytes: int, sealed: Buffer, last: bool) -> None:
        while self.opening.full:
            self.deliver()
        self.opening.submit(partial(self._open, number, sealed, last))
        self._flight.append((number, offset_bytes))

    def _open(self, number: int, sealed: Buffer, last: bool) -> bytes | None:
        opener: Opener | None = getattr(self._local, "opener", None)
        if opener is None:
            opener = self._local.opener = Opener(self.header, self._key)
        try:
            return opener.open(number, sealed, last)
        except OpenErrors:
            return None  # judged in order: the first damage is what gets named

    def deliver(self) -> None:
        """Hand the oldest block to the sink."""
        block = self.opening.next()
        number, offset_bytes = self._flight.popleft()
        if block is None:
            raise _Unopened(number, offset_bytes)
        if self._sha256 is not None:
            while self.digesting.full:
                self.digesting.next()
            self.digesting.submit(partial(self._sha256.update, block))
        self._sink.write(block, self._stop)
        self.plain_bytes += len(block)

    def drain(self) -> str | None:
        """Everything is with the sink; the plain stream's SHA-256 if it was asked for."""
        while len(self.opening):
            self.deliver()
        while len(self.digesting):
            self.digesting.next()
        return None if self._sha256 is None else self._sha256.hexdigest()


def check_object(store: ObjectStore, key: str, data: DataObject, stop: Stop) -> None:
    """The object is there, with the manifest's size. Raises Damaged."""
    try:
        found = store.head(key, stop)
    except Missing:
        raise gone(key) from None
    if found.size_bytes != data.size_bytes:
        raise wrong_size(key, found.size_bytes, data.size_bytes)


def read_stream(
    store: ObjectStore,
    key: str,
    manifest: Manifest,
    data_key: DataKey,
    sink: Sink,
    options: ReadOptions,
    stop: Stop,
) -> None:
    """Deliver the plain stream of object `key` to the sink, and finish the sink.

    `manifest` is authentic (`manifest.decode`). Raises Damaged, naming what is wrong and where;
    Transient where the store gave other bytes than it holds; what the sink raises; what `stop` is
    set to. After any error the sink is killed.
    """
    data = manifest.data
    try:
        check_object(store, key, data, stop)
        with contextlib.ExitStack() as stack:
            inner = stack.enter_context(Stop(stop))
            ranges = Ranges(store, key, data.size_bytes, options, inner)
            stack.enter_context(ranges.stage)
            header = _read_header(ranges, key, manifest)
            reader = _Reader(header, data_key.for_data, sink, options, inner)
            stack.enter_context(reader.opening)
            stack.enter_context(reader.digesting)
            _copy(ranges, reader, data, options.progress)
            digest = reader.drain()
        if reader.plain_bytes != data.plain_bytes or digest not in {None, data.plain_sha256}:
            raise Damaged(f"{key} opens, but its content is not what the manifest says")
        sink.finish(stop)
        options.progress(reader.plain_bytes, data.size_bytes)
    except _Unopened as unopened:
        raise _diagnose(store, key, data, unopened, stop) from None
    except Missing:
        raise gone(key) from None
    finally:
        sink.kill()


def _read_header(ranges: Ranges, key: str, manifest: Manifest) -> Header:
    text = bytes(ranges.take(min(MAX_HEADER_BYTES, manifest.data.size_bytes)))
    header, length = decode_header(text)
    if header.backup_id != manifest.id:
        raise Damaged(f"{key} is the data of backup {header.backup_id}, not of {manifest.id}")
    if header.digest.hex() != manifest.data.header_sha256:
        raise Damaged(
            f"{key} and its manifest were not written together: one of them was replaced by that "
            f"of another attempt, or the header was altered"
        )
    ranges.give_back(text[length:])
    return header


def _copy(ranges: Ranges, reader: _Reader, data: DataObject, progress: Progress) -> None:
    last = False
    number = 0
    while not last:
        offset_bytes = ranges.offset_bytes
        try:
            length, last = decode_length(ranges.take(LENGTH.size), reader.header)
        except Damaged:
            reader.drain()  # an earlier record may be the first that is wrong
            raise _Unopened(number, offset_bytes) from None
        sealed = ranges.take(length)
        if len(sealed) != length:
            reader.drain()
            raise _Unopened(number, offset_bytes)
        reader.put(number, offset_bytes, sealed, last)
        number += 1
        progress(reader.plain_bytes, ranges.offset_bytes)
    if ranges.offset_bytes != data.size_bytes or number != data.records:
        reader.drain()
        raise _Unopened(number - 1, offset_bytes)


def _diagnose(
    store: ObjectStore, key: str, data: DataObject, unopened: _Unopened, stop: Stop
) -> Damaged | Transient:
    """Name the part: read it once more and hold it to the manifest's checksum."""
    start_bytes = 0
    for number, part in enumerate(data.parts, 1):
        end_bytes = start_bytes + part.size_bytes
        # a record may end in the next part, and only that may be wrong
        if end_bytes > unopened.offset_bytes:
            found = _checksum_of(store, key, start_bytes, part.size_bytes, stop)
            if found != part.crc32:
                return Damaged(
                    f"{key}, part {number} of {len(data.parts)} (bytes {start_bytes} to "
                    f"{end_bytes - 1}) is not what was written: damaged, or replaced by other "
                    f"bytes such as another backup's part; record {unopened.number} of "
                    f"{data.records} does not authenticate"
                )
        if start_bytes > unopened.offset_bytes + LENGTH.size:
            break
        start_bytes = end_bytes
    return Transient(
        f"{key}: record {unopened.number} at byte {unopened.offset_bytes} arrived damaged, though "
        f"what is stored has the right checksum"
    )


def _checksum_of(
    store: ObjectStore, key: str, start_bytes: int, size_bytes: int, stop: Stop
) -> str:
    checksum = 0
    buffer = bytearray(min(_RANGE_BYTES, size_bytes))
    done_bytes = 0
    while done_bytes < size_bytes:
        with memoryview(buffer) as whole:
            view = whole[: size_bytes - done_bytes]
            store.read_range(key, start_bytes + done_bytes, view, stop)
            checksum = zlib.crc32(view, checksum)
            done_bytes += len(view)
            view.release()
    return f"{checksum:08x}"
