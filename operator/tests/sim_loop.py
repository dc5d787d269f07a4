"""An event loop in virtual time: nothing waits, and the same seed gives the same order.

Owns the clock of a simulation. It does no input or output: a wait is a step of the clock to the
next timer. Work for a thread is done at once, on the loop.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVarTuple

Args = TypeVarTuple("Args")

EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
RESOLUTION_S: Final = 1e-6  # of the clock: what is due within it is due at once


class StuckError(Exception):
    """Nothing is left that could happen, and the simulation has not ended."""


class VirtualLoop(asyncio.BaseEventLoop):
    """asyncio's own loop with steps of its own: there is nothing to poll, and waiting is free."""

    _ready: deque[asyncio.Handle]  # BaseEventLoop fills it
    _stopping: bool

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []  # a heap
        self._timers_made = 0

    def time(self) -> float:
        return self._now_s

    def call_at(
        self,
        when: float,
        callback: Callable[[*Args], object],
        *args: *Args,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Of two for the same moment the one that was asked for first is called first."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._timers_made += 1
        heapq.heappush(self._timers, (when, self._timers_made, timer))
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It stays where it is until its time has come: there are never many."""

    def _run_once(self) -> None:
        """What is ready runs, after the clock went on to the next timer where nothing was."""
        ready, timers = self._ready, self._timers
        while timers and timers[0][2].cancelled():
            heapq.heappop(timers)
        if not ready and not self._stopping:
            if not timers:
                raise StuckError("no timer is pending and nothing is ready")
            self._now_s = max(self._now_s, timers[0][0])
        until_s = self._now_s + RESOLUTION_S
        while timers and timers[0][0] < until_s:
            ready.append(heapq.heappop(timers)[2])
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle.cancelled():
                handle._run()

    def _write_to_self(self) -> None:
        """Called for call_soon_threadsafe: the loop never sleeps, so there is nobody to wake."""

    def run_in_executor(  # type: ignore[override]  # no thread: done at once, on the loop
        self, executor: object, func: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        del executor
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - the future carries it, as an executor would
            future.set_exception(error)
        return future


def now() -> datetime:
    """The virtual time of the running loop as a date."""
    return EPOCH + timedelta(seconds=asyncio.get_running_loop().time())


def stamp(moment: datetime | None = None) -> str:
    """RFC 3339 with seconds, as Kubernetes writes it."""
    return (moment or now()).strftime("%Y-%m-%dT%H:%M:%SZ")


def run_virtual(main: Coroutine[Any, Any, Any]) -> Any:
    """Run `main` to its end on a new loop; what it left behind is cancelled."""
    loop = VirtualLoop()
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(main)
    finally:
        _cancel_all(loop)
        asyncio.set_event_loop(None)
        loop.close()


def _cancel_all(loop: VirtualLoop) -> None:
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
