"""Whole backups against a real S3 server while requests are broken, and processes killed."""

import dataclasses
import datetime
import gc
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from coffer_common.errors import Transient, UserError
from coffer_guest.pipeline import archive
from coffer_guest.pipeline.archive import Location
from coffer_guest.pipeline.codec import Compression
from coffer_guest.pipeline.manifest import Manifest
from coffer_guest.pipeline.read import ReadOptions
from coffer_guest.pipeline.stop import Cancelled, Stop
from coffer_guest.pipeline.write import WriteOptions
from coffer_guest.strategies.storage.base import probe
from coffer_guest.strategies.storage.s3 import S3Storage
from guest_backups import BytesSink, BytesSource, facts, mixed_bytes, our_threads, ring
from guest_harness import until
from guest_s3 import KINDS, Fault, Proxy, settings, storage, versitygw

pytestmark = pytest.mark.guest

SIZE = 12 << 20
PLAIN = WriteOptions(compression=Compression.NONE, part_bytes=5 << 20)
HOWS = ("reset", "500", "503", "cut answer", "lost answer", "cut request", "slow")
WITH_BODY = ("part", "put", "complete")
DATA = mixed_bytes(SIZE)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with versitygw(tmp_path_factory.mktemp("s3")) as found:
        yield found


@pytest.fixture
def proxy(port: int) -> Iterator[Proxy]:
    with Proxy(port) as made:
        yield made


@pytest.fixture
def direct(port: int) -> Iterator[S3Storage]:
    """The store without the proxy; empty before the test."""
    with storage(f"http://127.0.0.1:{port}") as store, Stop() as stop:
        for found in list(store.list("", stop)):
            store.delete(found.key, stop)
        for upload in list(store.uploads("", stop)):
            store.abort_upload(upload.key, upload.id, stop)
        yield store


@pytest.fixture
def without_garbage_collection() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


HERE = Location.of("faults", "i", "b1")


def save(store: S3Storage, stop: Stop, options: WriteOptions = PLAIN) -> Manifest:
    return archive.save(BytesSource(DATA), store, HERE, ring(), facts, options, stop)


def load(store: S3Storage, stop: Stop) -> bytes:
    sink = BytesSink()
    backup = archive.open_backup(store, HERE, ring(), stop)
    archive.restore(backup, store, sink, ReadOptions(), stop)
    assert sink.finished
    return bytes(sink.data)


def nothing_is_left(store: S3Storage) -> None:
    with Stop() as stop:
        assert [found.key for found in store.list("", stop)] == []
        assert list(store.uploads("", stop)) == []
    assert our_threads() == []


@pytest.mark.parametrize("how", HOWS)
def test_requests_of_every_kind_that_fail_twice_are_made_again(
    proxy: Proxy, direct: S3Storage, how: str
) -> None:
    proxy.faults = [
        Fault(kind, how, times=2) for kind in KINDS if how != "cut request" or kind in WITH_BODY
    ]
    with storage(proxy.endpoint) as store, Stop() as stop:
        probe(store, "faults", stop)
        store.abort_upload(HERE.data, store.create_upload(HERE.data, stop), stop)
        save(store, stop)
        assert load(store, stop) == DATA
        assert [found.location for found in archive.find(store, "faults", stop)] == [HERE]
        archive.delete(store, HERE, stop)
        least = 1 if how == "slow" else 2
        assert {fault.kind: fault.seen for fault in proxy.faults if fault.seen < least} == {}
    nothing_is_left(direct)


def test_a_last_part_in_the_buffer_of_one_that_was_sent_again(
    proxy: Proxy, direct: S3Storage, without_garbage_collection: None
) -> None:
    """The error of the first attempt still holds what that attempt read from."""
    proxy.faults = [Fault("part", "reset", times=1)]
    one_at_a_time = dataclasses.replace(PLAIN, uploads=1)  # the third part is the last, and short
    with storage(proxy.endpoint) as store, Stop() as stop:
        save(store, stop, one_at_a_time)
        assert load(store, stop) == DATA
    assert proxy.faults[0].seen == 4


