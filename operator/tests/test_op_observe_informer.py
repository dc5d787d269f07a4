"""List and watch: whatever happens to the stream, the store ends as the API server is."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from coffer_operator.kube.api import CONFIG_MAP, GoneError, Page, UnavailableError, WatchEvent
from coffer_operator.observe.informer import SILENCE_S, Informer
from coffer_operator.observe.store import Store

pytestmark = pytest.mark.looptime

Step = WatchEvent | Exception | float | None  # an event, an error, a pause, the end


def config(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"namespace": "a", "name": name, "resourceVersion": str(version)}}


def event(kind: Any, name: str, version: int) -> WatchEvent:
    return WatchEvent(kind, config(name, version))


class Scripted:
    """An API server that answers from a script; the last list and an idle watch go on for ever."""

    def __init__(self, lists: Sequence[Page | Exception], watches: list[list[Step]]) -> None:
        self._lists = list(lists)
        self._watches = watches
        self.watched_from: list[str] = []
        self.listed = 0

    async def list_page(self, *_: object, continue_token: str | None = None, **__: object) -> Page:
        self.listed += 1
        page = self._lists.pop(0) if len(self._lists) > 1 else self._lists[0]
        if isinstance(page, Exception):
            raise page
        return page

    async def watch(
        self, *_: object, resource_version: str, **__: object
    ) -> AsyncIterator[WatchEvent]:
        self.watched_from.append(resource_version)
        for step in self._watches.pop(0) if self._watches else [1e6]:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, float):
                await asyncio.sleep(step)
            elif step is not None:
                yield step


def page(*names: str, version: int, token: str | None = None) -> Page:
    return Page(tuple(config(name, version) for name in names), str(version), token)


async def names_after(api: Scripted, condition: Callable[[Store[str]], bool]) -> set[str]:
    """The names in the store once the condition holds."""
    changed = asyncio.Event()
    store: Store[str] = Store(lambda obj: (obj["metadata"]["name"], None), lambda *_: changed.set())
    informer = Informer(api, CONFIG_MAP, store, rng=random.Random(0))  # type: ignore[arg-type]  # scripted
    task = asyncio.create_task(informer.run())
    try:
        async with asyncio.timeout(1000):
            while not condition(store):
                changed.clear()
                await changed.wait()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return {ref.name for ref, _ in store.items()}


async def test_pages_and_events_fill_the_store() -> None:
    api = Scripted(
        [page("a", version=5, token="more"), page("b", version=5)],
        [[event("ADDED", "c", 6), event("DELETED", "a", 7)]],
    )
    assert await names_after(api, lambda s: s.get("a", "c") is not None) >= {"b", "c"}


async def test_too_old_a_version_leads_to_a_list_that_tells_of_deletions() -> None:
    api = Scripted([page("a", "b", version=5), page("b", version=9)], [[GoneError("too old")]])
    assert await names_after(api, lambda s: s.get("a", "a") is None and len(s) == 1) == {"b"}
    assert api.watched_from[0] == "5"


async def test_a_stream_that_ends_after_an_event_is_taken_up_there() -> None:
    api = Scripted(
        [page("a", version=5)],
        [
            [event("ADDED", "b", 6), event("BOOKMARK", "", 8), UnavailableError("cut")],
            [event("ADDED", "c", 9)],
        ],
    )
    await names_after(api, lambda s: len(s) == 3)
    assert api.watched_from[:2] == ["5", "8"]
    assert api.listed == 1


async def test_a_stream_that_told_nothing_begins_with_a_list() -> None:
    api = Scripted([page("a", version=5), page("z", version=7)], [[None]])
    assert await names_after(api, lambda s: s.get("a", "z") is not None) == {"z"}


async def test_a_silent_stream_is_given_up() -> None:
    api = Scripted([page("a", version=5), page("z", version=7)], [[1e9]])
    await names_after(api, lambda s: s.get("a", "z") is not None)
    assert asyncio.get_running_loop().time() >= SILENCE_S


async def test_a_list_that_fails_is_tried_again_with_patience() -> None:
    api = Scripted([UnavailableError("down")] * 6 + [page("a", version=5)], [])
    await names_after(api, lambda s: len(s) == 1)
    assert api.listed == 7
    assert asyncio.get_running_loop().time() > 8


async def test_an_expired_continuation_begins_anew() -> None:
    api = Scripted(
        [page("a", version=5, token="more"), GoneError("expired"), page("b", version=9)], []
    )
    assert await names_after(api, lambda s: s.get("a", "b") is not None) == {"b"}


async def test_one_list_is_enough_where_events_come_by_another_way() -> None:
    api = Scripted([UnavailableError("down"), page("a", version=5)], [])
    store: Store[str] = Store(lambda obj: (obj["metadata"]["name"], None))
    informer = Informer(api, CONFIG_MAP, store, rng=random.Random(0))  # type: ignore[arg-type]  # scripted
    await informer.list_until_synced()
    assert informer.synced.is_set()
    assert api.watched_from == []
