"""Steps with their durations, as lines for people."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from rich.console import Console
from rich.table import Table

T = TypeVar("T")
_POLL_S = 0.1


class DemoError(Exception):
    """Something did not happen; the message is for the person at the terminal."""


@dataclass
class Steps:
    """What was done so far, and how long each step took."""

    console: Console = field(default_factory=lambda: Console(stderr=True, highlight=False))
    taken: list[tuple[str, float]] = field(default_factory=list)

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Announce a step, and note its time once it succeeded."""
        self.console.print(f"==> {what}")
        begin = time.monotonic()
        yield
        self.taken.append((what, time.monotonic() - begin))

    def say(self, text: str) -> None:
        self.console.print(f"    {text}", markup=False, soft_wrap=True)

    def wait(self, what: str, look: Callable[[], tuple[T | None, str]], timeout_s: float) -> T:
        """The first result of `look`; its second part says what is still awaited.

        Raises DemoError with the last word after `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        shown = ""
        while True:
            result, state = look()
            if result is not None:
                return result
            if state != shown:
                self.say(f"{what}: {state}")
                shown = state
            if time.monotonic() > deadline:
                raise DemoError(f"{what} not within {timeout_s:g} s; last seen: {state}")
            time.sleep(_POLL_S)

    def summary(self) -> None:
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(justify="right")
        table.add_column()
        for what, seconds in self.taken:
            table.add_row(f"{seconds:.1f} s", what)
        self.console.print(table)
