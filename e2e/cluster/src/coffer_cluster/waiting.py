"""Waits on conditions, each with a deadline and a reason that can be read."""

import time
from collections.abc import Callable
from typing import TypeVar

from coffer_cluster.errors import StuckError

T = TypeVar("T")


def wait_for(
    what: str,
    probe: Callable[[], T | None],
    timeout_s: float,
    every_s: float = 0.05,
    detail: Callable[[], str] | None = None,
) -> T:
    """Return the first true answer of `probe`; past the deadline say what was waited for.

    `detail` adds what is known about the cause; it is asked only when it is too late.
    """
    deadline_s = time.monotonic() + timeout_s
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() >= deadline_s:
            reason = f": {detail()}" if detail else ""
            raise StuckError(f"waited {timeout_s:g} s for {what} in vain{reason}")
        time.sleep(every_s)
