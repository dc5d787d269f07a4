"""Writing and reading whole backups: order, errors, and everything that may be done to them."""

import datetime
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffer_common.errors import Permanent, Transient, UserError
from coffer_guest.pipeline import archive
from coffer_guest.pipeline import parts as parts_module
from coffer_guest.pipeline.archive import Location
from coffer_guest.pipeline.codec import Compression
from coffer_guest.pipeline.failures import Damaged, ToolFailed
from coffer_guest.pipeline.keys import KeyRing
from coffer_guest.pipeline.manifest import Manifest
from coffer_guest.pipeline.process import NullSink
from coffer_guest.pipeline.read import ReadOptions
from coffer_guest.pipeline.stages import Stage
from coffer_guest.pipeline.stop import Cancelled, Stop
from coffer_guest.pipeline.store import Part
from coffer_guest.pipeline.write import WriteOptions
from guest_backups import (
    HERE,
    NOW,
    BytesSink,
    BytesSource,
    MemoryStore,
    facts,
    mixed_bytes,
    our_threads,
    ring,
)

OTHER: Final = Location.of("some/prefix", "5f0c", "b2")
BLOCK: Final = 4096  # the format is the same for every size, and tests are quicker
PART: Final = 5 * BLOCK
SIZE: Final = 12 * BLOCK
HEADER: Final = 22
PLAIN: Final = WriteOptions(compression=Compression.NONE, part_bytes=PART, block_bytes=BLOCK)


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts_module, "MIN_PART_BYTES", 1)


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


def nothing_is_left(store: MemoryStore) -> None:
    with Stop() as stop:
        assert [found.key for found in store.list("", stop)] == []
        assert list(store.uploads("", stop)) == []
    assert our_threads() == []


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


# --- errors while writing ---------------------------------------------------------------------


class Faulty(MemoryStore):
    """Calls `fault` before every request, with its name."""

    def __init__(self, fault: Callable[[str], None]) -> None:
        super().__init__()
        self.fault = fault

    def create_upload(self, key: str, stop: Stop) -> str:
        self.fault("create")
        return super().create_upload(key, stop)

    def upload_part(
        self, key: str, upload_id: str, number: int, offset_bytes: int, body: bytearray, stop: Stop
    ) -> Part:
        self.fault(f"part {number}")
        return super().upload_part(key, upload_id, number, offset_bytes, body, stop)

    def complete_upload(self, key: str, upload_id: str, parts: Sequence[Part], stop: Stop) -> None:
        self.fault("complete")
        super().complete_upload(key, upload_id, parts, stop)
        self.fault("completed")

    def put_small(self, key: str, data: bytes, stop: Stop) -> None:
        self.fault("put")
        super().put_small(key, data, stop)


STEPS: Final = ("create", "part 1", "part 2", "part 3", "complete", "completed")


def fail_at(step: str, error: Exception, found: str) -> None:
    if found == step:
        raise error


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("error", [Transient("gone"), Permanent("refused"), KeyError("a bug")])
def test_a_failed_request_leaves_nothing(step: str, error: Exception) -> None:
    store = Faulty(partial(fail_at, step, error))
    source = BytesSource(mixed_bytes(SIZE))
    with Stop() as stop, pytest.raises(type(error)):
        archive.save(source, store, HERE, ring(), facts, PLAIN, stop)
    assert source.killed
    nothing_is_left(store)
    store.fault = lambda _: None
    save(store, b"the next one runs")


@pytest.mark.parametrize("step", STEPS)
def test_a_cancelled_backup_leaves_nothing(step: str) -> None:
    source = BytesSource(mixed_bytes(SIZE))
    with Stop() as stop:
        store = Faulty(lambda found: stop.set() if found == step else None)
        with pytest.raises(Cancelled):
            archive.save(source, store, HERE, ring(), facts, PLAIN, stop)
    assert source.killed
    nothing_is_left(store)


def test_without_a_manifest_it_is_no_backup() -> None:
    store = Faulty(partial(fail_at, "put", Transient("gone")))
    with Stop() as stop, pytest.raises(Transient):
        archive.save(BytesSource(b"x"), store, HERE, ring(), facts, PLAIN, stop)
    with pytest.raises(Damaged, match="no complete backup"):
        load(store)
    with Stop() as stop:
        swept = archive.sweep(store, "some", _later(), (), stop)
    assert swept.folders == (HERE.path,)
    nothing_is_left(store)


def test_a_tool_that_failed_leaves_nothing(store: MemoryStore) -> None:
    """Though its whole stream came: only the exit status tells."""
    source = BytesSource(mixed_bytes(SIZE))
    source.failure = ToolFailed("tool", "exited 1", "it hurts")
    with Stop() as stop, pytest.raises(ToolFailed, match="tool exited 1: it hurts"):
        archive.save(source, store, HERE, ring(), facts, PLAIN, stop)
    nothing_is_left(store)


class Forgetful(MemoryStore):
    """Acknowledges a part, and keeps less of it."""

    def complete_upload(self, key: str, upload_id: str, parts: Sequence[Part], stop: Stop) -> None:
        super().complete_upload(key, upload_id, parts, stop)
        self.objects[key] = self.objects[key][:100]


def test_a_store_that_holds_something_else_is_found_out() -> None:
    store = Forgetful()
    with Stop() as stop, pytest.raises(Transient, match="the store has 100"):
        archive.save(BytesSource(b"x" * 1000), store, HERE, ring(), facts, PLAIN, stop)
    nothing_is_left(store)


