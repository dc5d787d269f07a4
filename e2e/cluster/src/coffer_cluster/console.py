"""What a person sees while the cluster is worked on: one line for each step, with its time.

It writes to standard error: standard output belongs to the answers of commands.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_quiet = False
_name = "cluster"


def set_name(name: str) -> None:
    """The word before each line: other tools that use this module have their own."""
    global _name  # noqa: PLW0603 - one process has one terminal
    _name = name


def set_quiet(quiet: bool) -> None:
    global _quiet  # noqa: PLW0603 - one process has one terminal
    _quiet = quiet


def say(text: str) -> None:
    if _quiet:
        return
    with _lock:
        print(f"{_name}: {text}", file=sys.stderr, flush=True)


@contextmanager
def step(text: str) -> Iterator[None]:
    """Say what is done now, and how long it took if that was long enough to wonder."""
    say(f"{text} …")
    start_s = time.monotonic()
    yield
    took_s = time.monotonic() - start_s
    if took_s >= 1:
        say(f"{text}: {took_s:.1f} s")
