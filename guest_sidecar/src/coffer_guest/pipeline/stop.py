"""The word to stop: set once, seen by every thread, and by a thread that waits in poll(2).

It takes no lock, so a signal handler may set it at any moment.
"""

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final, Self

from coffer_common.errors import CofferError, Transient


class Cancelled(CofferError):
    """Somebody asked for the end of the work; nothing failed."""


class Stop:
    """Set by the first error or by a request; `check` raises what it was set to.

    A stop with a parent is set when its parent is. One with a time limit sets itself then.
    """

    def __init__(self, parent: "Stop | None" = None, limit_s: float | None = None) -> None:
        self._parent = parent
        self._limit_s = limit_s
        self._deadline_s = None if limit_s is None else time.monotonic() + limit_s
        self._error: BaseException | None = None
        self._event: Final = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._event)

    def set(self, error: BaseException | None = None) -> None:
        """Stop; the first error wins. Without one it is Cancelled."""
        if self._error is None:
            self._error = error or Cancelled("cancelled")
        os.eventfd_write(self._event, 1)

    def check(self) -> None:
        """Raise the error if it is set."""
        if self._parent is not None:
            self._parent.check()
        if self._error is not None:
            raise self._error
        if self._deadline_s is not None and time.monotonic() >= self._deadline_s:
            raise Transient(f"gave up after {self._limit_s:g} s")

    @property
    def remaining_s(self) -> float | None:
        """Until its time limit; None without one."""
        if self._deadline_s is None:
            return None
        return max(0.0, self._deadline_s - time.monotonic())

    def wait(self, seconds: float) -> None:
        """Sleep, unless and until it is set: then raise the error."""
        poll = select.poll()
        self.register(poll)
        end = time.monotonic() + seconds
        if self._deadline_s is not None:
            end = min(end, self._deadline_s)
        poll.poll(max(0.0, end - time.monotonic()) * 1000)
        self.check()

    def register(self, poll: select.poll) -> None:
        """Let `poll` return when this is set."""
        poll.register(self._event, select.POLLIN)
        if self._parent is not None:
            self._parent.register(poll)


@contextlib.contextmanager
def stopped_by_signal(number: signal.Signals = signal.SIGTERM) -> Iterator[Stop]:
    """A Stop that is set when the process gets the signal. In the main thread only."""
    with Stop() as stop:

        def handle(_number: int, _frame: FrameType | None) -> None:
            stop.set()

        before = signal.signal(number, handle)
        try:
            yield stop
        finally:
            signal.signal(number, before)


Progress = Callable[[int, int], None]  # bytes of the plain stream, bytes stored; so far


def unheard(_plain_bytes: int, _stored_bytes: int) -> None:
    """The Progress of somebody who does not want any."""
