"""Main process of the `database` container: starts the engine at the agent's word, keeps it going.

Owns the volume's lock for its whole life and the engine process. It decides nothing about data
and knows no engine; what to run comes from the agent over a unix socket. It keeps the engine
running without the agent, and the engine's end is its own affair: a death that nobody asked for
is answered by a new start at once (after a moment where it never answered), and the fifth within
a minute by its own exit with the engine's exit code, so that kubelet's back-off applies.

The engine inherits the lock's descriptor: when the launcher is killed, the volume stays locked
until the engine's process is really gone.

Standard library only, and little of it: starts in a few hundredths of a second, ~10 MiB.
"""

from __future__ import annotations

import fcntl
import os
import selectors
import signal
import socket
import sys
import time

from coffer_guest.launch_machine import BACK_OFF, EXIT, SPAWN, Action, Machine, Spec
from coffer_guest.launcher_output import Log, Output
from coffer_guest.launcher_socket import Answer, Server

# The defaults of coffer_common.naming, which costs more to import than all of this; a test
# compares them.
DEFAULT_VOLUME = "/var/lib/coffer"
DEFAULT_RUN = "/run/coffer"

LOCK_FILE = ".coffer/lock"
LOG_FILE = "log/engine.log"
SOCKET_FILE = "launcher.sock"

_LOCK_RETRY_S = 0.1
_LOCK_SAY_EVERY_S = 10.0
_HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
_PYTHON_IGNORES = (signal.SIGPIPE, signal.SIGXFSZ)


