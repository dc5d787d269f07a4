"""A memory limit as a container has it: a cgroup, of either version."""

import contextlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

_V1: Final = Path("/sys/fs/cgroup/memory")
_V2: Final = Path("/sys/fs/cgroup")
_EMPTY_DEADLINE_S: Final = 10.0


class MemoryLimit:
    """A group of processes that together have `limit_bytes`. Goes with its block.

    Skips the test where this machine lets nobody make such a group, or lacks the memory.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._unified = not _V1.is_dir()
        self._folder = Path()

    def __enter__(self) -> "MemoryLimit":
        if available_bytes() < self._limit_bytes * 1.1:
            pytest.skip(f"less than {self._limit_bytes * 1.1 / 1024**3:.1f} GiB are available here")
        limit = "memory.max" if self._unified else "memory.limit_in_bytes"
        try:
            parent = _V2 if self._unified else _V1
            self._folder = Path(tempfile.mkdtemp(prefix="coffer-flavor-", dir=parent))
            (self._folder / limit).write_text(str(self._limit_bytes))
        except OSError as error:
            self.__exit__()
            pytest.skip(f"no memory cgroup can be made here: {error}")
        return self

    def __exit__(self, *_: object) -> None:
        end = time.monotonic() + _EMPTY_DEADLINE_S
        while self._folder.name:
            with contextlib.suppress(OSError):
                self._folder.rmdir()
                return
            if time.monotonic() > end:
                return
            time.sleep(0.05)

    def joining(self) -> Callable[[], None]:
        """To be called by a process that shall be in the group, before it becomes a program."""
        procs = self._folder / "cgroup.procs"

        def join() -> None:
            procs.write_text(str(os.getpid()))

        return join

    def killed(self) -> int:
        """How many processes were killed for want of memory."""
        file = "memory.events" if self._unified else "memory.oom_control"
        return self._fields(file)["oom_kill"]

    def used_bytes(self) -> int:
        """Memory that cannot be taken back: without the page cache."""
        fields = self._fields("memory.stat")
        return fields["anon"] if self._unified else fields["total_rss"]

    def _fields(self, file: str) -> dict[str, int]:
        lines = (self._folder / file).read_text().splitlines()
        return {name: int(value) for name, value in (line.split() for line in lines)}


def available_bytes() -> int:
    """Memory that this machine could give away now."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("/proc/meminfo does not tell MemAvailable")
