"""Streams that end early, what lies in a bucket, and the stages of the pipeline."""

import datetime
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import pytest

from coffer_common.errors import Permanent, Transient, UserError
from coffer_guest.pipeline import archive
from coffer_guest.pipeline import parts as parts_module
from coffer_guest.pipeline.archive import Location
from coffer_guest.pipeline.codec import Buffer
from coffer_guest.pipeline.failures import Damaged, ToolFailed
from coffer_guest.pipeline.read import ReadOptions
from coffer_guest.pipeline.stages import Stage
from coffer_guest.pipeline.stop import Cancelled, Stop
from coffer_guest.pipeline.store import Part
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
from guest_streams import (
    OTHER,
    PLAIN,
    SIZE,
    load,
    save,
)


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts_module, "MIN_PART_BYTES", 1)


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
        self, key: str, upload_id: str, number: int, offset_bytes: int, body: Buffer, stop: Stop
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
        swept = archive.sweep(store, "some/prefix", _later(), (), stop)
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
        below = Location.of("some/prefix/below", "5f0c", "b8")  # of another storage
        harmed.put_small(below.data, b"another prefix", stop)
        others = (below.data, "some/prefix/photos.tar", "some/prefix/a/base")
        for key in others:
            harmed.create_upload(key, stop)
        before = {found.key for found in harmed.list("", stop)}
        long_ago = NOW - datetime.timedelta(hours=1)
        assert archive.sweep(harmed, "some/prefix", long_ago, (), stop) == archive.Swept((), ())
        swept = archive.sweep(harmed, "some/prefix", _later(), {"b4"}, stop)
        assert swept == archive.Swept((old.data,), (old.path,))
        assert before - {found.key for found in harmed.list("", stop)} == {old.data}
        left = {upload.key for upload in harmed.uploads("", stop)}
        assert left == {running.data, *others}
        assert archive.sweep(harmed, "some/prefix", _later(), {"b4"}, stop).uploads == ()


def test_find_tells_what_is_there(harmed: MemoryStore) -> None:
    with Stop() as stop:
        harmed.put_small("some/prefix/5f0c/base/b3/manifest.json", b"{", stop)
        harmed.put_small("some/prefix/5f0c/base/b4/data", b"half", stop)
        every = {
            prefix: [(f.location.path, f.manifest.id) for f in archive.find(harmed, prefix, stop)]
            for prefix in ("some/prefix", "some", "")
        }
    assert every == {"some/prefix": [(HERE.path, "b1"), (OTHER.path, "b2")], "some": [], "": []}


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
