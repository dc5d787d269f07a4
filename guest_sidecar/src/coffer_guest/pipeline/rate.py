"""A limit on bytes per second, for one thread."""

import time
from collections.abc import Callable
from typing import Final

from coffer_guest.pipeline.stop import Stop

_BURST_S: Final = 0.25


class RateLimit:
    """A token bucket that holds a quarter of a second's bytes; no rate means no limit."""

    def __init__(
        self, bytes_per_s: int | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = bytes_per_s
        self._clock = clock
        self._free_at_s = clock()

    def take(self, count_bytes: int, stop: Stop) -> None:
        """Wait until `count_bytes` fit into the rate; raises what `stop` is set to."""
        if self._rate is None:
            return
        now = self._clock()
        self._free_at_s = max(self._free_at_s, now - _BURST_S) + count_bytes / self._rate
        if self._free_at_s > now:
            stop.wait(self._free_at_s - now)
