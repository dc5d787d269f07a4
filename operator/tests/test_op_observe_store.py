"""The cache of one kind: what counts as news, and whose word counts more."""

from collections.abc import Mapping
from typing import Any

import pytest

from coffer_operator.kube.api import Key
from coffer_operator.observe.store import Both, Mark, Marks, Store

OWNER = Key("a", "shop")


def obj(name: str, version: int, value: str = "", owner: str | None = "shop") -> dict[str, Any]:
    metadata = {"namespace": "a", "name": name, "resourceVersion": str(version), "owner": owner}
    return {"metadata": metadata, "value": value}


def project(found: Mapping[str, Any]) -> tuple[str, Key | None]:
    owner = found["metadata"]["owner"]
    return found["value"], Key("a", owner) if owner else None


@pytest.fixture
def news() -> list[tuple[Key | None, str]]:
    return []


@pytest.fixture
def store(news: list[tuple[Key | None, str]]) -> Store[str]:
    return Store(project, lambda key, item: news.append((key, item)))


News = list[tuple[Key | None, str]]


def test_an_event_is_news_only_if_the_projection_changed(store: Store[str], news: News) -> None:
    store.saw(obj("x", 1, "one"))
    store.saw(obj("x", 2, "one"))
    store.saw(obj("x", 3, "two"))
    assert news == [(OWNER, "one"), (OWNER, "two")]
    assert store.of(OWNER) == {"x": "two"}


def test_an_older_event_does_not_count(store: Store[str], news: News) -> None:
    store.saw(obj("x", 5, "new"))
    store.saw(obj("x", 4, "old"))
    assert store.get("a", "x") == "new"
    assert len(news) == 1


def test_our_own_write_is_known_at_once_and_is_no_news(store: Store[str], news: News) -> None:
    store.wrote(obj("x", 5, "written"))
    store.saw(obj("x", 5, "written"))
    assert store.get("a", "x") == "written"
    assert news == []


def test_an_event_from_before_our_write_does_not_undo_it(store: Store[str]) -> None:
    store.wrote(obj("x", 9, "written"))
    store.saw(obj("x", 7, "before"))
    assert store.get("a", "x") == "written"


def test_a_late_answer_does_not_bring_back_what_was_deleted(store: Store[str]) -> None:
    store.saw(obj("x", 1, "one"))
    store.saw_deletion(obj("x", 6))
    store.wrote(obj("x", 5, "written before the deletion"))
    assert store.get("a", "x") is None


def test_what_is_gone_is_not_brought_back_by_a_stream_that_is_behind(
    store: Store[str], news: News
) -> None:
    def with_uid(version: int, uid: str) -> dict[str, Any]:
        found = obj("x", version, uid)
        found["metadata"]["uid"] = uid
        return found

    store.saw(with_uid(5, "first"))
    store.wrote_deletion("a", "x", "first")  # a 404
    store.saw(with_uid(6, "first"))
    store.saw(with_uid(7, "first"))
    assert store.get("a", "x") is None
    store.saw_deletion(with_uid(8, "first"))
    store.saw(with_uid(9, "second"))
    assert store.get("a", "x") == "second"
    store.wrote_deletion("a", "x", "first")  # an answer from before
    assert store.get("a", "x") == "second"
    store.saw(with_uid(10, "second"))
    store.wrote_deletion("a", "x", "second")
    store.saw(with_uid(12, "third"))  # the stream lost the deletion
    assert store.get("a", "x") == "third"


def test_a_deletion_of_an_older_object_does_not_count(store: Store[str]) -> None:
    store.saw(obj("x", 1, "one"))
    store.wrote(obj("x", 8, "made anew"))
    store.saw_deletion(obj("x", 6))
    assert store.get("a", "x") == "made anew"


def test_a_list_tells_what_vanished(store: Store[str], news: News) -> None:
    store.saw(obj("x", 1, "x"))
    store.saw(obj("y", 2, "y"))
    news.clear()
    store.replace({Key("a", "y"): 2}, 10)
    assert news == [(OWNER, "x")]
    assert set(store.of(OWNER)) == {"y"}


def test_a_list_does_not_take_away_what_was_written_since(store: Store[str]) -> None:
    store.wrote(obj("x", 12, "x"))
    store.replace({}, 10)
    assert store.get("a", "x") == "x"


def test_an_object_that_changes_hands_is_news_for_both(store: Store[str], news: News) -> None:
    store.saw(obj("x", 1, "one"))
    store.saw(obj("x", 2, "one", owner="other"))
    assert news == [(OWNER, "one"), (OWNER, "one"), (Key("a", "other"), "one")]
    assert store.of(OWNER) == {}


def test_an_object_without_an_instance_is_kept(store: Store[str]) -> None:
    store.saw(obj("x", 1, "one", owner=None))
    assert store.get("a", "x") == "one"
    assert len(store) == 1


def test_two_indexes_of_one_store() -> None:
    heard: list[int] = []
    by_value: Marks[str, str] = Marks(Mark)
    by_length: Marks[str, int] = Marks(
        lambda item: Mark(len(item)), lambda *_: heard.append(len(by_value["one"]))
    )
    store: Store[str] = Store(project, marks=Both(by_value, by_length))
    store.saw(obj("x", 1, "one"))
    assert dict(by_length[3]) == dict(by_value["one"]) == {Key("a", "x"): "one"}
    assert heard == [1], "the first one knew of it"
    store.saw_deletion(obj("x", 2, "one"))
    assert not by_length[3]
    assert not by_value["one"]
