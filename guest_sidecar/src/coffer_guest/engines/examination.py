"""What an engine says of the rules for its parameters: the words, and the engine to ask.

Used by `coffer_guest.check_rules` alone, never by the agent. An engine's part is its module
`parameters` with `examine`.
"""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from coffer_common.errors import Permanent
from coffer_common.parameter import Parameter

START_TIMEOUT_S: Final = 60.0
_LOOK_AGAIN_S: Final = 0.05
_LOG_TAIL: Final = 2000  # characters


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One thing that a rule says and the engine says otherwise."""

    parameter: str
    text: str


@dataclass(slots=True)
class Examination:
    """All that was found."""

    engine: str = ""  # its version
    examined: int = 0
    disagreements: list[Disagreement] = field(default_factory=list)
    without_rule: list[str] = field(default_factory=list)  # parameters of the engine, by name

    def add(self, parameter: str, text: str) -> None:
        found = Disagreement(parameter, text)
        if found not in self.disagreements:
            self.disagreements.append(found)


#: Asks a running engine of its own, in an empty directory, about all the rules.
Examine = Callable[[Mapping[str, Parameter], Path], Examination]


@contextmanager
def served(argv: Sequence[str], home: Path, path: Path) -> Iterator[None]:
    """An engine that takes connections at the socket `path`; it is killed at the end.

    Raises Permanent where it ends or does not serve in time, with the end of its log.
    """
    log = home / "engine.log"
    environment = {"PATH": os.defpath, "TZ": "UTC", "HOME": str(home)}
    with (
        log.open("wb") as output,
        subprocess.Popen(  # noqa: S603 - an argv list without user input
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            process_group=0,
        ) as process,
    ):
        try:
            _await(process, path, log)
            yield
        finally:
            # nothing in it is worth a clean end; a child of it would go on writing files
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _await(process: "subprocess.Popen[bytes]", path: Path, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not _listens(path):
        if process.poll() is not None:
            raise Permanent(f"the engine ended with {process.returncode}:\n{_tail(log)}")
        if time.monotonic() > deadline:
            raise Permanent(f"the engine does not serve in {START_TIMEOUT_S:g} s:\n{_tail(log)}")
        time.sleep(_LOOK_AGAIN_S)


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as door:
        try:
            door.connect(str(path))
        except OSError:
            return False
        return True


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-_LOG_TAIL:]
