"""The launcher's decisions: what to do when the engine dies, or is to start, stop or restart.

Pure: no clock, no process, no file; each input returns the actions that follow from it. Imports
nothing, since the launcher must start fast and stay small.

A `restart` carries a token and is done once per token, however often it is asked for; the agent
may die between any two calls and a new one finds everything in `describe`.
"""

from __future__ import annotations

# states
WAITING = "waiting"  # never started in this launcher's life
RUNNING = "running"
STOPPING = "stopping"
BACK_OFF = "back_off"  # died again before it ever answered; it is started in a moment
STOPPED = "stopped"  # by request
CRASH_LOOP = "crash_loop"  # the launcher exits

# why the running process was started
CAUSE_START = "start"
CAUSE_RESTART = "restart"
CAUSE_CRASH = "crash"

# what follows when a stopping engine is gone
_THEN_REST = "rest"
_THEN_START = "start"
_THEN_EXIT = "exit"

# actions
SPAWN = "spawn"  # start `machine.spec`
SIGNAL = "signal"  # send `number` to the engine
EXIT = "exit"  # end the launcher with code `number`

SIGKILL = 9

_FIRST_BACK_OFF_S = 0.25  # from the second failed start on, doubling


class Spec:
    """What is executed: argv, environment, how to end it cleanly and how long that may take.

    With `stop_again_s`, the signal to end is sent again and again, since the engine may refuse.
    `configuration` is the agent's name for what the engine is started with.
    """

    __slots__ = ("argv", "configuration", "env", "stop_again_s", "stop_signal", "stop_timeout_s")

    def __init__(
        self,
        argv: list[str],
        env: dict[str, str],
        stop_signal: int,
        stop_timeout_s: float,
        stop_again_s: float | None = None,
        configuration: str | None = None,
    ) -> None:
        self.argv = argv
        self.configuration = configuration
        self.env = env
        self.stop_signal = stop_signal
        self.stop_timeout_s = stop_timeout_s
        self.stop_again_s = stop_again_s


class Action:
    """One thing for the shell to do: SPAWN, SIGNAL or EXIT."""

    __slots__ = ("kind", "number")

    def __init__(self, kind: str, number: int = 0) -> None:
        self.kind = kind
        self.number = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Action) and (self.kind, self.number) == (other.kind, other.number)

    def __hash__(self) -> int:
        return hash((self.kind, self.number))

    def __repr__(self) -> str:
        return f"Action({self.kind}, {self.number})"


class CrashCounter:
    """Counts unasked deaths; says when there were `limit` of them within `window_s`."""

    def __init__(self, limit: int = 5, window_s: float = 60.0) -> None:
        self.limit = limit
        self.window_s = window_s
        self._deaths: list[float] = []

    def add(self, now: float) -> bool:
        """Note a death at monotonic time `now`; True when the limit is reached."""
        self._deaths = [at for at in self._deaths if now - at < self.window_s]
        self._deaths.append(now)
        return len(self._deaths) >= self.limit

    def forget(self) -> None:
        self._deaths.clear()


