"""Key ring and manifest: right keys only, and no manifest but the one that was written."""

import base64
import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffer_common.errors import UserError
from coffer_guest.pipeline import manifest as manifests
from coffer_guest.pipeline.failures import Damaged
from coffer_guest.pipeline.keys import DataKey, KeyRing
from coffer_guest.pipeline.manifest import DataObject, Manifest, StoredPart
from guest_backups import facts, ring

DATA: Final = DataObject(
    size_bytes=10,
    plain_bytes=20,
    plain_sha256="0" * 64,
    records=1,
    compression="zstd",
    header_sha256="1" * 64,
    parts=(StoredPart(size_bytes=10, crc32="2" * 8),),
)
PATH: Final = "i/base/b1/manifest.json"


def make(backup_id: str = "b1", by: KeyRing | None = None) -> tuple[Manifest, DataKey]:
    key = DataKey.generate()
    wrapped = (by or ring()).wrap(key, backup_id)
    return Manifest(id=backup_id, facts=facts(DATA), data=DATA, keys=(wrapped,)), key


def text(value: bytes = b"k" * 32) -> str:
    return base64.b64encode(value).decode()


# --- the ring ---------------------------------------------------------------------------------


def test_a_wrapped_key_comes_back() -> None:
    key = DataKey.generate()
    assert ring("k2", "k1").unwrap((ring("k1").wrap(key, "b1"),), "b1") == key


