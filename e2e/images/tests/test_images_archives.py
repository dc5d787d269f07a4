"""An archive that is there is whole and wanted."""

import os
from pathlib import Path

import pytest

from coffer_images.archives import Archives

TAGS = ["a" * 12, "b" * 12, "c" * 12]


@pytest.fixture
def store(tmp_path: Path) -> Archives:
    return Archives(tmp_path / "images")


def _make(store: Archives, target: str, tag: str, used_at_s: int) -> None:
    store.unfinished(target, tag).write_bytes(b"tar")
    os.utime(store.finish(target, tag), (used_at_s, used_at_s))


def test_an_archive_is_found_once_it_is_finished(store: Archives) -> None:
    assert store.find("operator", TAGS[0]) is None
    store.unfinished("operator", TAGS[0]).write_bytes(b"ta")
    assert store.find("operator", TAGS[0]) is None
    assert store.tags("operator") == []
    path = store.finish("operator", TAGS[0])
    assert store.find("operator", TAGS[0]) == path


def test_those_used_last_stay(store: Archives) -> None:
    for used_at_s, tag in enumerate(TAGS):
        _make(store, "operator", tag, 1000 + used_at_s)
    store.find("operator", TAGS[0])  # used now
    assert store.prune("operator") == [TAGS[0], TAGS[2]]
    assert store.tags("operator") == [TAGS[0], TAGS[2]]


def test_other_targets_and_foreign_files_are_left_alone(store: Archives) -> None:
    for used_at_s, tag in enumerate(TAGS):
        _make(store, "guest-mariadb", tag, 1000 + used_at_s)
    store.path("guest", "x").write_bytes(b"")
    store.path("guest-mariadb", "notes").write_bytes(b"")
    assert store.prune("guest") == []
    assert store.tags("guest-mariadb") == TAGS[::-1]


def test_what_a_killed_build_left_is_swept_up(store: Archives) -> None:
    _make(store, "operator", TAGS[0], 1000)
    left = store.unfinished("operator", TAGS[1])
    left.write_bytes(b"ta")
    context = store.context()
    (context / "Dockerfile").write_text("")
    store.sweep()
    assert not left.exists()
    assert not context.exists()
    assert store.tags("operator") == [TAGS[0]]


def test_sweeping_where_nothing_was_built_is_fine(store: Archives) -> None:
    store.sweep()
    assert store.tags("operator") == []
