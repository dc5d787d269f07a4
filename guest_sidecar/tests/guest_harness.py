"""A pod of real processes on this machine: one launcher, one agent, one engine, own directories.

Where the tests run as root, everything in it runs as another user, and the launcher is process 1
of a PID namespace, so that its end is the end of all its children, as in a container.
"""

import atexit
import contextlib
import functools
import http.client
import itertools
import json
import os
import pwd
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from coffer_common import naming, wire
from coffer_common.wire import EngineState, FlavorSize, GuestConfig, GuestStatus
from guest_certificates import Authority

T = TypeVar("T")

HERE = Path(__file__).parent
USER = "nobody"
DEADLINE_S = 40.0
WAIT_S = 0.5  # at most, for a status to change: a check may be of other things, too
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_PORTS = itertools.cycle(range(12_000 + 5_000 * (_WORKER % 4), 17_000 + 5_000 * (_WORKER % 4)))
MIB = 1024**2


@functools.cache
def bytecode_folder() -> str:
    """Where the processes keep compiled modules; else each start compiles them anew."""
    folder = tempfile.mkdtemp(prefix="coffer-bytecode-", dir="/tmp")
    give_away(Path(folder))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def as_user(argv: Sequence[str]) -> list[str]:
    """`argv` as another user than root. It may read everything: root's Python, for example."""
    if os.geteuid() != 0:
        return list(argv)
    entry = pwd.getpwnam(USER)
    return [
        "setpriv",
        f"--reuid={entry.pw_uid}",
        f"--regid={entry.pw_gid}",
        "--clear-groups",
        "--inh-caps=+dac_read_search",
        "--ambient-caps=+dac_read_search",
        *argv,
    ]


def user_name() -> str:
    """The name of the user that the processes run as."""
    return USER if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


def give_away(path: Path) -> None:
    """Make `path` and all in it the user's."""
    if os.geteuid() == 0:
        for found in (path, *path.rglob("*")):
            shutil.chown(found, USER)


def until(what: str, check: Callable[[], T | None], deadline_s: float = DEADLINE_S) -> T:
    """The first result of `check` that is true; fails with `what` when time is up."""
    end = time.monotonic() + deadline_s
    while True:
        result = check()
        if result:
            return result
        assert time.monotonic() < end, f"not in {deadline_s:.0f} s: {what}"
        time.sleep(0.02)


def free_port() -> int:
    """A port that nobody else gets: below those of outgoing connections, each once in a process."""
    for port in _PORTS:
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def children(pid: int) -> list[int]:
    """The direct children of a process."""
    with contextlib.suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


@dataclass(frozen=True)
class Answer:
    """What the agent answered."""

    status: int
    body: Any
    headers: Mapping[str, str]