@pytest.mark.parametrize("how", ["reset", "500", "403", "lost answer"])
@pytest.mark.parametrize("kind", ["create", "part"])
def test_a_request_that_never_works_fails_the_backup_and_leaves_nothing(
    proxy: Proxy, direct: S3Storage, kind: str, how: str
) -> None:
    proxy.faults = [Fault(kind, how, times=10_000)]
    with storage(proxy.endpoint) as store, Stop() as stop:
        with pytest.raises(UserError if how == "403" else Transient) as caught:
            save(store, stop)
        assert "hush" not in str(caught.value)
    nothing_is_left(direct)
    with Stop() as stop:
        save(direct, stop)
        assert load(direct, stop) == DATA


@pytest.mark.parametrize("how", ["reset", "500", "403"])
def test_an_upload_that_cannot_be_completed_leaves_nothing(
    proxy: Proxy, direct: S3Storage, how: str
) -> None:
    proxy.faults = [Fault("complete", how, times=10_000)]
    with (
        storage(proxy.endpoint) as store,
        Stop() as stop,
        pytest.raises(UserError if how == "403" else Transient),
    ):
        save(store, stop)
    nothing_is_left(direct)


def test_a_server_that_vanishes_leaves_what_the_sweeper_removes(
    proxy: Proxy, direct: S3Storage
) -> None:
    """Neither the upload nor its abort gets through any more."""
    proxy.dead_from = b"partNumber=2"
    with (
        storage(proxy.endpoint) as store,
        Stop() as stop,
        pytest.raises(Transient, match="cannot be reached"),
    ):
        save(store, stop)
    with Stop() as stop:
        assert [upload.key for upload in direct.uploads("", stop)] == [HERE.data]
        later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
        assert archive.sweep(direct, "faults", later, (), stop).uploads == (HERE.data,)
    nothing_is_left(direct)


def test_a_probe_tells_which_right_is_missing(proxy: Proxy, direct: S3Storage) -> None:
    for kind in ("put", "get", "list", "delete", "create"):
        proxy.faults = [Fault(kind, "403", times=1)]
        with storage(proxy.endpoint) as store, Stop() as stop:
            with pytest.raises(UserError) as caught:
                probe(store, "faults", stop)
            assert caught.value.reason == "StorageAccessDenied"
            proxy.faults = []
            for found in list(direct.list("", stop)):
                direct.delete(found.key, stop)  # where deleting is what may not be done
    nothing_is_left(direct)


@pytest.mark.parametrize("after", [0, 1, 3, 5, 8, 11])
def test_a_backup_cancelled_at_any_moment_leaves_nothing(
    proxy: Proxy, direct: S3Storage, after: int
) -> None:
    """While the requests are slow: it is cancelled in the middle of some."""
    proxy.faults = [Fault("part", "slow", times=10_000)]
    with storage(proxy.endpoint) as store, Stop() as stop:
        seen = 0

        def count(_plain_bytes: int, _stored_bytes: int) -> None:
            nonlocal seen
            seen += 1
            if seen > after:
                stop.set()

        options = WriteOptions(compression=Compression.NONE, part_bytes=5 << 20, progress=count)
        source = BytesSource(DATA)
        with pytest.raises(Cancelled):
            archive.save(source, store, HERE, ring(), facts, options, stop)
        assert source.killed
    nothing_is_left(direct)


def test_a_cancel_from_outside_ends_a_source_that_says_nothing(direct: S3Storage) -> None:
    from coffer_guest.pipeline.process import ChildSource  # noqa: PLC0415 - one test's

    with Stop() as stop:
        source = ChildSource(["sleep", "600"])
        timer = threading.Timer(0.2, stop.set)
        timer.start()
        with pytest.raises(Cancelled):
            archive.save(source, direct, HERE, ring(), facts, PLAIN, stop)
        timer.join()
        assert source._process.returncode is not None
    nothing_is_left(direct)


