"""The format of the data: what opens is exactly what was sealed, in its place."""

import os
import struct
from typing import Final

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from coffer_guest.pipeline.codec import CodecError, Compression, codec
from coffer_guest.pipeline.failures import Damaged
from coffer_guest.pipeline.frames import (
    LENGTH,
    Header,
    Opener,
    OpenErrors,
    Sealer,
    decode_header,
    decode_length,
)

KEY: Final = b"k" * 32
SMALL: Final = 64  # bytes a block: the format is the same for every size

blocks_of = st.lists(st.binary(max_size=SMALL), min_size=1, max_size=6)
compressions = st.sampled_from(list(Compression))


def header(compression: Compression = Compression.ZSTD, backup_id: str = "b1") -> Header:
    return Header(backup_id, b"nonce..", compression, SMALL)


def seal(blocks: list[bytes], head: Header | None = None, key: bytes = KEY) -> list[bytes]:
    """Whole records."""
    sealer = Sealer(head or header(), key, 1)
    last = len(blocks) - 1
    return [b"".join(sealer.seal(i, block, i == last)) for i, block in enumerate(blocks)]


def open_all(data: bytes, head: Header | None = None, key: bytes = KEY) -> list[bytes]:
    """Read records to the end, as the reader does, one by one."""
    head = head or header()
    opener = Opener(head, key)
    found: list[bytes] = []
    last = False
    while not last:
        length, last = decode_length(data[: LENGTH.size], head)
        sealed, data = data[LENGTH.size : LENGTH.size + length], data[LENGTH.size + length :]
        if len(sealed) != length:
            raise Damaged("a record is cut off")
        found.append(opener.open(len(found), sealed, last))
    if data:
        raise Damaged("more after the last record")
    return found


REFUSED: Final = (*OpenErrors, Damaged)


@given(blocks_of, compressions)
def test_what_is_sealed_opens(blocks: list[bytes], compression: Compression) -> None:
    head = header(compression)
    assert open_all(b"".join(seal(blocks, head)), head) == blocks


@given(st.text(max_size=60), compressions, st.binary(min_size=7, max_size=7))
def test_a_header_is_read_back(name: str, compression: Compression, prefix: bytes) -> None:
    head = Header(name, prefix, compression)
    text = head.encode()
    assert decode_header(text + b"more") == (head, len(text))


@given(blocks_of, st.data())
def test_any_flipped_bit_is_refused(blocks: list[bytes], data: st.DataObject) -> None:
    stream = bytearray(b"".join(seal(blocks)))
    place = data.draw(st.integers(0, len(stream) * 8 - 1))
    stream[place // 8] ^= 1 << place % 8
    with pytest.raises(REFUSED):
        open_all(bytes(stream))


@given(blocks_of, st.data())
def test_any_truncation_is_refused(blocks: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(seal(blocks))
    with pytest.raises(REFUSED):
        open_all(stream[: data.draw(st.integers(0, len(stream) - 1))])


@given(st.lists(st.binary(max_size=SMALL), min_size=2, max_size=6, unique=True), st.data())
def test_records_out_of_their_place_are_refused(blocks: list[bytes], data: st.DataObject) -> None:
    records = seal(blocks)
    first = data.draw(st.integers(0, len(records) - 2))
    second = data.draw(st.integers(first + 1, len(records) - 1))
    swapped = list(records)
    swapped[first], swapped[second] = swapped[second], swapped[first]
    dropped = records[:first] + records[second:]
    doubled = records[: first + 1] + records[first:]
    for changed in (swapped, dropped, doubled, records + records[-1:]):
        with pytest.raises(REFUSED):
            open_all(b"".join(changed))


@given(blocks_of, st.data())
def test_the_end_cannot_be_moved(blocks: list[bytes], data: st.DataObject) -> None:
    """A record that claims to be the last, or the last that claims not to be."""
    records = seal(blocks)
    place = data.draw(st.integers(0, len(records) - 1))
    changed = bytearray(records[place])
    changed[0] ^= 0x80
    with pytest.raises(REFUSED):
        open_all(b"".join([*records[:place], bytes(changed)]))


def test_another_backup_s_record_is_refused_with_the_same_key() -> None:
    with pytest.raises(REFUSED):
        open_all(b"".join(seal([b"x"], header(backup_id="b2"))), header())
    with pytest.raises(REFUSED):
        open_all(b"".join(seal([b"x"], key=b"o" * 32)))


def test_a_record_is_as_the_format_says() -> None:
    """By the primitive alone, so that a change of format cannot pass unseen."""
    head = header(Compression.NONE)
    (first, second) = seal([b"one", b"two"], head)
    nonce = b"nonce.." + struct.pack(">IB", 1, 1)
    sealed = AESGCM(KEY).encrypt(nonce, b"two", head.digest)
    assert second == struct.pack(">I", 1 << 31 | len(sealed)) + sealed
    assert first[:4] == struct.pack(">I", 3 + 16)
    assert head.encode() == b"COFFER\x01\x00" + struct.pack(">I", SMALL) + b"nonce..\x02b1"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"COFFER",
        b"NOFFER" + header().encode()[6:],
        header().encode()[:-1],
        header().encode()[:6] + b"\x02" + header().encode()[7:],
        header().encode()[:7] + b"\x09" + header().encode()[8:],
        header().encode()[:8] + b"\xff\xff\xff\xff" + header().encode()[12:],
        header().encode()[:8] + b"\0\0\0\0" + header().encode()[12:],
    ],
)
def test_headers_that_are_none(text: bytes) -> None:
    with pytest.raises(Damaged):
        decode_header(text)


@pytest.mark.parametrize("length", [0, 15, SMALL + 1042, (1 << 31) - 1])
def test_a_length_never_asks_for_more_memory_than_a_block(length: int) -> None:
    with pytest.raises(Damaged):
        decode_length(LENGTH.pack(length), header())


def test_the_counter_does_not_wrap() -> None:
    with pytest.raises(OverflowError):
        Sealer(header(), KEY, 1).seal(1 << 32, b"", False)


@given(st.binary(max_size=4096), compressions)
def test_compression_both_ways(block: bytes, compression: Compression) -> None:
    made = codec(compression)
    assert made.decompress(made.compress(block), len(block)) == block


@pytest.mark.parametrize("compression", list(Compression))
def test_a_block_never_grows_beyond_its_limit(compression: Compression) -> None:
    made = codec(compression)
    bomb = made.compress(bytes(1 << 20))
    with pytest.raises(CodecError):
        made.decompress(bomb, 4096)


@pytest.mark.parametrize("compression", [Compression.ZSTD, Compression.LZ4])
def test_damaged_blocks_do_not_decompress(compression: Compression) -> None:
    made = codec(compression)
    data = bytearray(made.compress(os.urandom(1000)))
    for changed in (b"", bytes(data[:-1]), bytes(data[:20]), bytes(data[:-4]) + b"\0\0\0\0"):
        with pytest.raises(CodecError):
            made.decompress(changed, 4096)