class Pod:
    """One pod. Ends everything in it when it is closed."""

    def __init__(self, manager: str, version: str, seed: Path, *, volume: Path | None = None):
        self.root = Path(tempfile.mkdtemp(prefix="coffer-", dir="/tmp"))
        self.root.chmod(0o755)
        self.volume = volume or self.root / "volume"
        self.run = self.root / "run"
        self.tls = self.root / "tls"
        self.account = self.root / "account"
        for folder in (self.volume, self.run, self.tls, self.account):
            folder.mkdir(exist_ok=True)
        self.seed = seed
        self.uid = f"pod-{self.root.name}"
        self.agent_port, self.probe_port = free_port(), free_port()
        self.environment: dict[str, str] = {}
        self.authority = Authority()
        self.authority.issue_server(self.tls)
        self.config = GuestConfig(
            namespace="tests",
            instance="one",
            uid="instance-uid",
            group="one",
            datastore=manager,
            version=version,
            manager=manager,
            port=free_port(),
            flavor=FlavorSize(ram_bytes=512 * MIB, vcpus=0.25),
            volume_size_bytes=1024 * MIB,
        )
        self.configure()
        give_away(self.root)
        self._processes: list[subprocess.Popen[bytes]] = []
        self.launcher: subprocess.Popen[bytes] | None = None
        self.agent: subprocess.Popen[bytes] | None = None
        self._outside: ssl.SSLContext | None = None
        self._asking: http.client.HTTPSConnection | None = None  # for the status alone

    def configure(self, **changes: object) -> None:
        """Change the mounted configuration, as kubelet does: another file under the same name."""
        self.config = self.config.model_copy(update=changes)
        scratch = self.root / "instance.new"
        scratch.write_text(self.config.model_dump_json())
        scratch.chmod(0o644)
        scratch.rename(self.root / "instance.json")

    # --- processes ------------------------------------------------------------------------------
    def start_launcher(self) -> subprocess.Popen[bytes]:
        argv = as_user(
            [sys.executable, "-m", "coffer_guest.launcher", str(self.volume), str(self.run)]
        )
        if os.geteuid() == 0:
            argv = ["unshare", "--pid", "--fork", "--kill-child=KILL", *argv]
        self.launcher = self._start(argv, "launcher.log")
        return self.launcher

    def start_agent(self, *, die_before: str | None = None) -> subprocess.Popen[bytes]:
        """Start an agent; with `die_before` it kills itself before that step of a layout."""
        program = ["-m", "coffer_guest.main"]
        if die_before is not None:
            program = [str(HERE / "guest_dying_agent.py"), die_before]
        options = {
            "--volume": self.volume,
            "--run": self.run,
            "--instance-file": self.root / "instance.json",
            "--tls": self.tls,
            "--service-account": self.account,
            "--seed": self.seed,
            "--host": "127.0.0.1",
            "--agent-port": self.agent_port,
            "--probe-port": self.probe_port,
            "--engine-address": "127.0.0.1",
        }
        words = [str(word) for option in options.items() for word in option]
        self.agent = self._start(as_user([sys.executable, *program, *words]), "agent.log")
        return self.agent

    def start(self) -> "Pod":
        """Launcher and agent."""
        self.start_launcher()
        self.start_agent()
        return self

    def _start(self, argv: Sequence[str], log: str) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONPYCACHEPREFIX": bytecode_folder(),
            "POD_NAME": "one-0",
            "POD_UID": self.uid,
            "POD_IP": "192.0.2.7",
            "NODE_NAME": "node-1",
            **self.environment,
        }
        with open(self.root / log, "ab") as output:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
            )
        self._processes.append(process)
        return process

    @property
    def launcher_pid(self) -> int:
        assert self.launcher is not None
        if os.geteuid() != 0:
            return self.launcher.pid
        outside = self.launcher.pid
        return until("the launcher runs", lambda: children(outside))[0]

    @property
    def engine_pid(self) -> int:
        return until("the engine runs", lambda: children(self.launcher_pid))[0]

    @property
    def etc(self) -> Path:
        """The configuration directory that the running engine was started with."""
        return self.volume / "etc" / str(self.ask_launcher("status")["configuration"])

    def ask_launcher(self, operation: str) -> dict[str, Any]:
        """The status that the launcher answers with."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(DEADLINE_S)
            sock.connect(str(self.run / "launcher.sock"))
            sock.sendall(json.dumps({"op": operation}).encode() + b"\n")
            answer: dict[str, Any] = json.loads(sock.makefile().readline())
        found: dict[str, Any] = answer["status"]
        return found

    def kill_agent(self) -> None:
        assert self.agent is not None
        self.agent.kill()
        self.agent.wait(DEADLINE_S)

    def kill_launcher(self) -> None:
        """With it goes the engine, as in a container."""
        assert self.launcher is not None
        engines = children(self.launcher_pid)
        os.kill(self.launcher_pid, signal.SIGKILL)
        if os.geteuid() != 0:
            for pid in engines:
                os.kill(pid, signal.SIGKILL)
        self.launcher.wait(DEADLINE_S)

    def log(self, name: str) -> str:
        return (self.root / f"{name}.log").read_text(errors="replace")

    def close(self) -> None:
        for process in reversed(self._processes):
            if process.poll() is None:
                with contextlib.suppress(OSError):
                    for pid in children(process.pid):
                        os.kill(pid, signal.SIGKILL)
                process.kill()
            process.wait(DEADLINE_S)
        if self._asking is not None:
            self._asking.close()
        shutil.rmtree(self.root, ignore_errors=True)

    # --- what is asked of the agent -------------------------------------------------------------
    def ask(self, method: str, path: str, body: object = None, **options: Any) -> Answer:
        """One request as the operator."""
        return self.ask_as(self._operator(), method, path, body, **options)

    def _operator(self) -> ssl.SSLContext:
        if self._outside is None:
            self._outside = self.authority.client(naming.OPERATOR_COMMON_NAME)
        return self._outside

    def ask_as(
        self,
        context: ssl.SSLContext,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        with contextlib.closing(self._connection(context)) as connection:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, dict(headers or {}))
            return _answer(connection)

    def _connection(self, context: ssl.SSLContext) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(
            "127.0.0.1", self.agent_port, context=context, timeout=DEADLINE_S
        )

    def probe(self, path: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.probe_port, timeout=DEADLINE_S)
        with contextlib.closing(connection):
            connection.request("GET", path)
            return _answer(connection)

    def status(self, seen: str | None = None) -> GuestStatus | None:
        """None while the agent cannot be asked; a status that was `seen` may change a while."""
        path = wire.STATUS_PATH if seen is None else f"{wire.STATUS_PATH}?seen={seen}&wait={WAIT_S}"
        kept, self._asking = self._asking, None
        connection = kept or self._connection(self._operator())
        try:
            connection.request("GET", path)
            answer = _answer(connection)
        except OSError:
            connection.close()
            # the agent that the connection was kept to may have ended since
            return None if kept is None else self.status()
        self._asking = connection
        return GuestStatus.model_validate(answer.body) if answer.status == 200 else None

    def until_status(
        self, what: str, check: Callable[[GuestStatus], bool], deadline_s: float = DEADLINE_S
    ) -> GuestStatus:
        """The first status for which `check` is true, asked for as the operator does."""
        seen: str | None = None

        def found() -> GuestStatus | None:
            nonlocal seen
            status = self.status(seen)
            seen = status.etag if status is not None else None
            return status if status is not None and check(status) else None

        try:
            return until(what, found, deadline_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.status()}\n{self.tail()}") from None

    def until_running(self, deadline_s: float = DEADLINE_S) -> GuestStatus:
        return self.until_status(
            "the engine runs",
            lambda status: status.engine.state is EngineState.RUNNING,
            deadline_s,
        )

    def until_restarted_for(self, token: str) -> GuestStatus:
        return self.until_status(
            f"restarted for {token}",
            lambda status: (
                status.engine.restarted_for == token and status.engine.state is EngineState.RUNNING
            ),
        )

    def tail(self) -> str:
        """The ends of the logs, for a test that fails."""
        return "\n".join(
            f"--- {path.name}\n{path.read_text(errors='replace')[-3000:]}"
            for path in (*self.root.glob("*.log"), *(self.volume / "log").glob("*.log"))
        )


def _answer(connection: http.client.HTTPConnection) -> Answer:
    response = connection.getresponse()
    data = response.read()
    headers = dict(response.headers)
    if response.headers.get_content_type() == "application/json":
        return Answer(response.status, json.loads(data), headers)
    return Answer(response.status, data.decode(), headers)


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """The process does not run, and is not dead."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


MakePod = Callable[..., Pod]  # what the fixtures mariadb_pod and redis_pod give