# --- processes of their own -------------------------------------------------------------------

CHILD = """
import json, os, sys
sys.path[:0] = json.loads(sys.argv[1])
from guest_backups import facts, ring
from guest_s3 import storage
from coffer_guest.pipeline import archive
from coffer_guest.pipeline.codec import Compression
from coffer_guest.pipeline.process import ChildSink, ChildSource
from coffer_guest.pipeline.read import ReadOptions
from coffer_guest.pipeline.stop import stopped_by_signal
from coffer_guest.pipeline.write import WriteOptions
import guest_s3
guest_s3.SECRET_KEY = os.environ["SECRET"]
endpoint, mode, tool = sys.argv[2], sys.argv[3], sys.argv[4:]
where = archive.Location.of("faults", "i", "b1")
with storage(endpoint) as store, stopped_by_signal() as stop:
    if mode == "save":
        source = ChildSource(tool)
        print(source._process.pid, flush=True)
        archive.save(source, store, where, ring(), facts, WriteOptions(), stop)
    else:
        backup = archive.open_backup(store, where, ring(), stop)
        archive.restore(backup, store, ChildSink(tool), ReadOptions(), stop)
status = open("/proc/self/status").read()
print([line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")][0])
"""


def child(port: int, mode: str, *tool: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", CHILD, json.dumps(sys.path), f"http://127.0.0.1:{port}", mode]
    secret = settings("http://x").secret_key.get_secret_value()
    return subprocess.Popen(
        [*argv, *tool], stdout=subprocess.PIPE, text=True, env=os.environ | {"SECRET": secret}
    )


def test_a_killed_process_leaves_an_upload_for_the_sweeper_and_no_tool(
    port: int, direct: S3Storage
) -> None:
    with child(port, "save", "cat", "/dev/urandom") as process, Stop() as stop:
        assert process.stdout is not None
        tool = int(process.stdout.readline())
        until("an upload has begun", lambda: list(direct.uploads("", stop)))
        process.kill()
        process.wait()
        until("the tool is gone", lambda: not Path(f"/proc/{tool}").exists())
        assert [upload.key for upload in direct.uploads("", stop)] == [HERE.data]
        now = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=1)
        assert archive.sweep(direct, "faults", now, {"b1"}, stop) == archive.Swept((), ())
        assert archive.sweep(direct, "faults", now, (), stop).uploads == (HERE.data,)
    nothing_is_left(direct)


def test_a_process_that_is_told_to_end_cleans_up(port: int, direct: S3Storage) -> None:
    with child(port, "save", "cat", "/dev/urandom") as process, Stop() as stop:
        assert process.stdout is not None
        tool = int(process.stdout.readline())
        until("an upload has begun", lambda: list(direct.uploads("", stop)))
        process.terminate()
        assert process.wait(60) == 1
        assert not Path(f"/proc/{tool}").exists()
    nothing_is_left(direct)


def test_memory_stays_flat(port: int, direct: S3Storage) -> None:
    """300 MiB that do not compress, with the default options."""
    limit_kib = 256 << 10
    with child(port, "save", "head", "-c", "300M", "/dev/urandom") as process:
        out, _ = process.communicate(timeout=250)
        assert process.returncode == 0
        assert int(out.split()[-1]) < limit_kib
    with child(port, "restore", "cat") as process:
        out, _ = process.communicate(timeout=250)
        assert process.returncode == 0
        assert int(out.split()[-1]) < limit_kib
    with Stop() as stop:
        archive.delete(direct, HERE, stop)


def test_the_idle_agent_does_not_load_boto3() -> None:
    text = "import sys, coffer_guest.main; sys.exit('boto3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", text], check=False).returncode == 0
