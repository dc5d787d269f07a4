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
from typing import Final, cast

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
        self._watches: dict[Kind, list[Watch]] = {}
        self.version = 1

    def versioned(self, obj: Object) -> Object:
        """The object with the next resourceVersion."""
        self.version += 1
        return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version)}}

    def add(self, kind: Kind, change: Change) -> None:
        entries = self._entries.setdefault(kind, deque())
        entries.append(_Entry(self.version, self._clock(), change))
        oldest = self._clock() - WINDOW
        while entries[0].at < oldest:
            self._oldest[kind] = entries.popleft().version
        for watch in self._watches.get(kind, ()):
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
        self._watches.setdefault(kind, []).append(watch)
        return watch

    def after(self, kind: Kind, version: int) -> list[_Entry]:
        """Entries later than a version, oldest first."""
        later = []
        for entry in reversed(self._entries.get(kind, ())):
            if entry.version <= version:
                break
            later.append(entry)
        later.reverse()
        return later

    def drop(self, watch: "Watch") -> None:
        open_ones = self._watches.get(watch.kind, [])
        if watch in open_ones:
            open_ones.remove(watch)

    def end_watches(self) -> None:
        """End every watch, as a server that goes away does."""
        for watch in [watch for watches in self._watches.values() for watch in watches]:
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
        """The events, until the server ends the watch; a bookmark where none came for a while."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                silence = loop.call_later(self._bookmark_s, self._news.set)
                try:
                    await self._news.wait()
                finally:
                    silence.cancel()
                self._news.clear()
                if self._ended:  # which is news, too
                    return
                entries = self._history.after(self.kind, self._seen)
                if not entries:
                    yield self._bookmark()
                    continue
                self._seen = entries[-1].version
                for event in [self._event(entry.change) for entry in entries]:
                    if event is not None:
                        yield event
        finally:
            self._history.drop(self)

    def _event(self, change: Change) -> WatchEvent | None:
        was = change.before is not None and self._matches(change.before)
        if change.after is None or not self._matches(change.after):
            return WatchEvent("DELETED", _copied(change.shown)) if was else None
        return WatchEvent("MODIFIED" if was else "ADDED", _copied(change.after))

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


def _copied(obj: Object) -> Object:
    return cast(Object, marshal.loads(marshal.dumps(obj)))
