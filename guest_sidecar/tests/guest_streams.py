"""Streams in memory, and what is asked of them."""

from typing import Final

from coffer_guest.pipeline import archive
from coffer_guest.pipeline.archive import Location
from coffer_guest.pipeline.codec import Compression
from coffer_guest.pipeline.keys import KeyRing
from coffer_guest.pipeline.manifest import Manifest
from coffer_guest.pipeline.read import ReadOptions
from coffer_guest.pipeline.stop import Stop
from coffer_guest.pipeline.write import WriteOptions
from guest_backups import (
    HERE,
    BytesSink,
    BytesSource,
    MemoryStore,
    facts,
    our_threads,
    ring,
)

OTHER: Final = Location.of("some/prefix", "5f0c", "b2")


BLOCK: Final = 4096  # the format is the same for every size, and tests are quicker


PART: Final = 5 * BLOCK


SIZE: Final = 12 * BLOCK


PLAIN: Final = WriteOptions(compression=Compression.NONE, part_bytes=PART, block_bytes=BLOCK)


def save(
    store: MemoryStore,
    data: bytes,
    where: Location = HERE,
    options: WriteOptions = PLAIN,
    by: KeyRing | None = None,
) -> Manifest:
    with Stop() as stop:
        return archive.save(BytesSource(data), store, where, by or ring(), facts, options, stop)


def load(
    store: MemoryStore,
    where: Location = HERE,
    by: KeyRing | None = None,
    digest: str | None = None,
) -> bytes:
    """The plain stream; whatever happens, the sink is finished only if it is whole."""
    sink = BytesSink()
    with Stop() as stop:
        try:
            backup = archive.open_backup(store, where, by or ring(), stop, digest)
            archive.restore(backup, store, sink, ReadOptions(), stop)
        except BaseException:
            assert not sink.finished
            raise
        finally:
            assert our_threads() == []
    assert sink.finished
    return bytes(sink.data)
