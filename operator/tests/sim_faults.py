"""What goes wrong between the operator and the rest, from seeded random numbers.

Implements the Faults of `sim_client` and the AgentFaults of `sim_agents`. After `stop` requests
still take time, but nothing fails any more.
"""

import asyncio
import random
from dataclasses import dataclass
from typing import Final

from coffer_common.errors import CofferError
from coffer_operator.kube.api import ConflictError, Kind, UnavailableError

_WRITES: Final = frozenset({"apply", "create", "patch", "delete"})


@dataclass(frozen=True)
class Rates:
    """How often what happens, as probabilities per request or event."""

    lost_request: float = 0.0
    lost_answer: float = 0.0
    throttled: float = 0.0
    conflict: float = 0.0
    late_event: float = 0.0
    doubled_event: float = 0.0
    broken_stream: float = 0.0
    agent_lost: float = 0.0
    agent_lost_answer: float = 0.0
    agent_doubled: float = 0.0


def draw_rates(rng: random.Random) -> Rates:
    """Some runs are calm, some rough, most rough in some ways only."""

    def rate(most: float) -> float:
        return rng.choice((0.0, most / 10, most / 3, most))

    return Rates(
        lost_request=rate(0.15),
        lost_answer=rate(0.10),
        throttled=rate(0.10),
        conflict=rate(0.10),
        late_event=rate(0.3),
        doubled_event=rate(0.2),
        broken_stream=rate(0.05),
        agent_lost=rate(0.15),
        agent_lost_answer=rate(0.15),
        agent_doubled=rate(0.2),
    )


class SeededFaults:
    """Faults at the given rates."""

    def __init__(self, rng: random.Random, rates: Rates) -> None:
        self._rng = rng
        self._rates = rates
        self.api_away = False
        self.agents_disturbed_at = 0.0  # loop time

    def stop(self) -> None:
        """Nothing fails any more."""
        self._rates = Rates()
        self.api_away = False

    def _happens(self, rate: float) -> bool:
        return rate > 0 and self._rng.random() < rate

    # --- the API server --------------------------------------------------------------------------

    def latency_s(self) -> float:
        return self._rng.uniform(0.001, 0.02)

    def before(self, verb: str, kind: Kind) -> CofferError | None:
        del kind
        if self.api_away:
            return UnavailableError("connection refused")
        if self._happens(self._rates.lost_request):
            return UnavailableError("500 Internal Server Error")
        if self._happens(self._rates.throttled):
            return UnavailableError("429 Too Many Requests", self._rng.uniform(0.5, 3.0))
        if verb in ("apply", "patch") and self._happens(self._rates.conflict):
            return ConflictError("the object has been modified")
        return None

    def after(self, verb: str, kind: Kind) -> CofferError | None:
        del kind
        if verb in _WRITES and self._happens(self._rates.lost_answer):
            return UnavailableError("connection reset")
        return None

    def event_delay_s(self, kind: Kind) -> float:
        del kind
        if self._happens(self._rates.late_event):
            return self._rng.choice((0.2, 2.0, 10.0)) * self._rng.random()
        return self._rng.uniform(0.001, 0.02)

    def event_copies(self, kind: Kind) -> int:
        del kind
        if self._happens(self._rates.broken_stream):
            return 0
        return 2 if self._happens(self._rates.doubled_event) else 1

    # --- the agents ------------------------------------------------------------------------------

    def agent_latency_s(self) -> float:
        return self._rng.uniform(0.001, 0.02)

    def agent_before(self) -> bool:
        return self._disturbs(self._rates.agent_lost)

    def agent_after(self) -> bool:
        return self._disturbs(self._rates.agent_lost_answer)

    def _disturbs(self, rate: float) -> bool:
        happens = self._happens(rate)
        if happens:
            self.agents_disturbed_at = asyncio.get_running_loop().time()
        return happens

    def agent_copies(self) -> int:
        return 2 if self._happens(self._rates.agent_doubled) else 1
