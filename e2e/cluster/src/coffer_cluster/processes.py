"""Processes told apart beyond doubt, so that none but our own is ever ended.

A pid is reused; a pid with its start time is not, until the machine restarts, which the boot id
tells. Signals go through a pidfd that was checked after it was opened.
"""

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from coffer_cluster.waiting import wait_for

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
END_TIMEOUT_S = 20


@dataclass(frozen=True)
class Identity:
    """One process of one boot of the machine."""

    pid: int
    start_ticks: int
    boot_id: str

    @classmethod
    def read(cls, path: Path) -> "Identity | None":
        """The identity in a pid file, or None where there is none that can be read."""
        try:
            fields = json.loads(path.read_text())
            return cls(int(fields["pid"]), int(fields["start_ticks"]), str(fields["boot_id"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @classmethod
    def of(cls, pid: int) -> "Identity | None":
        """The identity of a living process."""
        ticks = start_ticks(pid)
        return None if ticks is None else cls(pid, ticks, BOOT_ID.read_text().strip())

    @property
    def alive(self) -> bool:
        return Identity.of(self.pid) == self

    def send(self, number: signal.Signals) -> bool:
        """Send the signal to this very process; false if it is gone."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            # Checked with the descriptor open: from here on the pid cannot come to mean another.
            if not self.alive:
                return False
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(descriptor)
        return True

    def end(self) -> None:
        """Kill it and return when it is gone."""
        self.send(signal.SIGKILL)
        wait_for(f"process {self.pid} to end", lambda: not self.alive, END_TIMEOUT_S)


def start_ticks(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat; None for a process that is gone or only waits to be reaped."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name in brackets and may hold anything.
    fields = stat[stat.rindex(")") + 1 :].split()
    return None if fields[0] in {"Z", "X"} else int(fields[19])
