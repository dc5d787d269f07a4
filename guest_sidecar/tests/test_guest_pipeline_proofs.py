"""Proofs beside backups: authentic ones come back, no others do, and nothing stumbles over them."""

import datetime
import json
from collections.abc import Callable
from typing import Any

import pytest

from coffer_common.errors import Transient, UserError
from coffer_common.proof import Proof
from coffer_guest.pipeline import archive, proofs
from coffer_guest.pipeline.archive import Location
from coffer_guest.pipeline.failures import Damaged
from coffer_guest.pipeline.keys import KeyRing
from coffer_guest.pipeline.manifest import Manifest
from coffer_guest.pipeline.stop import Stop
from coffer_guest.pipeline.write import WriteOptions
from guest_backups import HERE, NOW, BytesSource, MemoryStore, facts, mixed_bytes, ring

OTHER = Location.of("some/prefix", "5f0c", "b2")
PASSED = Proof(
    time="2026-01-02T00:00:00Z",
    result="Passed",
    duration_s=41,
    recovery_s=30,
    engine_version="10.11.6-MariaDB",
)
FAILED = Proof(time="2026-01-03T00:00:00Z", result="Failed")


def saved(store: MemoryStore, *locations: Location) -> None:
    with Stop() as stop:
        for where in locations:
            source = BytesSource(mixed_bytes(1000))
            archive.save(source, store, where, ring(), facts, WriteOptions(), stop)


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    saved(store, HERE, OTHER)
    return store


def keep(store: MemoryStore, proof: Proof = PASSED, **options: Any) -> None:
    with Stop() as stop:
        proofs.keep(store, HERE, ring(), proof, stop, **options)


def manifest(store: MemoryStore, where: Location = HERE) -> Manifest:
    with Stop() as stop:
        return archive.open_manifest(store, where, ring("k1", "k2"), stop)[0]


def recall(store: MemoryStore, where: Location = HERE, by: KeyRing | None = None) -> Proof | None:
    with Stop() as stop:
        return proofs.recall(store, where, manifest(store, where), by or ring(), stop)


def test_what_was_kept_comes_back_and_the_latest_counts(store: MemoryStore) -> None:
    assert recall(store) is None, "an old backup has none"
    keep(store)
    assert recall(store) == PASSED
    keep(store, FAILED)
    assert recall(store) == FAILED
    with Stop() as stop:
        assert archive.rewrap(store, HERE, ring("k2", "k1"), stop)
        assert recall(store, by=ring("k2", "k1")) == FAILED, "a rotated key is no other backup"


def _change(**fields: Any) -> Callable[[bytes], bytes]:
    def change(text: bytes) -> bytes:
        content = json.loads(text)
        content.update(fields)
        return json.dumps(content).encode()

    return change


@pytest.mark.parametrize(
    "forge",
    [
        _change(proof=PASSED.model_dump() | {"result": "Failed"}),
        _change(mac="0" * 64),
        _change(mac="é"),
        _change(mac=None),
        _change(more="than was written"),
        _change(id="b2"),
        _change(digest="0" * 64),
        _change(format=2),
        lambda _: b"[]",
        lambda _: b"{",
        lambda _: b"\xff",
        lambda _: b"[" * 60_000,
        lambda text: text + b" " * 70_000,
    ],
)
def test_a_forged_one_is_ignored(store: MemoryStore, forge: Callable[[bytes], bytes]) -> None:
    keep(store)
    store.objects[HERE.verified] = forge(store.objects[HERE.verified])
    assert recall(store) is None


def test_one_of_another_backup_is_ignored(store: MemoryStore) -> None:
    keep(store)
    store.objects[OTHER.verified] = store.objects[HERE.verified]
    assert recall(store, OTHER) is None
    kept = store.objects[HERE.verified]
    with Stop() as stop:
        archive.delete(store, HERE, stop)
    saved(store, HERE)  # of the same name, with another key
    store.objects[HERE.verified] = kept
    assert recall(store) is None


def test_without_its_key_it_is_ignored(store: MemoryStore) -> None:
    keep(store)
    assert recall(store, by=KeyRing("k9", {"k9": b"9" * 32})) is None


def test_a_store_that_does_not_answer_is_no_answer(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(store)
    found = manifest(store)

    def away(*_: object) -> bytes:
        raise Transient("503")

    monkeypatch.setattr(store, "get_small", away)
    with Stop() as stop, pytest.raises(Transient):
        proofs.recall(store, HERE, found, ring(), stop)


def test_one_is_kept_of_a_backup_whose_data_are_damaged(store: MemoryStore) -> None:
    del store.objects[HERE.data]
    keep(store, FAILED, digest=manifest(store).digest)
    assert recall(store) == FAILED


def test_none_is_kept_of_what_is_not_the_backup(store: MemoryStore) -> None:
    with pytest.raises(UserError, match="was recorded"):
        keep(store, digest="0" * 64)
    with Stop() as stop, pytest.raises(UserError, match="'k1'"):
        proofs.keep(store, HERE, KeyRing("k9", {"k9": b"9" * 32}), PASSED, stop)
    del store.objects[HERE.manifest]
    with pytest.raises(Damaged, match="no complete backup"):
        keep(store)
    assert HERE.verified not in store.objects


def test_none_is_left_of_a_backup_that_is_deleted_meanwhile(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = store.put_small

    def late(key: str, data: bytes, stop: Stop) -> None:
        archive.delete(store, HERE, stop)
        put(key, data, stop)

    monkeypatch.setattr(store, "put_small", late)
    with pytest.raises(Damaged):
        keep(store)
    assert not [key for key in store.objects if key.startswith(HERE.path)]


def test_listing_sweeping_and_deleting_know_of_it(store: MemoryStore) -> None:
    keep(store)
    stray = Location.of("some/prefix", "5f0c", "b3")
    later = NOW + datetime.timedelta(hours=1)
    with Stop() as stop:
        store.put_small(stray.verified, store.objects[HERE.verified], stop)
        found = [(one.location, one.tried) for one in archive.find(store, "some/prefix", stop)]
        assert found == [(HERE, True), (OTHER, False)]
        swept = archive.sweep(store, "some/prefix", later, (), stop)
        assert swept == archive.Swept((), (stray.path,))
        assert recall(store) == PASSED
        archive.delete(store, HERE, stop)
    assert sorted(store.objects) == [OTHER.data, OTHER.manifest]
