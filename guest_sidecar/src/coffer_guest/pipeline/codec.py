"""Compression of single blocks. Every block stands alone, so that blocks scale over cores.

A Codec is used by one thread: zstd's contexts are expensive to make and not to be shared.
"""

from enum import StrEnum
from typing import Protocol

import lz4.frame  # type: ignore[import-untyped]  # it has no stubs
import zstandard

Buffer = bytes | bytearray | memoryview


class Compression(StrEnum):
    """The value is what manifests say."""

    ZSTD = "zstd"
    LZ4 = "lz4"
    NONE = "none"


class CodecError(ValueError):
    """A block does not decompress, or to more than a block holds."""


class Codec(Protocol):
    """Both ways for one block."""

    def compress(self, block: Buffer) -> Buffer: ...

    def decompress(self, data: Buffer, limit_bytes: int) -> bytes:
        """Never yields more than `limit_bytes`; raises CodecError."""


class _Zstd:
    def __init__(self, level: int) -> None:
        self._compressor = zstandard.ZstdCompressor(
            level=level, write_checksum=True, write_content_size=True
        )
        self._decompressor = zstandard.ZstdDecompressor()

    def compress(self, block: Buffer) -> Buffer:
        return self._compressor.compress(block)

    def decompress(self, data: Buffer, limit_bytes: int) -> bytes:
        try:
            size_bytes = zstandard.frame_content_size(data)
            if not 0 <= size_bytes <= limit_bytes:
                raise CodecError(f"a block of {size_bytes} bytes")
            return self._decompressor.decompress(data, max_output_size=limit_bytes)
        except zstandard.ZstdError as error:
            raise CodecError(str(error)) from error


class _Lz4:
    def __init__(self, level: int) -> None:
        self._level = level

    def compress(self, block: Buffer) -> Buffer:
        compressed: bytes = lz4.frame.compress(
            block, compression_level=self._level, content_checksum=True, store_size=True
        )
        return compressed

    def decompress(self, data: Buffer, limit_bytes: int) -> bytes:
        try:
            size_bytes = lz4.frame.get_frame_info(data)["content_size"]
            if size_bytes > limit_bytes:
                raise CodecError(f"a block of {size_bytes} bytes")
            plain: bytes = lz4.frame.decompress(data)
        except RuntimeError as error:
            raise CodecError(str(error)) from error
        if len(plain) != size_bytes:
            raise CodecError("a block of another size than it says")
        return plain


class _Plain:
    def compress(self, block: Buffer) -> Buffer:
        return block

    def decompress(self, data: Buffer, limit_bytes: int) -> bytes:
        if len(data) > limit_bytes:
            raise CodecError(f"a block of {len(data)} bytes")
        return bytes(data)


def codec(compression: Compression, level: int = 1) -> Codec:
    """A new Codec; `level` is the library's own scale, and none has no levels."""
    match compression:
        case Compression.ZSTD:
            return _Zstd(level)
        case Compression.LZ4:
            return _Lz4(level)
        case Compression.NONE:
            return _Plain()