def test_the_secret_s_entries_are_a_ring() -> None:
    made = KeyRing.parse({"current": "a\n", "a": text() + "\n", "old": text(b"o" * 32)})
    assert made.current == "a"
    assert repr(made) == "KeyRing(current='a', ids=a, old)"


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        ({"a": text()}, "`current`"),
        ({"current": "b", "a": text()}, "'b'"),
        ({"current": "a", "a": text(b"short")}, "'a' has 5 bytes"),
        ({"current": "a", "a": "*hush*"}, "'a' is not base64"),
    ],
)
def test_a_ring_that_is_none_names_the_entry(secret: dict[str, str], words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        KeyRing.parse(secret)
    assert caught.value.reason == "KeyInvalid"
    assert "hush" not in str(caught.value)


def test_a_key_that_is_not_there_is_named() -> None:
    wrapped = (ring("k0").wrap(DataKey.generate(), "b1"),)
    with pytest.raises(UserError, match=r"'k0'.*has k1, k2") as caught:
        ring("k1", "k2").unwrap(wrapped, "b1")
    assert caught.value.reason == "KeyUnknown"


def test_another_key_under_the_same_id_is_told_apart() -> None:
    wrapped = (ring("k1").wrap(DataKey.generate(), "b1"),)
    with pytest.raises(UserError, match="'k1'") as caught:
        KeyRing("k1", {"k1": b"x" * 32}).unwrap(wrapped, "b1")
    assert caught.value.reason == "KeyWrong"


def test_a_wrapped_key_belongs_to_one_backup() -> None:
    with pytest.raises(UserError, match="b2"):
        ring().unwrap((ring().wrap(DataKey.generate(), "b1"),), "b2")


def test_keys_are_not_shown() -> None:
    key = DataKey(b"s" * 32)
    assert "sss" not in repr(key)
    assert key.for_data != key.for_manifest
    assert key.secret not in (key.for_data, key.for_manifest)


# --- the manifest -----------------------------------------------------------------------------


def test_a_manifest_comes_back() -> None:
    manifest, key = make()
    found, its_key, _ = manifests.decode(manifest.encode(key), PATH, ring(), "b1", manifest.digest)
    assert (found, its_key) == (manifest, key)


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [leaf for key, one in items for leaf in _leaves(one, (*path, key))]
    return [path]


def test_any_changed_value_is_refused() -> None:
    manifest, key = make()
    content = json.loads(manifest.encode(key))
    leaves = _leaves(content)
    assert len(leaves) > 20
    for path in leaves:
        changed = json.loads(json.dumps(content))
        holder = changed
        for step in path[:-1]:
            holder = holder[step]
        old = holder[path[-1]]
        first = "y" if str(old).startswith("x") else "x"  # a wrapped key is random
        holder[path[-1]] = old + 1 if isinstance(old, int) else f"{first}{str(old)[1:]}"
        with pytest.raises(UserError):
            manifests.decode(json.dumps(changed).encode(), PATH, ring(), "b1")


@given(st.data())
def test_any_flipped_bit_is_refused_or_means_the_same(data: st.DataObject) -> None:
    key = DataKey(b"d" * 32)
    manifest = Manifest(id="b1", facts=facts(DATA), data=DATA, keys=(ring().wrap(key, "b1"),))
    encoded = bytearray(manifest.encode(key))
    place = data.draw(st.integers(0, len(encoded) * 8 - 1))
    encoded[place // 8] ^= 1 << place % 8
    try:
        found, _, _ = manifests.decode(bytes(encoded), PATH, ring(), "b1", manifest.digest)
    except UserError:
        return
    assert found.model_copy(update={"keys": manifest.keys}) == manifest


def test_additions_and_removals_are_refused() -> None:
    manifest, key = make()
    content = json.loads(manifest.encode(key))
    added = content | {"more": 1}
    removed = {name: value for name, value in content.items() if name != "mac"}
    for changed in (added, removed):
        with pytest.raises(Damaged, match="MAC"):
            manifests.decode(json.dumps(changed).encode(), PATH, ring(), "b1")


def test_another_backup_s_manifest_is_named() -> None:
    manifest, key = make("b2")
    with pytest.raises(Damaged, match="b2, not of b1") as caught:
        manifests.decode(manifest.encode(key), PATH, ring(), "b1")
    assert caught.value.reason == "BackupReplayed"


def test_an_older_manifest_of_the_same_backup_is_named() -> None:
    old, old_key = make()
    recorded = make()[0].model_copy(update={"data": DATA.model_copy(update={"records": 2})})
    with pytest.raises(Damaged, match="older one") as caught:
        manifests.decode(old.encode(old_key), PATH, ring(), "b1", recorded.digest)
    assert caught.value.reason == "BackupReplayed"


@pytest.mark.parametrize("encoded", [b"", b"{", b"[]", b'"x"', b"\xff", b'{"format": 1}'])
def test_texts_that_are_no_manifest(encoded: bytes) -> None:
    with pytest.raises(Damaged, match=PATH):
        manifests.decode(encoded, PATH, ring(), "b1")


def test_a_later_format_is_named() -> None:
    with pytest.raises(Damaged, match="format 2") as caught:
        manifests.peek(b'{"format": 2}', PATH)
    assert caught.value.reason == "BackupFormatUnknown"


def test_what_a_later_release_adds_is_read_past_and_kept() -> None:
    """Additions within format 1 are authenticated, and survive a rotation."""
    manifest, key = make()
    content = manifest.model_dump(mode="json") | {"later": [1, {"x": "y"}]}
    encoded = json.dumps(content | {"mac": manifests._mac(content, key)}).encode()
    assert manifests.decode(encoded, PATH, ring(), "b1")[0] == manifest
    wrapped = manifests.rewrap(encoded, PATH, ring("k2", "k1"), "b1")
    assert wrapped is not None
    assert json.loads(wrapped)["later"] == [1, {"x": "y"}]


def test_a_rotation_changes_the_wrapping_only() -> None:
    manifest, key = make()
    wrapped = manifests.rewrap(manifest.encode(key), PATH, ring("k2", "k1"), "b1")
    assert wrapped is not None
    found, its_key, _ = manifests.decode(wrapped, PATH, ring("k2"), "b1", manifest.digest)
    assert its_key == key
    assert [one.id for one in found.keys] == ["k2"]
    assert manifests.rewrap(wrapped, PATH, ring("k2"), "b1") is None
