"""The write path: a source's bytes to one sealed object.

    this thread                       threads
    read 1 MiB blocks  ──────────────▶ compress + seal (one per processor)
    records in order   ◀──────────────
    part buffers       ──────────────▶ upload (four)
                       ──────────────▶ SHA-256 of the plain stream (one)

Memory: the part buffers (80 MiB), a few blocks per worker, and the interpreter with boto3. The
tool is asked for its exit status before the object is made.
"""

import contextlib
import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from coffer_guest.pipeline.codec import Compression
from coffer_guest.pipeline.frames import BLOCK_BYTES, PREFIX_BYTES, Header, Sealer
from coffer_guest.pipeline.keys import DataKey
from coffer_guest.pipeline.manifest import DataObject, StoredPart
from coffer_guest.pipeline.parts import DEFAULT_PART_BYTES, first_part_bytes
from coffer_guest.pipeline.process import Source
from coffer_guest.pipeline.rate import RateLimit
from coffer_guest.pipeline.stages import Stage, default_workers
from coffer_guest.pipeline.stop import Progress, Stop, unheard
from coffer_guest.pipeline.store import ObjectStore
from coffer_guest.pipeline.upload import Uploader

_SPARE_BLOCKS: Final = 12  # on a busy processor, what threads have to do until they run again


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """How to write; the defaults fit the memory that an agent has."""

    compression: Compression = Compression.ZSTD
    level: int = 1
    part_bytes: int = DEFAULT_PART_BYTES
    uploads: int = 4
    workers: int | None = None  # one per processor
    rate_bytes_per_s: int | None = None  # of stored bytes
    expected_bytes: int | None = None  # of the plain stream: makes parts large enough
    block_bytes: int = BLOCK_BYTES
    progress: Progress = unheard


@dataclass(slots=True)
class _Block:
    """A block on its way. Its buffer is free again when it is sealed and digested."""

    buffer: bytearray
    size_bytes: int


class _Writer:
    """The coordinating thread's state."""

    def __init__(
        self, header: Header, key: bytes, options: WriteOptions, upload: Uploader, stop: Stop
    ) -> None:
        workers = options.workers or default_workers()
        self._header = header
        self._local = threading.local()
        self._make_sealer: Callable[[], Sealer] = lambda: Sealer(header, key, options.level)
        self._upload = upload
        self._stop = stop
        self._rate = RateLimit(options.rate_bytes_per_s)
        depth = workers + _SPARE_BLOCKS
        self.sealing: Stage[tuple[bytes, bytes]] = Stage("seal", workers, depth, stop)
        self.digesting: Stage[None] = Stage("digest", 1, depth, stop)
        self._sha256 = hashlib.sha256()
        self._flight: deque[_Block] = deque()
        self._free: deque[bytearray] = deque()
        self.records = 0
        self.plain_bytes = 0

    def read(self, source: Source) -> _Block:
        """The next block: full, unless the stream ends in it."""
        buffer = self._free.popleft() if self._free else bytearray(self._header.block_bytes)
        size_bytes = 0
        with memoryview(buffer) as view:
            while size_bytes < len(buffer):
                count = source.readinto(view[size_bytes:], self._stop)
                if count == 0:
                    break
                size_bytes += count
        self._stop.check()
        return _Block(buffer, size_bytes)

    def put(self, block: _Block, last: bool) -> None:
        """Seal it; what is sealed meanwhile goes to the upload."""
        while self.sealing.full:
            self.take()
        view = memoryview(block.buffer)[: block.size_bytes]
        self.digesting.submit(partial(self._sha256.update, view))
        self.sealing.submit(partial(self._seal, self.records, view, last))
        self._flight.append(block)
        self.records += 1
        self.plain_bytes += block.size_bytes

    def _seal(self, number: int, view: memoryview, last: bool) -> tuple[bytes, bytes]:
        sealer: Sealer | None = getattr(self._local, "sealer", None)
        if sealer is None:
            sealer = self._local.sealer = self._make_sealer()
        return sealer.seal(number, view, last)

    def take(self) -> None:
        """Hand the oldest record to the upload."""
        length, sealed = self.sealing.next()
        self.digesting.next()
        self._free.append(self._flight.popleft().buffer)
        self._rate.take(len(length) + len(sealed), self._stop)
        self._upload.write(length)
        self._upload.write(sealed)

    def drain(self) -> str:
        """Everything is sealed and handed over; the plain stream's SHA-256."""
        while len(self.sealing):
            self.take()
        return self._sha256.hexdigest()


def write_stream(
    source: Source,
    store: ObjectStore,
    key: str,
    backup_id: str,
    data_key: DataKey,
    options: WriteOptions,
    stop: Stop,
) -> DataObject:
    """Store the source's whole stream as object `key`. Returns what the manifest says of it.

    Raises what the source's finish raises, what the store raises, what `stop` is set to. After
    any error the source is dead and neither object nor upload is left (or, where the store could
    not be reached any more, a stale upload that the sweeper finds).
    """
    header = Header(backup_id, os.urandom(PREFIX_BYTES), options.compression, options.block_bytes)
    first_bytes = first_part_bytes(options.part_bytes, options.expected_bytes)
    with contextlib.ExitStack() as stack:
        stack.callback(source.kill)
        inner = stack.enter_context(Stop(stop))
        upload = stack.enter_context(Uploader(store, key, first_bytes, options.uploads, inner))
        stack.callback(source.kill)  # before the abort takes its time: the tool may hold locks
        upload.write(header.encode())
        writer = _Writer(header, data_key.for_data, options, upload, inner)
        with writer.sealing, writer.digesting:
            _copy(source, writer, upload, options.progress)
            digest = writer.drain()
        source.finish(inner)
        parts = upload.finish()
        options.progress(writer.plain_bytes, upload.size_bytes)
        return DataObject(
            size_bytes=upload.size_bytes,
            plain_bytes=writer.plain_bytes,
            plain_sha256=digest,
            records=writer.records,
            compression=options.compression.value,
            header_sha256=header.digest.hex(),
            parts=tuple(
                StoredPart(size_bytes=part.size_bytes, crc32=part.crc32.hex()) for part in parts
            ),
        )


def _copy(source: Source, writer: _Writer, upload: Uploader, progress: Progress) -> None:
    block = writer.read(source)
    while block.size_bytes == len(block.buffer):
        following = writer.read(source)
        last = following.size_bytes == 0
        writer.put(block, last)
        progress(writer.plain_bytes, upload.size_bytes)
        if last:
            return
        block = following
    writer.put(block, last=True)
