"""An event loop in virtual time: nothing waits, and the same seed gives the same order.

Owns the clock of a simulation. It does no input or output: a wait is a step of the clock to the
next timer. Work for a thread is done at once, on the loop.
"""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, Final

EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)


class StuckError(Exception):
    """Nothing is left that could happen, and the simulation has not ended."""


class _Clock:
    """Stands where the loop expects a selector: waiting moves the clock."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise StuckError("no timer is pending and nothing is ready")
        self.now_s += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.BaseEventLoop):
    """asyncio's own loop over `_Clock`."""

    def __init__(self) -> None:
        super().__init__()
        self._clock_resolution = 1e-6
        self._clock = _Clock()
        self._selector = self._clock  # the attribute that BaseEventLoop waits on

    def time(self) -> float:
        return self._clock.now_s

    def _process_events(self, event_list: list[Any]) -> None:
        del event_list

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