def test_a_backup_that_is_complete_already_is_the_result(store: MemoryStore) -> None:
    first = save(store, b"first")
    assert save(store, b"second") == first
    assert load(store) == b"first"


# --- reading that is stopped ------------------------------------------------------------------


class Refusing(BytesSink):
    def write(self, data: bytes | bytearray | memoryview, stop: Stop) -> None:
        raise ToolFailed("sink", "exited 1", "no room")


def test_a_sink_s_error_ends_the_restore(harmed: MemoryStore) -> None:
    sink = Refusing()
    store = harmed
    with Stop() as stop:
        backup = archive.open_backup(store, HERE, ring(), stop)
        with pytest.raises(ToolFailed, match="no room"):
            archive.restore(backup, store, sink, ReadOptions(), stop)
    assert sink.killed
    assert not sink.finished
    assert our_threads() == []


class Cancelling(BytesSink):
    """Whoever asks for the end does so when the first block arrives."""

    def write(self, data: bytes | bytearray | memoryview, stop: Stop) -> None:
        super().write(data, stop)
        self.outer.set()

    def __init__(self, outer: Stop) -> None:
        super().__init__()
        self.outer = outer


def test_a_restore_is_cancelled(harmed: MemoryStore) -> None:
    with Stop() as stop:
        sink = Cancelling(stop)
        backup = archive.open_backup(harmed, HERE, ring(), stop)
        with pytest.raises(Cancelled):
            archive.restore(backup, harmed, sink, ReadOptions(), stop)
    assert sink.killed
    assert not sink.finished
    assert our_threads() == []


# --- what lies in a bucket --------------------------------------------------------------------


def _later() -> datetime.datetime:
    return NOW + datetime.timedelta(hours=1)


def test_the_sweeper_takes_the_stale_and_nothing_else(harmed: MemoryStore) -> None:
    old, running = (Location.of("some/prefix", "5f0c", name) for name in ("b3", "b4"))
    with Stop() as stop:
        for where in (old, running):
            harmed.create_upload(where.data, stop)
            harmed.put_small(where.data, b"half", stop)
        harmed.put_small("some/prefix/notes/base/readme/of/others", b"not ours", stop)
        harmed.put_small("elsewhere/5f0c/base/b9/data", b"another prefix", stop)
        before = {found.key for found in harmed.list("", stop)}
        long_ago = NOW - datetime.timedelta(hours=1)
        assert archive.sweep(harmed, "some/prefix", long_ago, (), stop) == archive.Swept((), ())
        swept = archive.sweep(harmed, "some/prefix", _later(), {"b4"}, stop)
        assert swept == archive.Swept((old.data,), (old.path,))
        assert before - {found.key for found in harmed.list("", stop)} == {old.data}
        assert [upload.key for upload in harmed.uploads("", stop)] == [running.data]
        assert archive.sweep(harmed, "some/prefix", _later(), {"b4"}, stop).uploads == ()


def test_find_tells_what_is_there(harmed: MemoryStore) -> None:
    with Stop() as stop:
        harmed.put_small("some/prefix/5f0c/base/b3/manifest.json", b"{", stop)
        harmed.put_small("some/prefix/5f0c/base/b4/data", b"half", stop)
        found = [(where.path, one.id) for where, one in archive.find(harmed, "some", stop)]
    assert found == [(HERE.path, "b1"), (OTHER.path, "b2")]


def test_a_deleted_backup_is_gone_and_its_neighbour_is_not(harmed: MemoryStore) -> None:
    with Stop() as stop:
        harmed.create_upload(HERE.data, stop)
        for _ in range(2):
            archive.delete(harmed, HERE, stop)
        assert list(harmed.uploads("", stop)) == []
    with pytest.raises(Damaged, match="no complete backup"):
        load(harmed)
    assert load(harmed, OTHER) == mixed_bytes(SIZE, 2)


@pytest.mark.parametrize(
    "path", ["", "/", "b1", "base/b1", "a/b1", "x/../base/b1", "x/base/", "x/base/b 1", "x//base/b"]
)
def test_locations_that_are_none(path: str) -> None:
    with pytest.raises(UserError):
        Location.parse(path)


def test_locations() -> None:
    where = Location.parse("/some/prefix/5f0c/base/b1/")
    assert where == HERE
    assert (where.backup_id, where.data) == ("b1", "some/prefix/5f0c/base/b1/data")
    assert Location.of("", "i", "b").path == "i/base/b"


# --- stages -----------------------------------------------------------------------------------


def test_a_stage_gives_results_in_order_whatever_the_order_of_work() -> None:
    """The first call is made to end last."""
    others = threading.Semaphore(0)

    def work(number: int) -> int:
        if number == 0:
            for _ in range(3):
                assert others.acquire(timeout=60)
        else:
            others.release()
        return number

    with Stop() as stop, Stage[int]("seal", 4, 4, stop) as stage:
        for number in range(4):
            stage.submit(partial(work, number))
        assert stage.full
        assert [stage.next() for _ in range(4)] == [0, 1, 2, 3]


def test_a_stage_s_error_wakes_those_who_wait_elsewhere() -> None:
    def fail() -> None:
        raise Permanent("broken")

    with Stop() as outer, Stop(outer) as stop, Stage[None]("seal", 1, 2, stop) as stage:
        stage.submit(fail)
        with pytest.raises(Permanent, match="broken"):
            stop.wait(60)
        outer.check()
