"""Try a request again while that may help: full jitter, a limit in time, woken by a stop."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from coffer_common.errors import CofferError, Transient
from coffer_guest.pipeline.stop import Stop

T = TypeVar("T")
_RANDOM: Final = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Again:
    """The verdict on a failed attempt: what to raise in the end, and whether to try before."""

    error: CofferError
    retry: bool


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`attempts` in all; the n-th pause is random between 0 and base * 2^n, capped.

    "Full jitter": Brooker 2015, "Exponential Backoff And Jitter". The defaults last through a
    network that is away for a minute: the pauses are more than 60 s long in the mean, and a request
    that gets no answer takes its own time-out besides.
    """

    attempts: int = 14
    base_s: float = 0.2
    cap_s: float = 20.0
    uniform: Callable[[float, float], float] = _RANDOM.uniform

    def run(self, call: Callable[[], T], judge: Callable[[Exception], Again], stop: Stop) -> T:
        """The first result; `judge` says what an exception means, or raises it if it is a fault.

        Raises the last verdict's error, and what `stop` is set to.
        """
        for attempt in range(self.attempts):
            stop.check()
            try:
                return call()
            except Exception as error:  # noqa: BLE001 - the judge re-raises what it does not know
                verdict = judge(error)
            if not verdict.retry or attempt + 1 == self.attempts:
                raise verdict.error
            stop.wait(self._pause_s(attempt, verdict.error))
        raise AssertionError("a policy has attempts")

    def _pause_s(self, attempt: int, error: CofferError) -> float:
        pause_s = self.uniform(0.0, min(self.cap_s, self.base_s * 2**attempt))
        if isinstance(error, Transient) and error.retry_after_s is not None:
            pause_s = max(pause_s, min(error.retry_after_s, self.cap_s))
        return pause_s
