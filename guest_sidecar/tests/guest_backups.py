"""Stores, streams and rings for tests of the data path."""

import datetime
import itertools
import random
import threading
from collections.abc import Iterator, Sequence

from coffer_common.errors import Permanent
from coffer_guest.pipeline.archive import Location
from coffer_guest.pipeline.codec import Buffer
from coffer_guest.pipeline.failures import Missing, UploadLost
from coffer_guest.pipeline.keys import KeyRing
from coffer_guest.pipeline.manifest import DataObject, Facts
from coffer_guest.pipeline.process import Sink, Source
from coffer_guest.pipeline.stop import Stop
from coffer_guest.pipeline.store import ObjectInfo, ObjectStore, Part, Upload, crc32

NOW = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
HERE = Location.of("some/prefix", "5f0c", "b1")


def ring(current: str = "k1", *others: str) -> KeyRing:
    """Each id has its own key, the same in every ring."""
    keys = {key_id: key_id.encode().ljust(32, b".") for key_id in (current, *others)}
    return KeyRing(current, keys)


def facts(_data: DataObject) -> Facts:
    return Facts(
        strategy="test",
        datastore="none",
        engine_version="1",
        created_at="2026-01-01T00:00:00Z",
        finished_at="2026-01-01T00:00:01Z",
    )


def mixed_bytes(size_bytes: int, seed: int = 0) -> bytes:
    """Something that compresses by about half, the same for the same seed."""
    unit = random.Random(seed).randbytes(1500) + bytes(1500)
    return (unit * (size_bytes // len(unit) + 1))[:size_bytes]


class MemoryStore(ObjectStore):
    """Objects in memory, for tests to harm; the storages' contract holds for it too."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.times: dict[str, datetime.datetime] = {}
        self.pending: dict[str, tuple[Upload, bytearray]] = {}
        self._ids = itertools.count()
        self._lock = threading.Lock()

    def copy(self) -> "MemoryStore":
        other = MemoryStore()
        other.objects, other.times = dict(self.objects), dict(self.times)
        return other

    def create_upload(self, key: str, stop: Stop) -> str:
        stop.check()
        upload_id = f"u{next(self._ids)}"
        self.pending[upload_id] = Upload(key, upload_id, NOW), bytearray()
        return upload_id

    def upload_part(
        self, key: str, upload_id: str, number: int, offset_bytes: int, body: Buffer, stop: Stop
    ) -> Part:
        stop.check()
        checksum = crc32(body)
        with self._lock:
            data = self._pending(upload_id)
            data.extend(bytes(max(0, offset_bytes - len(data))))
            data[offset_bytes : offset_bytes + len(body)] = body
        return Part(number, offset_bytes, len(body), checksum, checksum.hex())

    def complete_upload(self, key: str, upload_id: str, parts: Sequence[Part], stop: Stop) -> None:
        stop.check()
        if upload_id not in self.pending and key in self.objects:
            return
        self.objects[key], self.times[key] = bytes(self._pending(upload_id)), NOW
        del self.pending[upload_id]

    def _pending(self, upload_id: str) -> bytearray:
        if upload_id not in self.pending:
            raise UploadLost(upload_id)
        return self.pending[upload_id][1]

    def abort_upload(self, key: str, upload_id: str, stop: Stop) -> None:
        stop.check()
        self.pending.pop(upload_id, None)

    def uploads(self, prefix: str, stop: Stop) -> Iterator[Upload]:
        stop.check()
        return iter([one for one, _ in self.pending.values() if one.key.startswith(prefix)])

    def put_small(self, key: str, data: bytes, stop: Stop) -> None:
        stop.check()
        self.objects[key], self.times[key] = data, NOW

    def get_small(self, key: str, limit_bytes: int, stop: Stop) -> bytes:
        stop.check()
        data = self._object(key)
        if len(data) > limit_bytes:
            raise Permanent(f"{key} has more than {limit_bytes} bytes")
        return data

    def read_range(self, key: str, offset_bytes: int, into: memoryview, stop: Stop) -> None:
        stop.check()
        data = self._object(key)[offset_bytes : offset_bytes + len(into)]
        if len(data) != len(into):
            raise Permanent(f"{key} ends before byte {offset_bytes + len(into)}")
        into[:] = data

    def head(self, key: str, stop: Stop) -> ObjectInfo:
        stop.check()
        return ObjectInfo(key, len(self._object(key)), self.times[key])

    def list(self, prefix: str, stop: Stop) -> Iterator[ObjectInfo]:
        stop.check()
        keys = sorted(key for key in self.objects if key.startswith(prefix))
        return iter([ObjectInfo(key, len(self.objects[key]), self.times[key]) for key in keys])

    def delete(self, key: str, stop: Stop) -> None:
        stop.check()
        self.objects.pop(key, None)

    def _object(self, key: str) -> bytes:
        if key not in self.objects:
            raise Missing(key)
        return self.objects[key]


class BytesSource(Source):
    """A stream from memory, in pieces of the given sizes, over and over."""

    def __init__(self, data: bytes, pieces: Sequence[int] = (1 << 20,)) -> None:
        self._data = memoryview(data)
        self._pieces = self._forever(pieces)
        self.finished = self.killed = False
        self.failure: Exception | None = None

    @staticmethod
    def _forever(pieces: Sequence[int]) -> Iterator[int]:
        while True:
            yield from pieces

    def readinto(self, into: memoryview, stop: Stop) -> int:
        stop.check()
        piece = self._data[: min(next(self._pieces), len(into))]
        into[: len(piece)] = piece
        self._data = self._data[len(piece) :]
        return len(piece)

    def finish(self, stop: Stop) -> None:
        if self.failure is not None:
            raise self.failure
        self.finished = True

    def kill(self) -> None:
        self.killed = True


class BytesSink(Sink):
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.finished = self.killed = False

    def write(self, data: Buffer, stop: Stop) -> None:
        stop.check()
        self.data += data

    def finish(self, stop: Stop) -> None:
        self.finished = True

    def kill(self) -> None:
        self.killed = True


def our_threads() -> list[str]:
    names = ("upload", "seal", "digest", "download", "open", "stderr")
    return [one.name for one in threading.enumerate() if one.name.startswith(names)]
