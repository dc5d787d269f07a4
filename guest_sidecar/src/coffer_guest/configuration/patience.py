"""When a request that is not in force yet must not be waited for any longer.

Owns the clock of it. Changes nothing about the request: it is tried on; others need not wait.
"""

import time
from collections.abc import Callable
from typing import Final

PATIENCE_S: Final = 120.0  # far more than any engine takes for values, less than people wait


class Patience:
    """How long the newest request has been tried; `clock` in seconds, never set back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._behind: str | None = None
        self._since = 0.0
        self._trouble = ""

    def met(self, trouble: str) -> None:
        """What the latest attempt ended with; "" where nothing went wrong."""
        self._trouble = trouble

    def hindered(self, behind: str | None) -> str | None:
        """Why the request of that hash is not in force, once it has been tried for too long.

        `behind`: None where the newest request is in force, or was rejected.
        """
        if behind != self._behind:
            self._behind, self._since = behind, self._clock()
        if behind is None or self._clock() - self._since < PATIENCE_S:
            return None
        return self._trouble or "the engine does not answer"