def say(message: str) -> None:
    """One line for the container's log."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    os.write(2, f"{stamp} launcher: {message}\n".encode())


class Launcher:
    """The loop around `Machine`: signals, the socket, the engine's process and its output."""

    def __init__(self, volume: str, run: str) -> None:
        self._selector = selectors.DefaultSelector()
        self._machine = Machine()
        self._boot_id = os.urandom(8).hex()
        self._volume = volume
        self._lock_fd: int | None = None
        self._lock_said_at = float("-inf")
        self._revision = 0
        self._exit_code: int | None = None
        self._pipes: set[int] = set()  # our ends; the engine has the others
        self._output = Output(Log(os.path.join(volume, LOG_FILE)))
        self._wake = self._catch_signals()
        self._server = Server(
            self._selector, os.path.join(run, SOCKET_FILE), self._handle, self.status
        )

    def run(self) -> int:
        """Serve until told to end or the engine cannot be kept running; the exit code."""
        self._lock()
        while self._exit_code is None:
            for key, mask in self._selector.select(self._timeout_s()):
                key.data(mask)
            if self._lock_fd is None:
                self._lock()
            self._act(self._machine.tick(time.monotonic()))
        for descriptor in self._pipes:
            self._output.move(descriptor)  # an engine's last words
        self._publish()
        self._server.close()
        return self._exit_code

    def status(self) -> dict[str, object]:
        """What `status` answers and subscribers get."""
        return {
            "boot_id": self._boot_id,
            "revision": self._revision,
            "locked": self._lock_fd is not None,
            **self._machine.describe(),
        }

    def _publish(self) -> None:
        """Something may have changed; what is said from now on is newer than all before."""
        self._revision += 1
        self._server.publish()

    # --- the lock -------------------------------------------------------------------------------
    def _lock(self) -> None:
        path = os.path.join(self._volume, LOCK_FILE)
        os.makedirs(os.path.dirname(path), mode=0o750, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            now = time.monotonic()
            if now - self._lock_said_at >= _LOCK_SAY_EVERY_S:
                self._lock_said_at = now
                say("waiting for the volume's lock: another process holds it")
            return
        os.set_inheritable(descriptor, True)
        self._lock_fd = descriptor
        self._publish()

    def _timeout_s(self) -> float | None:
        if self._lock_fd is None:
            return _LOCK_RETRY_S
        next_tick = self._machine.next_tick()
        return None if next_tick is None else max(0.0, next_tick - time.monotonic())

    # --- requests -------------------------------------------------------------------------------
    def _handle(self, request: dict[str, object]) -> Answer:
        operation = request["op"]
        if operation == "status":
            return {"ok": True, "status": self.status()}, None
        if operation in ("start", "restart", "lock") and self._lock_fd is None:
            return {"ok": False, "error": "another process holds the volume's lock"}, None
        if operation == "lock":
            if self._machine.pid is not None or self._machine.state == BACK_OFF:
                return {"ok": False, "error": "the engine runs"}, None
            return {"ok": True}, self._lock_fd
        self._change(operation, request)
        self._publish()
        return {"ok": True, "status": self.status()}, None

    def _change(self, operation: object, request: dict[str, object]) -> None:
        now = time.monotonic()
        if operation == "start":
            self._act(self._machine.start(_spec(request)))
        elif operation == "stop":
            self._act(self._machine.stop(now))
        elif operation == "restart":
            self._act(self._machine.restart(_spec(request), str(request["token"]), now))
        elif operation == "prepare":
            self._machine.prepare(_spec(request))
        elif operation == "reset":
            self._machine.reset()
        elif operation == "answered":
            self._machine.note_answered(int(str(request["generation"])))
        else:
            raise ValueError(f"no operation {operation!r}")

    # --- the engine -----------------------------------------------------------------------------
    def _act(self, actions: list[Action]) -> None:
        while actions:
            action = actions.pop(0)
            if action.kind == EXIT:
                self._exit_code = action.number
            elif action.kind == SPAWN:
                actions += self._spawn()
            elif self._machine.pid is not None:
                os.kill(self._machine.pid, action.number)

    def _spawn(self) -> list[Action]:
        spec = self._machine.spec
        assert spec is not None  # noqa: S101 - SPAWN follows only from a request that has one
        ours, its = self._output.pipe()
        try:
            pid = os.posix_spawn(
                spec.argv[0],
                spec.argv,
                spec.env,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, its, 1),
                    (os.POSIX_SPAWN_DUP2, its, 2),
                ],
                setsid=True,
                setsigmask=[],
                setsigdef=[*_HANDLED, *_PYTHON_IGNORES],
            )
        except OSError as error:
            os.close(ours)
            say(f"cannot execute {spec.argv[0]}: {error.strerror}")
            return self._machine.died(127, time.monotonic())
        finally:
            os.close(its)
        self._pipes.add(ours)
        self._selector.register(ours, selectors.EVENT_READ, lambda _: self._move(ours))
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._machine.spawned(pid, stamp)
        say(f"started the engine, pid {pid} ({self._machine.cause})")
        self._publish()
        return []

    def _move(self, descriptor: int) -> None:
        if not self._output.move(descriptor):
            self._selector.unregister(descriptor)
            self._pipes.discard(descriptor)
            os.close(descriptor)

    # --- signals --------------------------------------------------------------------------------
    def _catch_signals(self) -> socket.socket:
        ours, its = socket.socketpair()
        ours.setblocking(False)
        its.setblocking(False)
        signal.set_wakeup_fd(its.fileno(), warn_on_full_buffer=False)
        for number in _HANDLED:
            signal.signal(number, lambda _number, _frame: None)
        self._selector.register(ours, selectors.EVENT_READ, lambda _: self._signalled(ours))
        return its

    def _signalled(self, sock: socket.socket) -> None:
        try:
            numbers = set(sock.recv(4096))
        except BlockingIOError:
            return
        if numbers & {signal.SIGTERM, signal.SIGINT}:
            say("asked to end")
            self._act(self._machine.terminate(time.monotonic()))
            self._publish()
        if signal.SIGCHLD in numbers:
            self._reap()

    def _reap(self) -> None:
        """Take leave of the engine, and of orphans where this is PID 1."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._machine.pid:
                for descriptor in self._pipes:
                    self._output.move(descriptor)  # its last words, before its death is told
                actions = self._machine.died(os.waitstatus_to_exitcode(status), time.monotonic())
                say(f"the engine ended: {self._machine.last_exit}, now {self._machine.state}")
                self._publish()
                self._act(actions)


def _spec(request: dict[str, object]) -> Spec:
    argv, env = request["argv"], request["env"]
    if not (isinstance(argv, list) and argv and isinstance(env, dict)):
        raise ValueError("argv is a list, env an object")
    again_s = request.get("stop_again_s")  # an older agent has no such words
    configuration = request.get("configuration")
    return Spec(
        [str(word) for word in argv],
        {str(name): str(value) for name, value in env.items()},
        int(str(request["stop_signal"])),
        float(str(request["stop_timeout_s"])),
        None if again_s is None else float(str(again_s)),
        None if configuration is None else str(configuration),
    )


def main() -> None:
    """Entry point: coffer-launcher [VOLUME [RUN]]."""
    volume = sys.argv[1] if len(sys.argv) > 1 else DEFAULT_VOLUME
    run = sys.argv[2] if len(sys.argv) > 2 else DEFAULT_RUN
    code = Launcher(volume, run).run()
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
