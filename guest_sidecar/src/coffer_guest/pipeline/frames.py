"""The format of the `data` object: a header, then sealed records.

    header  = magic "COFFER" | version u8 | compression u8 | block size u32 | nonce prefix 7 bytes
              | length of the backup's id u8 | the backup's id (UTF-8)
    record  = u32 (top bit: last record; the rest: length of what follows) | AES-256-GCM(block)

Integers are big-endian. The construction is STREAM (Hoang, Reyhanitabar, Rogaway, Vizár 2015,
"Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance"): a record's nonce is
prefix | counter u32 | last flag u8, and its associated data is SHA-256 of the header. So a record
that is moved, repeated, left out, cut or of another backup does not open, and neither does a
stream without its end. Each backup has a key of its own.
"""

import hashlib
import struct
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from coffer_guest.pipeline.codec import Buffer, Codec, CodecError, Compression, codec
from coffer_guest.pipeline.failures import Damaged

BLOCK_BYTES: Final = 1 << 20
TAG_BYTES: Final = 16
LENGTH: Final = struct.Struct(">I")
CIPHER: Final = "AES-256-GCM-STREAM"
PREFIX_BYTES: Final = 7
MAX_HEADER_BYTES: Final = 20 + 255

_MAGIC: Final = b"COFFER"
_VERSION: Final = 1
_HEAD: Final = struct.Struct(f">6sBBI{PREFIX_BYTES}sB")
_NONCE: Final = struct.Struct(f">{PREFIX_BYTES}sIB")
_LAST: Final = 1 << 31
_MAX_BLOCK_BYTES: Final = 64 << 20
_CODES: Final = {Compression.NONE: 0, Compression.ZSTD: 1, Compression.LZ4: 2}
_BY_CODE: Final = {code: compression for compression, code in _CODES.items()}


@dataclass(frozen=True, slots=True)
class Header:
    """What a stream says of itself; all of it is authenticated with every record."""

    backup_id: str
    nonce_prefix: bytes
    compression: Compression = Compression.ZSTD
    block_bytes: int = BLOCK_BYTES

    def encode(self) -> bytes:
        name = self.backup_id.encode()
        fixed = (_MAGIC, _VERSION, _CODES[self.compression], self.block_bytes)
        return _HEAD.pack(*fixed, self.nonce_prefix, len(name)) + name

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.encode()).digest()


def decode_header(data: Buffer) -> tuple[Header, int]:
    """The header at the beginning of `data`, and its length in bytes. Raises Damaged."""
    try:
        magic, version, code, block_bytes, prefix, length = _HEAD.unpack_from(data)
        name = bytes(data[_HEAD.size : _HEAD.size + length]).decode()
    except (struct.error, UnicodeDecodeError) as error:
        raise Damaged("the data has no readable header") from error
    if magic != _MAGIC or len(name.encode()) != length:
        raise Damaged("the data does not begin with a backup's header")
    if version != _VERSION or code not in _BY_CODE:
        raise Damaged(
            f"the data has format {version}, compression {code}: written by a newer release?",
            "BackupFormatUnknown",
        )
    if not 0 < block_bytes <= _MAX_BLOCK_BYTES:
        raise Damaged(f"the data's header speaks of blocks of {block_bytes} bytes")
    return Header(name, prefix, _BY_CODE[code], block_bytes), _HEAD.size + length


class Sealer:
    """Blocks to records. One per thread: it holds a compression context."""

    def __init__(self, header: Header, key: bytes, level: int) -> None:
        self._codec: Codec = codec(header.compression, level)
        self._cipher = AESGCM(key)
        self._prefix = header.nonce_prefix
        self._digest = header.digest

    def seal(self, number: int, block: Buffer, last: bool) -> tuple[bytes, bytes]:
        """Record `number` (from 0), as its length field and the rest."""
        nonce = _nonce(self._prefix, number, last)
        sealed = self._cipher.encrypt(nonce, self._codec.compress(block), self._digest)
        return LENGTH.pack(len(sealed) | (_LAST if last else 0)), sealed


class Opener:
    """Records to blocks. One per thread."""

    def __init__(self, header: Header, key: bytes) -> None:
        self._codec: Codec = codec(header.compression)
        self._cipher = AESGCM(key)
        self._prefix = header.nonce_prefix
        self._digest = header.digest
        self._block_bytes = header.block_bytes

    def open(self, number: int, sealed: Buffer, last: bool) -> bytes:
        """The block of record `number`. Raises InvalidTag, or CodecError for a writer's fault."""
        nonce = _nonce(self._prefix, number, last)
        packed = self._cipher.decrypt(nonce, sealed, self._digest)
        return self._codec.decompress(packed, self._block_bytes)


#: What `Opener.open` raises.
OpenErrors: Final = (InvalidTag, CodecError)


def decode_length(field: Buffer, header: Header) -> tuple[int, bool]:
    """Length of a record's sealed part, and whether it is the last. Raises Damaged.

    The field itself is not authenticated: a wrong one leads to a record that does not open. The
    bound keeps it from asking for memory.
    """
    if len(field) != LENGTH.size:
        raise Damaged("the data ends without its last record")
    (value,) = LENGTH.unpack(field)
    length, last = value & ~_LAST, bool(value & _LAST)
    # what does not compress grows a little: zstd and lz4 by less than 1/128 and 1 KiB
    bound = header.block_bytes + header.block_bytes // 128 + 1024 + TAG_BYTES
    if not TAG_BYTES <= length <= bound:
        raise Damaged(f"a record of {length} bytes")
    return length, last


def _nonce(prefix: bytes, number: int, last: bool) -> bytes:
    if number >= 1 << 32:  # 4 PiB of 1 MiB blocks
        raise OverflowError("a stream of 2^32 records is full")
    return _NONCE.pack(prefix, number, last)
