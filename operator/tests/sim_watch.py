"""The history of the simulated API server, and the watches that read it.

Owns resourceVersions and the window that watches can start in. A watch is exact and in order;
delays, losses and doubles are the client's.
"""

import asyncio
import marshal
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from coffer_operator.kube.api import GoneError, Kind, Object, WatchEvent

WINDOW: Final = timedelta(minutes=5)  # etcd's compaction interval
BOOKMARK_S: Final = 60.0


@dataclass(frozen=True)
class Change:
    """One change of one object; `last` is what a DELETED event shows."""

    before: Object | None
    after: Object | None
    last: Object | None = None

    @property
    def shown(self) -> Object:
        shown = self.after or self.last
        assert shown is not None
        return shown


@dataclass(frozen=True)
class _Entry:
    version: int
    at: datetime
    change: Change


class History:
    """All changes by kind, as far back as the window goes."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._entries: dict[Kind, deque[_Entry]] = {}
        self._oldest: dict[Kind, int] = {}  # a watch may start at this version or later
        self._compacted = 0
        self._watches: list[Watch] = []
        self.version = 1

    def versioned(self, obj: Object) -> Object:
        """The object with the next resourceVersion."""
        self.version += 1
        return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version)}}

    def add(self, kind: Kind, change: Change) -> None:
        entries = self._entries.setdefault(kind, deque())
        entries.append(_Entry(self.version, self._clock(), change))
        while entries[0].at < self._clock() - WINDOW:
            self._oldest[kind] = entries.popleft().version
        for watch in self._watches:
            if watch.kind == kind:
                watch.wake()

    def compact(self) -> None:
        """Forget the past: a watch that starts in it is told 410. Those that run miss nothing."""
        self._compacted = self.version

    def gone(self, message: str) -> GoneError:
        return GoneError(f"{message} (current resourceVersion: {self.version})")

    def watch(
        self,
        kind: Kind,
        resource_version: str,
        matches: Callable[[Object], bool],
        bookmark_s: float = BOOKMARK_S,
    ) -> "Watch":
        """A watch from a version on; GoneError where that is too old."""
        since = int(resource_version)
        if since < max(self._oldest.get(kind, 2), self._compacted):
            raise self.gone(f"too old resource version: {since}")
        watch = Watch(self, kind, since, matches, bookmark_s)
        self._watches.append(watch)
        return watch

    def after(self, kind: Kind, version: int) -> list[_Entry]:
        """Entries later than a version, oldest first."""
        entries = self._entries.get(kind, ())
        if not entries or entries[-1].version <= version:
            return []
        return [entry for entry in entries if entry.version > version]

    def drop(self, watch: "Watch") -> None:
        if watch in self._watches:
            self._watches.remove(watch)

    def end_watches(self) -> None:
        """End every watch, as a server that goes away does."""
        for watch in list(self._watches):
            watch.end()


class Watch:
    """One open watch; iterate it once."""

    def __init__(
        self,
        history: History,
        kind: Kind,
        since: int,
        matches: Callable[[Object], bool],
        bookmark_s: float,
    ) -> None:
        self.kind = kind
        self._history = history
        self._seen = since
        self._matches = matches
        self._bookmark_s = bookmark_s
        self._news = asyncio.Event()
        self._ended = False
        if history.after(kind, since):
            self._news.set()

    def wake(self) -> None:
        self._news.set()

    def end(self) -> None:
        self._ended = True
        self._history.drop(self)
        self._news.set()

    async def events(self) -> AsyncIterator[WatchEvent]:
        """The events, until the server ends the watch."""
        try:
            while not self._ended:
                try:
                    async with asyncio.timeout(self._bookmark_s):
                        await self._news.wait()
                except TimeoutError:
                    if not self._news.is_set():  # it may have come at that very moment
                        yield self._bookmark()
                    continue
                self._news.clear()
                for event in [] if self._ended else self._new():
                    yield event
        finally:
            self._history.drop(self)

    def _new(self) -> list[WatchEvent]:
        events = []
        for entry in self._history.after(self.kind, self._seen):
            self._seen = entry.version
            event = self._event(entry.change)
            if event is not None:
                events.append(event)
        return events

    def _event(self, change: Change) -> WatchEvent | None:
        was = change.before is not None and self._matches(change.before)
        shown = change.shown
        obj: Any = marshal.loads(marshal.dumps(shown))
        if change.after is None or not self._matches(change.after):
            return WatchEvent("DELETED", obj) if was else None
        return WatchEvent("MODIFIED" if was else "ADDED", obj)

    def _bookmark(self) -> WatchEvent:
        self._seen = max(self._seen, self._history.version)
        return WatchEvent(
            "BOOKMARK",
            {
                "apiVersion": self.kind.api_version,
                "kind": self.kind.kind,
                "metadata": {"resourceVersion": str(self._seen)},
            },
        )
