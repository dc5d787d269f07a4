"""The keyed work queue: which instance is to be looked at, when, and in which order.

A key is never with two workers at once and never waits twice; one that is added while it is
worked on comes again afterwards. Namespaces take turns, so that one with a thousand instances does
not keep another waiting. Knows nothing of what a key means.
"""

import asyncio
import random
from collections import OrderedDict
from typing import Final

from coffer_operator.kube.api import Key

FIRST_BACKOFF_S: Final = 0.5
MAX_BACKOFF_S: Final = 300.0
_EARLY_S: Final = 0.01  # how much before its time a timer may fire


class WorkQueue:
    """Keys that wait, keys that are worked on, and keys that are due later."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._ready: OrderedDict[str, OrderedDict[Key, float]] = OrderedDict()
        self._active: set[Key] = set()
        self._dirty: set[Key] = set()
        self._later: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._retry_at: dict[Key, float] = {}  # when the back-off of the last failure ends
        self._waiting: asyncio.Event = asyncio.Event()

    def __len__(self) -> int:
        """How many keys wait for a worker."""
        return sum(len(keys) for keys in self._ready.values())

    def oldest_s(self) -> float:
        """Seconds that the key has waited that waits longest."""
        added = [at for keys in self._ready.values() for at in keys.values()]
        return self._now() - min(added) if added else 0.0

    def failures(self, key: Key) -> int:
        """How often in a row work on the key failed."""
        return self._failures.get(key, 0)

    def add(self, key: Key, after_s: float = 0.0) -> None:
        """Have the key worked on, now or after a while; the earlier of two times counts."""
        if after_s > 0:
            due = self._now() + after_s
            planned = self._later.get(key)
            if planned is not None and planned.when() <= due:
                return
            self._cancel(key)
            self._later[key] = asyncio.get_running_loop().call_at(due, self._due, key)
        elif key in self._active:
            self._dirty.add(key)
        else:
            keys = self._ready.setdefault(key.namespace, OrderedDict())
            keys.setdefault(key, self._now())
            self._waiting.set()

    async def get(self) -> Key:
        """The next key, which is this worker's until `done`."""
        while not self._ready:
            self._waiting.clear()
            await self._waiting.wait()
        namespace, keys = next(iter(self._ready.items()))
        key, _ = keys.popitem(last=False)
        if keys:
            self._ready.move_to_end(namespace)
        else:
            del self._ready[namespace]
        self._cancel(key)  # what was planned for later is decided anew by this run
        self._active.add(key)
        return key

    def done(self, key: Key) -> None:
        """The worker has finished with the key."""
        self._active.discard(key)
        if key in self._dirty:
            self._dirty.discard(key)
            self.add(key)

    def failed(self, key: Key, at_least_s: float = 0.0) -> float:
        """Work on the key failed: it comes again after an exponential back-off; the seconds.

        A run that an event brought about before its time does not make the back-off longer: ten
        events within a second would make it minutes.
        """
        now = self._now()
        count = self._failures.get(key, 0)
        if now >= self._retry_at.get(key, now) - _EARLY_S:
            count = self._failures[key] = count + 1
        backoff_s = min(FIRST_BACKOFF_S * 2.0 ** min(count - 1, 20), MAX_BACKOFF_S)
        wait_s = max(backoff_s * self._rng.uniform(0.75, 1.25), at_least_s)
        self._retry_at[key] = now + wait_s
        self.add(key, wait_s)
        return wait_s

    def succeeded(self, key: Key) -> None:
        """Work on the key went well: its next failure is its first."""
        self._failures.pop(key, None)
        self._retry_at.pop(key, None)

    def forget(self, key: Key) -> None:
        """The key will not come again unless it is added."""
        self._cancel(key)
        self._failures.pop(key, None)
        self._retry_at.pop(key, None)

    def close(self) -> None:
        """Cancel what is planned for later."""
        for key in list(self._later):
            self._cancel(key)

    def _due(self, key: Key) -> None:
        del self._later[key]
        self.add(key)

    def _cancel(self, key: Key) -> None:
        if (handle := self._later.pop(key, None)) is not None:
            handle.cancel()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
