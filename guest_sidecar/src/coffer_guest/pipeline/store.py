"""What the data path asks of an object store; the storage strategies are such stores.

Every method may block, retries by itself what is worth retrying, ends when `stop` is set, and
raises: Transient (unreachable, 5xx, time-outs, after its own retries), UserError (credentials,
bucket, space), Missing, UploadLost. All methods may be called from several threads at once.
"""

import base64
import datetime
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from coffer_guest.pipeline.codec import Buffer
from coffer_guest.pipeline.stop import Stop


@dataclass(frozen=True, slots=True)
class Upload:
    """A multipart upload that is neither complete nor aborted."""

    key: str
    id: str
    started_at: datetime.datetime


@dataclass(frozen=True, slots=True)
class Part:
    """A part the store has acknowledged; `tag` is the store's own name for its content."""

    number: int  # from 1
    offset_bytes: int
    size_bytes: int
    crc32: bytes  # as `crc32` gives it
    tag: str


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object as listed or asked for. `checksum` as `composite_checksum`, where it is known."""

    key: str
    size_bytes: int
    modified_at: datetime.datetime
    checksum: str | None = None


class ObjectStore(Protocol):
    """Objects by key, `/` between the key's segments."""

    def create_upload(self, key: str, stop: Stop) -> str:
        """The new upload's id."""

    def upload_part(
        self, key: str, upload_id: str, number: int, offset_bytes: int, body: Buffer, stop: Stop
    ) -> Part:
        """Store one part; `offset_bytes` is where it lies in the whole object."""

    def complete_upload(self, key: str, upload_id: str, parts: Sequence[Part], stop: Stop) -> None:
        """Make the object of its parts, in order. Once more after success is a success."""

    def abort_upload(self, key: str, upload_id: str, stop: Stop) -> None:
        """Forget the upload and its parts; an unknown one is no error."""

    def uploads(self, prefix: str, stop: Stop) -> Iterator[Upload]:
        """Unfinished uploads whose key begins with `prefix`."""

    def put_small(self, key: str, data: bytes, stop: Stop) -> None:
        """Store a small object whole or not at all."""

    def get_small(self, key: str, limit_bytes: int, stop: Stop) -> bytes:
        """A whole object; Permanent if it is larger than the limit."""

    def read_range(self, key: str, offset_bytes: int, into: memoryview, stop: Stop) -> None:
        """Fill `into` from the offset on; Permanent if the object ends before."""

    def head(self, key: str, stop: Stop) -> ObjectInfo:
        """Size and, where the store keeps one, checksum."""

    def list(self, prefix: str, stop: Stop) -> Iterator[ObjectInfo]:
        """All objects whose key begins with `prefix`, by key, without checksums."""

    def delete(self, key: str, stop: Stop) -> None:
        """An unknown key is no error."""


def composite_checksum(parts: Sequence[Part]) -> str:
    """The CRC-32 of an object in parts, as S3 gives it: of the parts' checksums, then `-count`."""
    checksum = crc32(b"".join(part.crc32 for part in parts))
    return f"{base64.b64encode(checksum).decode()}-{len(parts)}"


def crc32(data: Buffer) -> bytes:
    """Against accidents on the way; against everything else each record is authenticated.

    SHA-256 would cost a tenth of a backup's processor time.
    """
    return zlib.crc32(data).to_bytes(4)
