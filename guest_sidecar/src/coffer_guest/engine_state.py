"""What the launcher and the probes together say of the engine, and what to ask of the launcher.

Pure. "It does not answer" is never taken for "it is dead": only the launcher knows of deaths.
"""

import signal
from dataclasses import dataclass
from enum import Enum
from typing import Final

from pydantic import BaseModel, ConfigDict

from coffer_common.wire import EngineState
from coffer_guest import launch_machine as machine
from coffer_guest.intent import Intent

#: So many probes in a row must fail before an engine that has answered counts as unresponsive.
FAILED_PROBES: Final = 2
_FAILED_STARTS: Final = 3  # by signals

_AT_REST: Final = {
    machine.WAITING: EngineState.WAITING,
    machine.STOPPED: EngineState.STOPPED,
}


class View(BaseModel):
    """The launcher's word on the engine: `launch_machine.Machine.describe` and two facts more."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    boot_id: str
    revision: int  # of what one launcher says: the higher is the newer
    locked: bool
    state: str
    generation: int
    cause: str
    pid: int | None
    started_at: str | None
    restarts: int
    last_exit: str | None
    restarted_for: str | None
    restarting_for: str | None
    answered: bool
    terminating: bool
    configuration: str | None = None  # what the last process was started with; an older one's: None
    next_configuration: str | None = None
    failed_starts: int = 0  # processes in a row that died unasked and had never answered


@dataclass(frozen=True, slots=True)
class Probes:
    """The latest probes of one engine process."""

    answered: bool = False  # this process has answered at some time
    failures: int = 0  # since its last answer
    error: str = ""  # of the last failure


class Command(Enum):
    """What to ask of the launcher now."""

    START = "start"
    STOP = "stop"
    RESTART = "restart"
    NOTE_RESTART = "note restart"  # the launcher has done it: remember that


def steer(intent: Intent, view: View, *, roll_back: bool = False) -> Command | None:
    """The next command that brings the engine nearer to the intent; None: nothing to do now.

    `roll_back`: the process runs with a configuration that it does not start with.
    """
    if view.terminating or not view.locked or view.state == machine.CRASH_LOOP:
        return None
    if intent.restart is not None:
        if view.restarted_for == intent.restart:
            return Command.NOTE_RESTART
        return None if view.restarting_for == intent.restart else Command.RESTART
    if roll_back and view.state == machine.RUNNING:
        return Command.STOP  # and once it is stopped, it is started with what is good
    if intent.running:
        mended = roll_back and view.state == machine.BACK_OFF
        at_rest = view.state in (machine.WAITING, machine.STOPPED)
        return Command.START if at_rest or mended else None
    return Command.STOP if view.state in (machine.RUNNING, machine.BACK_OFF) else None


def same_process(one: View, other: View | None) -> bool:
    """Both are of one process, and at the time of `other` it was to run on."""
    if other is None or other.state != machine.RUNNING:
        return False
    return (one.boot_id, one.generation) == (other.boot_id, other.generation)


def failed_start(view: View, before: int) -> bool:
    """The engine does not start with `view.configuration`, and that is its own doing.

    `before` is how many starts in a row had failed when this agent came: what it did not see may
    have had other reasons. Whoever is killed is not to blame, unless it happens again and again.
    """
    failed = view.failed_starts - before
    by_itself = (view.last_exit or "").startswith("exit ") and view.last_exit != "exit 0"
    return failed >= _FAILED_STARTS or (failed > 0 and by_itself)


def death(last_exit: str | None, words: str) -> str:
    """Why a process died, on one line; `words` are its last ones."""
    if last_exit is None or not last_exit.startswith("signal "):
        return words or f"it ended with {last_exit}"
    how = f"it was killed by {last_exit}"
    if last_exit == f"signal {int(signal.SIGKILL)}":
        how += ", as the kernel does where memory runs out"
    return f"{how}; its last words: {words}" if words else how


def judge(view: View | None, last: View | None, probes: Probes) -> tuple[EngineState, str]:
    """The engine's state and one line about it.

    `view` is None while the launcher cannot be reached, `last` is what it said before.
    """
    if view is None:
        return _without_launcher(last)
    if view.state == machine.RUNNING:
        return _of_process(view, probes)
    if view.state in (machine.STOPPING, machine.BACK_OFF):
        return _between_processes(view)
    if view.state == machine.CRASH_LOOP:
        return EngineState.CRASH_LOOP, _crash_loop(view)
    if view.state == machine.STOPPED or view.locked:
        return _AT_REST[view.state], ""
    return EngineState.WAITING, "the launcher waits for the volume's lock: another pod holds it"


def _between_processes(view: View) -> tuple[EngineState, str]:
    if view.state == machine.BACK_OFF:
        return EngineState.CRASHED, f"it is started anew in a moment, after {view.last_exit}"
    if view.restarting_for is not None:
        return EngineState.STARTING, "the engine is stopped for a restart"
    return EngineState.STOPPED, "the engine is being stopped"


def _without_launcher(last: View | None) -> tuple[EngineState, str]:
    if last is not None and last.state == machine.CRASH_LOOP:
        return EngineState.CRASH_LOOP, _crash_loop(last)
    if last is not None and last.terminating and last.pid is None:
        return EngineState.STOPPED, "the database container has ended"
    return EngineState.UNKNOWN, "the launcher cannot be reached"


def _of_process(view: View, probes: Probes) -> tuple[EngineState, str]:
    if probes.answered and probes.failures < FAILED_PROBES:
        return EngineState.RUNNING, ""
    if probes.failures == 0 and view.answered:
        return EngineState.UNKNOWN, "it has not been asked yet"  # by this agent
    if probes.answered or view.answered:
        return EngineState.UNRESPONSIVE, probes.error
    if view.cause == machine.CAUSE_CRASH:
        return EngineState.CRASHED, "; ".join(
            filter(None, (f"started anew after {view.last_exit}", probes.error))
        )
    return EngineState.STARTING, probes.error


def _crash_loop(view: View) -> str:
    return f"the engine died again and again, last with {view.last_exit}; see its log"
