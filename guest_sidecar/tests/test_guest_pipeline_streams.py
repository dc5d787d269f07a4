"""Writing and reading whole backups: order, errors, and everything that may be done to them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffer_common.errors import Transient, UserError
from coffer_guest.pipeline import archive
from coffer_guest.pipeline import parts as parts_module
from coffer_guest.pipeline.codec import Compression
from coffer_guest.pipeline.failures import Damaged
from coffer_guest.pipeline.process import NullSink
from coffer_guest.pipeline.read import ReadOptions
from coffer_guest.pipeline.stop import Stop
from coffer_guest.pipeline.write import WriteOptions
from guest_backups import (
    HERE,
    BytesSink,
    BytesSource,
    MemoryStore,
    facts,
    mixed_bytes,
    ring,
)
from guest_streams import (
    BLOCK,
    OTHER,
    PART,
    PLAIN,
    SIZE,
    load,
    save,
)

HEADER: Final = 22


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts_module, "MIN_PART_BYTES", 1)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def harmed() -> MemoryStore:
    """Two backups of three parts each, to be harmed."""
    made = MemoryStore()
    save(made, mixed_bytes(SIZE, 1))
    save(made, mixed_bytes(SIZE, 2), OTHER)
    return made


# --- what goes in comes out -------------------------------------------------------------------


@pytest.mark.parametrize("compression", list(Compression))
@pytest.mark.parametrize("size_bytes", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK])
def test_a_stream_comes_back(store: MemoryStore, compression: Compression, size_bytes: int) -> None:
    data = mixed_bytes(size_bytes)
    manifest = save(store, data, options=replace(PLAIN, compression=compression))
    assert load(store, digest=manifest.digest) == data
    assert manifest.data.plain_bytes == size_bytes
    assert manifest.data.records == max(1, -(-size_bytes // BLOCK))


@given(st.lists(st.integers(1, 3 * BLOCK), min_size=1, max_size=4), st.integers(0, 3 * PART))
def test_however_the_source_cuts_it(pieces: Sequence[int], size_bytes: int) -> None:
    store, data = MemoryStore(), mixed_bytes(size_bytes)
    source = BytesSource(data, pieces)
    with Stop() as stop:
        archive.save(source, store, HERE, ring(), facts, PLAIN, stop)
    assert source.finished
    assert load(store) == data


def test_a_stream_of_several_parts_comes_back(harmed: MemoryStore) -> None:
    assert load(harmed) == mixed_bytes(SIZE, 1)
    with Stop() as stop:
        manifest = archive.open_backup(harmed, HERE, ring(), stop).manifest
    assert [part.size_bytes for part in manifest.data.parts[:2]] == [PART, PART]
    assert len(manifest.data.parts) == 3


def test_progress_ends_with_the_whole(store: MemoryStore) -> None:
    seen: list[tuple[int, int]] = []
    options = WriteOptions(progress=lambda plain, stored: seen.append((plain, stored)))
    manifest = save(store, mixed_bytes(5 * BLOCK), options=options)
    assert seen == sorted(seen)
    assert seen[-1] == (5 * BLOCK, manifest.data.size_bytes)
    seen.clear()
    with Stop() as stop:
        backup = archive.open_backup(store, HERE, ring(), stop)
        watched = ReadOptions(progress=lambda plain, stored: seen.append((plain, stored)))
        archive.restore(backup, store, NullSink(), watched, stop)
    assert seen[-1] == (5 * BLOCK, manifest.data.size_bytes)


def test_two_backups_share_neither_key_nor_bytes(harmed: MemoryStore) -> None:
    with Stop() as stop:
        first = archive.open_backup(harmed, HERE, ring(), stop)
        second = archive.open_backup(harmed, OTHER, ring(), stop)
    assert first.key != second.key
    assert mixed_bytes(4096, 1)[:64] not in harmed.objects[HERE.data]


# --- harm -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "part"), [(400, 1), (PART - 1, 1), (PART, 2), (2 * PART + 9, 3), (-1, 3)]
)
def test_one_flipped_bit_names_its_part(harmed: MemoryStore, place: int, part: int) -> None:
    data = bytearray(harmed.objects[HERE.data])
    data[place] ^= 1
    harmed.objects[HERE.data] = bytes(data)
    with pytest.raises(Damaged, match=f"part {part} of 3"):
        load(harmed)


def test_a_flipped_bit_in_a_length_names_its_part(harmed: MemoryStore) -> None:
    whole = harmed.objects[HERE.data]
    second = HEADER + 4 + 16 + BLOCK
    for bit in range(32):
        data = bytearray(whole)
        data[second + bit // 8] ^= 1 << bit % 8
        harmed.objects[HERE.data] = bytes(data)
        with pytest.raises(Damaged, match="part 1 of 3"):
            load(harmed)


def test_a_flipped_bit_in_the_header(harmed: MemoryStore) -> None:
    whole = harmed.objects[HERE.data]
    for place in range(22):
        data = bytearray(whole)
        data[place] ^= 1
        harmed.objects[HERE.data] = bytes(data)
        with pytest.raises(Damaged):
            load(harmed)


def test_a_truncated_object_is_named_before_anything_is_read(harmed: MemoryStore) -> None:
    harmed.objects[HERE.data] = harmed.objects[HERE.data][:-1]
    with pytest.raises(Damaged, match="truncated"):
        load(harmed)


def test_an_object_that_grew_is_named(harmed: MemoryStore) -> None:
    harmed.objects[HERE.data] += b"x"
    with pytest.raises(Damaged, match="longer"):
        load(harmed)


@pytest.mark.parametrize("part", [1, 2, 3])
def test_a_part_of_another_backup_is_named(harmed: MemoryStore, part: int) -> None:
    """The same plain sizes, the same storage key: only the backups differ."""
    mine, other = (bytearray(harmed.objects[one.data]) for one in (HERE, OTHER))
    start, end = (part - 1) * PART + (HEADER if part == 1 else 0), min(part * PART, len(mine))
    mine[start:end] = other[start:end]
    harmed.objects[HERE.data] = bytes(mine)
    with pytest.raises(Damaged, match=f"part {part} of 3"):
        load(harmed)


def test_parts_in_another_order_are_named(harmed: MemoryStore) -> None:
    data = harmed.objects[HERE.data]
    swapped = data[PART : 2 * PART] + data[:PART] + data[2 * PART :]
    harmed.objects[HERE.data] = bytes(swapped)
    with pytest.raises(Damaged, match="header"):
        load(harmed)


def test_another_backup_s_data_is_named(harmed: MemoryStore) -> None:
    harmed.objects[HERE.data] = harmed.objects[OTHER.data]
    with pytest.raises(Damaged, match="data of backup b2, not of b1"):
        load(harmed)


def test_another_attempt_s_data_is_named(harmed: MemoryStore) -> None:
    again = MemoryStore()
    save(again, mixed_bytes(SIZE, 1))
    harmed.objects[HERE.data] = again.objects[HERE.data]
    with pytest.raises(Damaged, match="not written together"):
        load(harmed)


def test_a_replayed_manifest_is_named(harmed: MemoryStore) -> None:
    again = MemoryStore()
    recorded = save(again, mixed_bytes(SIZE, 3))
    with pytest.raises(Damaged, match="older one"):
        load(harmed, digest=recorded.digest)
    harmed.objects[HERE.manifest] = harmed.objects[OTHER.manifest]
    with pytest.raises(Damaged, match="b2, not of b1"):
        load(harmed)


def test_missing_objects_are_named(harmed: MemoryStore) -> None:
    del harmed.objects[HERE.data]
    with pytest.raises(Damaged, match="b1/data is missing"):
        load(harmed)
    del harmed.objects[HERE.manifest]
    with pytest.raises(Damaged, match="no complete backup") as caught:
        load(harmed)
    assert caught.value.reason == "BackupMissing"


def test_a_wrong_key_is_told_before_data_is_touched(harmed: MemoryStore) -> None:
    del harmed.objects[HERE.data]  # nobody gets so far as to miss it
    with pytest.raises(UserError, match="'k1'"):
        load(harmed, by=ring("k2"))


def test_a_rotated_key_opens_old_backups_and_is_replaced(harmed: MemoryStore) -> None:
    both = ring("k2", "k1")
    assert load(harmed, by=both) == mixed_bytes(SIZE, 1)
    with Stop() as stop:
        assert archive.rewrap(harmed, HERE, both, stop)
        assert not archive.rewrap(harmed, HERE, both, stop)
    assert load(harmed, by=ring("k2")) == mixed_bytes(SIZE, 1)


@pytest.mark.parametrize("change", [{"plain_sha256": "0" * 64}, {"plain_bytes": 1}])
def test_a_writer_s_own_fault_is_found_by_the_digest(
    harmed: MemoryStore, change: dict[str, str | int]
) -> None:
    """Everything is authentic, and says something else of itself than it is."""
    with Stop() as stop:
        backup = archive.open_backup(harmed, HERE, ring(), stop)
        data = backup.manifest.data.model_copy(update=change)
        wrong = replace(backup, manifest=backup.manifest.model_copy(update={"data": data}))
        sink, options = BytesSink(), ReadOptions(digest=True)
        archive.restore(backup, harmed, sink, options, stop)
        assert bytes(sink.data) == mixed_bytes(SIZE, 1)
        with pytest.raises(Damaged, match="not what the manifest says"):
            archive.restore(wrong, harmed, BytesSink(), options, stop)


class Noisy(MemoryStore):
    """Damages what it reads, once; what it holds is right."""

    damaged = False

    def read_range(self, key: str, offset_bytes: int, into: memoryview, stop: Stop) -> None:
        super().read_range(key, offset_bytes, into, stop)
        if not self.damaged:
            self.damaged = True
            into[PART] ^= 1


def test_damage_on_the_way_may_be_tried_again(harmed: MemoryStore) -> None:
    noisy = Noisy()
    noisy.objects, noisy.times = harmed.objects, harmed.times
    with pytest.raises(Transient, match="arrived damaged"):
        load(noisy)
    assert load(noisy) == mixed_bytes(SIZE, 1)
