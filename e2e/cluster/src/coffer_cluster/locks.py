"""Locks between processes: one at a time changes a cluster, or builds one thing."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from coffer_cluster import console
from coffer_cluster.errors import StuckError

POLL_S = 0.2


@contextmanager
def exclusive(path: Path, timeout_s: float) -> Iterator[None]:
    """Hold the lock file; the kernel lets go of it when this process ends in any way."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _acquire(descriptor, path, timeout_s)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, path: Path, timeout_s: float) -> None:
    deadline_s = time.monotonic() + timeout_s
    said = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline_s:
                raise StuckError(
                    f"another process has held {path} for {timeout_s:g} s; end it, then try again"
                ) from None
            if not said:
                console.say(f"another process holds {path}, waiting for it")
                said = True
            time.sleep(POLL_S)
        else:
            return