class Machine:
    """The engine process as the launcher knows it, and what is to follow."""

    def __init__(self, crashes: CrashCounter | None = None) -> None:
        self.state = WAITING
        self.spec: Spec | None = None
        self.generation = 0  # how many processes this launcher has started
        self.cause = CAUSE_START
        self.pid: int | None = None
        self.started_at: str | None = None
        self.restarts = 0  # unasked ones
        self.last_exit: str | None = None
        self.restarted_for: str | None = None  # token of the last restart that was done
        self.answered = False  # the agent saw this process answer
        self.configuration: str | None = None  # that the last process was started with
        self.failed_starts = 0  # processes in a row that died unasked and had never answered
        self.terminating = False
        self.kill_at: float | None = None  # when a stopping engine is killed
        self._again_at: float | None = None  # when it is told again to stop
        self._start_at: float | None = None  # end of the back-off
        self._crashes = crashes or CrashCounter()
        self._then = _THEN_REST
        self._then_cause = CAUSE_START
        self._token: str | None = None  # of the restart under way

    # --- requests -------------------------------------------------------------------------------
    def start(self, spec: Spec) -> list[Action]:
        """Run the engine; nothing happens when it runs already."""
        if self.terminating or self.state in (RUNNING, CRASH_LOOP):
            return []
        self.spec = spec
        if self.state == STOPPING:
            if self._then == _THEN_REST:
                self._then, self._then_cause = _THEN_START, CAUSE_START
            return []
        return self._spawn(CAUSE_START)

    def prepare(self, spec: Spec) -> None:
        """Whatever is started from now on is this; what runs is left alone."""
        self.spec = spec

    def stop(self, now: float) -> list[Action]:
        """End the engine and leave it stopped."""
        if self.state == BACK_OFF:
            self.state, self._start_at = STOPPED, None
        if self.state == STOPPING and self._then == _THEN_START:
            self._then, self._token = _THEN_REST, None
        if self.state != RUNNING:
            return []
        return self._end(_THEN_REST, now)

    def restart(self, spec: Spec, token: str, now: float) -> list[Action]:
        """End the engine if it runs and start it anew; once per token."""
        if self.terminating or self.state == CRASH_LOOP:
            return []
        if token in (self.restarted_for, self._token):
            return []
        self.spec = spec
        if self.state in (WAITING, STOPPED, BACK_OFF):
            self.restarted_for = token
            return self._spawn(CAUSE_RESTART)
        self._token = token
        actions = self._end(_THEN_START, now) if self.state == RUNNING else []
        self._then, self._then_cause = _THEN_START, CAUSE_RESTART
        return actions

    def reset(self) -> None:
        """Forget the crashes so far."""
        self._crashes.forget()

    def note_answered(self, generation: int) -> None:
        """The agent saw the process of this generation answer."""
        if generation == self.generation and self.state == RUNNING:
            self.answered = True
            self.failed_starts = 0

    def terminate(self, now: float) -> list[Action]:
        """The container is to end: stop the engine cleanly, then exit."""
        self.terminating = True
        self._start_at = None
        if self.state == RUNNING:
            return self._end(_THEN_EXIT, now)
        if self.state == STOPPING:
            self._then = _THEN_EXIT
            return []
        return [Action(EXIT, 0)]

    # --- events ---------------------------------------------------------------------------------
    def spawned(self, pid: int, at: str) -> None:
        """The process of the last SPAWN exists, since wall-clock time `at`."""
        self.pid = pid
        self.started_at = at

    def died(self, code: int, now: float) -> list[Action]:
        """The engine ended with exit code `code`, or by signal `-code`."""
        asked = self.state == STOPPING
        if not asked and not self.answered:
            self.failed_starts += 1
        self.pid = None
        self.started_at = None
        self.answered = False
        self.kill_at = self._again_at = None
        self.last_exit = f"signal {-code}" if code < 0 else f"exit {code}"
        exit_code = 128 - code if code < 0 else code
        if not asked:
            return self._after_crash(exit_code, now)
        if self._then == _THEN_EXIT:
            self.state = STOPPED
            return [Action(EXIT, exit_code)]
        if self._then == _THEN_START:
            if self._token is not None:
                self.restarted_for, self._token = self._token, None
            return self._spawn(self._then_cause)
        self.state = STOPPED
        return []

    def tick(self, now: float) -> list[Action]:
        """Time has passed: start an engine again, kill one that does not end, or tell it again."""
        if self._start_at is not None and now >= self._start_at:
            return self._spawn(CAUSE_CRASH)
        if self.kill_at is not None and now >= self.kill_at:
            self.kill_at = self._again_at = None
            return [Action(SIGNAL, SIGKILL)]
        if self._again_at is not None and now >= self._again_at:
            return [self._stop_signal(now)]
        return []

    def next_tick(self) -> float | None:
        """When `tick` will have something to do, in monotonic time."""
        times = [at for at in (self.kill_at, self._again_at, self._start_at) if at is not None]
        return min(times, default=None)

    def describe(self) -> dict[str, object]:
        """All facts that the agent may need, as JSON values."""
        return {
            "state": self.state,
            "generation": self.generation,
            "cause": self.cause,
            "pid": self.pid,
            "started_at": self.started_at,
            "restarts": self.restarts,
            "last_exit": self.last_exit,
            "restarted_for": self.restarted_for,
            "restarting_for": self._token,
            "answered": self.answered,
            "configuration": self.configuration,
            "next_configuration": self.spec.configuration if self.spec else None,
            "failed_starts": self.failed_starts,
            "terminating": self.terminating,
        }

    # --- inside ---------------------------------------------------------------------------------
    def _spawn(self, cause: str) -> list[Action]:
        assert self.spec is not None  # noqa: S101 - whoever asks for a start has one
        if cause != CAUSE_CRASH or self.spec.configuration != self.configuration:
            self.failed_starts = 0
        self.state, self._start_at = RUNNING, None
        self.cause = cause
        self.configuration = self.spec.configuration
        self.generation += 1
        self.answered = False
        return [Action(SPAWN)]

    def _end(self, then: str, now: float) -> list[Action]:
        assert self.spec is not None  # noqa: S101 - a running engine has one
        self.state = STOPPING
        self._then = then
        self.kill_at = now + self.spec.stop_timeout_s
        return [self._stop_signal(now)]

    def _stop_signal(self, now: float) -> Action:
        assert self.spec is not None  # noqa: S101 - a running engine has one
        again_s = self.spec.stop_again_s
        self._again_at = None if again_s is None else now + again_s
        return Action(SIGNAL, self.spec.stop_signal)

    def _after_crash(self, exit_code: int, now: float) -> list[Action]:
        if self._crashes.add(now):
            self.state = CRASH_LOOP
            return [Action(EXIT, exit_code or 1)]
        self.restarts += 1
        if self.failed_starts > 1:
            # the agent may know better what to start it with, and needs a moment to say so
            self.state = BACK_OFF
            self._start_at = now + _FIRST_BACK_OFF_S * 2 ** (self.failed_starts - 2)
            return []
        return self._spawn(CAUSE_CRASH)
