"""The contract of every store: the same tests for all of them."""

import datetime
from collections.abc import Iterator
from pathlib import Path

import pytest

from coffer_common.errors import Permanent, UserError
from coffer_guest.pipeline.failures import Missing, UploadLost
from coffer_guest.pipeline.stop import Cancelled, Stop
from coffer_guest.pipeline.store import ObjectStore, Part, composite_checksum
from coffer_guest.strategies.storage.base import probe
from coffer_guest.strategies.storage.filesystem import FilesystemSettings, FilesystemStorage
from guest_backups import MemoryStore, mixed_bytes
from guest_s3 import storage, versitygw

PART = 5 << 20
pytestmark = pytest.mark.guest


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with versitygw(tmp_path_factory.mktemp("s3")) as found:
        yield found


@pytest.fixture(params=["memory", "filesystem", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ObjectStore]:
    if request.param == "memory":
        yield MemoryStore()
    elif request.param == "filesystem":
        yield FilesystemStorage(FilesystemSettings(root=tmp_path))
    else:
        with (
            storage(f"http://127.0.0.1:{request.getfixturevalue('port')}") as made,
            Stop() as stop,
        ):
            yield made
            for found in list(made.list("", stop)):
                made.delete(found.key, stop)
            for upload in list(made.uploads("", stop)):
                made.abort_upload(upload.key, upload.id, stop)


@pytest.fixture
def stop() -> Iterator[Stop]:
    with Stop() as made:
        yield made


def send(store: ObjectStore, key: str, data: bytes, stop: Stop) -> tuple[str, list[Part]]:
    """An upload with all its parts, the last one first; not complete."""
    upload_id = store.create_upload(key, stop)
    offsets = range(0, len(data), PART)
    parts = [
        store.upload_part(
            key,
            upload_id,
            1 + offset // PART,
            offset,
            bytearray(data[offset : offset + PART]),
            stop,
        )
        for offset in reversed(offsets)
    ]
    return upload_id, parts[::-1]


def read(store: ObjectStore, key: str, offset: int, size: int, stop: Stop) -> bytes:
    buffer = bytearray(size)
    with memoryview(buffer) as view:
        store.read_range(key, offset, view, stop)
    return bytes(buffer)


def test_a_small_object(store: ObjectStore, stop: Stop) -> None:
    before = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    for content in (b"first", b"", b"second"):
        store.put_small("a/b/c", content, stop)
        assert store.get_small("a/b/c", 10, stop) == content
        assert store.head("a/b/c", stop).size_bytes == len(content)
    found = store.head("a/b/c", stop)
    assert found.modified_at > before or isinstance(store, MemoryStore)
    with pytest.raises(Permanent):
        store.get_small("a/b/c", 3, stop)


def test_an_object_of_parts(store: ObjectStore, stop: Stop) -> None:
    data = mixed_bytes(2 * PART + 1000)
    upload_id, parts = send(store, "a/data", data, stop)
    assert [(part.number, part.offset_bytes, part.size_bytes) for part in parts] == [
        (1, 0, PART),
        (2, PART, PART),
        (3, 2 * PART, 1000),
    ]
    assert [(one.key, one.id) for one in store.uploads("a/", stop)] == [("a/data", upload_id)]
    with pytest.raises(Missing):
        store.head("a/data", stop)
    for _ in range(2):  # the answer to the first may have been lost
        store.complete_upload("a/data", upload_id, parts, stop)
    assert list(store.uploads("a/", stop)) == []
    found = store.head("a/data", stop)
    assert found.size_bytes == len(data)
    assert found.checksum in {None, composite_checksum(parts)}
    assert read(store, "a/data", 0, len(data), stop) == data
    assert read(store, "a/data", PART - 7, 14, stop) == data[PART - 7 : PART + 7]
    assert read(store, "a/data", len(data) - 1, 1, stop) == data[-1:]


def test_the_real_servers_keep_checksums(port: int, stop: Stop) -> None:
    """Else nothing would be compared at all, and nobody would notice."""
    with storage(f"http://127.0.0.1:{port}") as store:
        upload_id, parts = send(store, "checked", mixed_bytes(PART + 5), stop)
        store.complete_upload("checked", upload_id, parts, stop)
        assert store.head("checked", stop).checksum == composite_checksum(parts)
        store.delete("checked", stop)


def test_a_part_sent_again_replaces_the_first(store: ObjectStore, stop: Stop) -> None:
    upload_id = store.create_upload("again", stop)
    store.upload_part("again", upload_id, 1, 0, bytearray(b"x" * 9), stop)
    part = store.upload_part("again", upload_id, 1, 0, bytearray(b"y" * 9), stop)
    store.complete_upload("again", upload_id, [part], stop)
    assert store.get_small("again", 9, stop) == b"y" * 9


def test_an_aborted_upload_is_gone(store: ObjectStore, stop: Stop) -> None:
    upload_id, parts = send(store, "a/data", b"x" * 1000, stop)
    for _ in range(2):
        store.abort_upload("a/data", upload_id, stop)
    assert list(store.uploads("", stop)) == []
    with pytest.raises(UploadLost):
        store.upload_part("a/data", upload_id, 1, 0, bytearray(10), stop)
    with pytest.raises(UploadLost):
        store.complete_upload("a/data", upload_id, parts, stop)


def test_what_is_not_there(store: ObjectStore, stop: Stop) -> None:
    with pytest.raises(Missing):
        store.head("none", stop)
    with pytest.raises(Missing):
        store.get_small("none", 10, stop)
    with pytest.raises(Missing):
        read(store, "none", 0, 1, stop)
    store.delete("none", stop)
    assert list(store.list("none", stop)) == []


def test_a_range_beyond_the_end_is_an_error(store: ObjectStore, stop: Stop) -> None:
    store.put_small("short", b"12345", stop)
    for offset, size in ((0, 6), (5, 1), (9, 1)):
        with pytest.raises(Permanent):
            read(store, "short", offset, size, stop)


def test_lists_are_whole_sorted_and_of_the_prefix(store: ObjectStore, stop: Stop) -> None:
    keys = ["a/1/x", "a/1/y", "a/10/x", "ab", "b/1/x"]
    for key in reversed(keys):
        store.put_small(key, b"x", stop)
    upload_id = store.create_upload("a/1/z", stop)
    for prefix in ("", "a", "a/", "a/1", "a/1/", "b/1/x", "c"):
        wanted = [key for key in keys if key.startswith(prefix)]
        assert [found.key for found in store.list(prefix, stop)] == wanted
    assert [one.id for one in store.uploads("a/1/", stop)] == [upload_id]
    assert list(store.uploads("b/", stop)) == []
    store.delete("a/1/x", stop)
    assert [found.key for found in store.list("a/1/", stop)] == ["a/1/y"]


def test_the_probe_passes_and_leaves_nothing(store: ObjectStore, stop: Stop) -> None:
    probe(store, "/some/prefix/", stop)
    assert list(store.list("", stop)) == []
    assert list(store.uploads("", stop)) == []


def test_a_stop_ends_every_request(store: ObjectStore, stop: Stop) -> None:
    store.put_small("key", b"x", stop)
    upload_id = store.create_upload("data", stop)
    with Stop() as set_before:
        set_before.set()
        for call in (
            lambda: store.create_upload("data", set_before),
            lambda: store.upload_part("data", upload_id, 1, 0, bytearray(9), set_before),
            lambda: store.complete_upload("data", upload_id, [], set_before),
            lambda: store.abort_upload("data", upload_id, set_before),
            lambda: list(store.uploads("", set_before)),
            lambda: store.put_small("key", b"y", set_before),
            lambda: store.get_small("key", 9, set_before),
            lambda: read(store, "key", 0, 1, set_before),
            lambda: store.head("key", set_before),
            lambda: list(store.list("", set_before)),
            lambda: store.delete("key", set_before),
        ):
            with pytest.raises(Cancelled):
                call()
    assert store.get_small("key", 9, stop) == b"x"


def test_more_than_a_page_of_objects(port: int, stop: Stop) -> None:
    with storage(f"http://127.0.0.1:{port}") as store:
        store._client.meta.events.register(
            "before-parameter-build.s3.ListObjectsV2",
            lambda params, **_: params.update(MaxKeys=2),
        )
        store._client.meta.events.register(
            "before-parameter-build.s3.ListMultipartUploads",
            lambda params, **_: params.update(MaxUploads=2),
        )
        keys = [f"paged/{number}" for number in range(5)]
        ids = []
        for key in keys:
            store.put_small(key, b"x", stop)
            ids.append(store.create_upload(key, stop))
        assert [found.key for found in store.list("paged/", stop)] == keys
        assert sorted(one.id for one in store.uploads("paged/", stop)) == sorted(ids)
        for key, upload_id in zip(keys, ids, strict=True):
            store.delete(key, stop)
            store.abort_upload(key, upload_id, stop)


# --- what the user has to mend ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("others", "reason"),
    [
        ({"bucket": "no-such-bucket"}, "BucketMissing"),
        ({"secret_key": "hush-wrong"}, "StorageAccessDenied"),
        ({"access_key": "nobody"}, "StorageAccessDenied"),
    ],
)
def test_a_probe_names_what_is_wrong(
    port: int, stop: Stop, others: dict[str, str], reason: str
) -> None:
    with (
        storage(f"http://127.0.0.1:{port}", **others) as store,
        pytest.raises(UserError) as caught,
    ):
        probe(store, "prefix", stop)
    assert caught.value.reason == reason
    assert "hush" not in str(caught.value)
    assert others.get("bucket", "backups") in caught.value.message


def test_a_missing_directory_is_a_missing_bucket(tmp_path: Path, stop: Stop) -> None:
    store = FilesystemStorage(FilesystemSettings(root=tmp_path / "none"))
    with pytest.raises(UserError) as caught:
        probe(store, "", stop)
    assert caught.value.reason == "BucketMissing"
    assert not (tmp_path / "none").exists()
