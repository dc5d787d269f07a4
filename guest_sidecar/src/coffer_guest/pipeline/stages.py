"""Threads of a stream, with bounded work in flight.

A Stage runs calls on its own threads and hands results back in the order of submission. Its bound
is what keeps memory flat: whoever submits waits for the oldest result first. The first error of
any stage sets the stream's Stop, which wakes everybody who waits anywhere.
"""

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

from coffer_guest.pipeline.stop import Stop

T = TypeVar("T")
_MAX_WORKERS: Final = 8


def default_workers() -> int:
    """As many as there are processors for us."""
    return max(1, min(len(os.sched_getaffinity(0)), _MAX_WORKERS))


class Stage(Generic[T]):
    """Calls in flight on `threads` threads, at most `depth` of them; results in order."""

    def __init__(self, name: str, threads: int, depth: int, stop: Stop) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._flight: deque[Future[T]] = deque()
        self._depth = depth
        self._stop = stop

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Waits for the calls in flight: with an error, they are stopped before."""
        if error is not None:
            self._stop.set(error)
        self._pool.shutdown(wait=True, cancel_futures=True)

    @property
    def full(self) -> bool:
        return len(self._flight) >= self._depth

    def __len__(self) -> int:
        return len(self._flight)

    def submit(self, call: Callable[[], T]) -> None:
        """Start a call. The caller keeps the bound: `while stage.full: stage.next()`."""
        self._flight.append(self._pool.submit(self._guarded, call))

    def _guarded(self, call: Callable[[], T]) -> T:
        self._stop.check()
        try:
            return call()
        except BaseException as error:  # also a fault of ours: nobody may go on waiting
            self._stop.set(error)
            raise

    def next(self) -> T:
        """The oldest call's result, waited for; raises its error, or the stream's first one."""
        future = self._flight.popleft()
        future.exception()
        self._stop.check()
        return future.result()
