"""One machine of the cluster as a set of namespaces whose first process is our `init`.

A sandbox is found by its folder alone: the identity of its first process, the socket it takes
commands on, and the logs lie there. Ending that process ends everything in the sandbox.
"""

import contextlib
import json
import signal
import socket
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coffer_cluster import cgroups
from coffer_cluster.binaries import INIT
from coffer_cluster.command import run
from coffer_cluster.errors import ClusterError, StuckError
from coffer_cluster.network import namespace_file
from coffer_cluster.paths import cache_dir
from coffer_cluster.processes import Identity
from coffer_cluster.waiting import wait_for

BOOT_TIMEOUT_S = 15
COMMAND_TIMEOUT_S = 20
RENEW_TIMEOUT_S = 20
#: Programs see nothing of the caller's environment, least of all its proxies.
BASE_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/run",
}
#: Where the machine's programs and their settings lie, beside our own folders.
SYSTEM_PATHS = ("/usr", "/etc", "/bin", "/sbin", "/lib", "/lib64", "/var/lib", "/var/log", "/tmp")  # noqa: S108 - kept as mounted, nothing is written


@dataclass(frozen=True)
class Program:
    """What to run in a sandbox, under a name that is unique in it."""

    name: str
    args: Sequence[object]
    env: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Sandbox:
    """A machine named `name`, kept in `folder`."""

    name: str
    folder: Path
    namespace: str
    cgroup: str

    @property
    def pid_file(self) -> Path:
        return self.folder / "init.pid"

    @property
    def socket(self) -> Path:
        return self.folder / "init.sock"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def identity(self) -> Identity | None:
        return Identity.read(self.pid_file)

    @property
    def alive(self) -> bool:
        identity = self.identity
        return identity is not None and identity.alive

    @property
    def own_cgroup(self) -> str:
        """The group of the machine's own processes, beside those of its pods."""
        return f"{self.cgroup}/sys"

    def boot(self, binds: Mapping[Path, Path] | None = None) -> None:
        """Start the first process, and return when it takes commands."""
        self.logs.mkdir(parents=True, exist_ok=True)
        self.pid_file.unlink(missing_ok=True)
        self.socket.unlink(missing_ok=True)
        spec = self.folder / "init.json"
        spec.write_text(json.dumps(self._spec(binds or {})))
        enter = ["nsenter", f"--net={namespace_file(self.namespace)}", "--"]
        unshare = ["unshare", "--mount", "--pid", "--uts", "--ipc", "--propagation", "private"]
        unshare += ["--fork", "--kill-child", "--"]
        with (self.logs / "init.log").open("ab") as log:
            run_detached([*enter, *unshare, str(INIT.path), str(spec)], log.fileno())
        self.wait_until_booted()

    def wait_until_booted(self) -> None:
        """Until it takes commands; whoever started it may have been killed right after that."""
        wait_for(
            f"{self.name} to boot",
            self._answers,
            BOOT_TIMEOUT_S,
            every_s=0.01,
            detail=lambda: self.log_tail("init"),
        )

    def _answers(self) -> bool:
        if not self.alive or not self.socket.exists():
            return False
        try:
            self.programs()
        except ClusterError:
            return False  # the socket is there a moment before anyone listens
        return True

    def _spec(self, binds: Mapping[Path, Path]) -> dict[str, Any]:
        keep = (*SYSTEM_PATHS, self.folder, cache_dir().resolve())
        return {
            "hostname": self.name,
            "pid_file": str(self.pid_file),
            "socket": str(self.socket),
            "cgroup_procs": [str(path) for path in cgroups.create(self.own_cgroup)],
            "keep": [str(path) for path in keep],
            "binds": [{"source": str(s), "target": str(t)} for s, t in binds.items()],
        }

    def end(self) -> None:
        """SIGKILL to the first process: the machine loses power. Nothing of it is left."""
        identity = self.identity
        if identity is not None:
            identity.send(signal.SIGKILL)
        # Frozen processes die only when they thaw, whoever killed them.
        if cgroups.frozen(self.cgroup):
            cgroups.thaw(self.cgroup)
        if identity is not None:
            identity.end()
        wait_for(
            f"{self.name} to end",
            lambda: not cgroups.processes(self.cgroup),
            COMMAND_TIMEOUT_S,
            detail=lambda: f"processes {cgroups.processes(self.cgroup)} are still there",
        )

    def start(self, program: Program) -> None:
        """Run the program from now on, again whenever it ends; nothing if it runs already."""
        env = BASE_ENVIRONMENT | dict(program.env or {})
        definition = {
            "name": program.name,
            "args": [str(word) for word in program.args],
            "env": [f"{key}={value}" for key, value in env.items()],
            "log": str(self.logs / f"{program.name}.log"),
        }
        self._command({"op": "start", "program": definition})

    def stop(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """End the program, and keep it so; return when it is gone."""
        self._command({"op": "stop", "program": {"name": name}, "signal": int(number)})

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal; a program that dies of it is started again after a second."""
        self._command({"op": "signal", "program": {"name": name}, "signal": int(number)})

    def renew(self, names: Collection[str]) -> None:
        """Kill those of the programs that run, and return when they run again."""
        before = {name: state for name, state in self.programs().items() if name in names}
        killed = [name for name, state in before.items() if state["pid"]]
        for name in killed:
            with contextlib.suppress(ClusterError):  # it has ended by itself a moment ago
                self.signal(name, signal.SIGKILL)

        def missing() -> list[str]:
            now = self.programs()
            return [
                name
                for name in killed
                if not now[name]["pid"] or now[name]["ends"] == before[name]["ends"]
            ]

        wait_for(
            f"programs of {self.name} to run again",
            lambda: not missing(),
            RENEW_TIMEOUT_S,
            detail=lambda: ", ".join(missing()),
        )

    def programs(self) -> dict[str, dict[str, Any]]:
        """Pid (inside), wanted or not, and number of unwanted ends of each program."""
        answer = self._command({"op": "status"})
        return dict(answer["programs"])

    def _command(self, request: Mapping[str, Any]) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(COMMAND_TIMEOUT_S)
            try:
                connection.connect(str(self.socket))
                connection.sendall(json.dumps(request).encode())
                connection.shutdown(socket.SHUT_WR)
                answer = json.loads(b"".join(iter(lambda: connection.recv(65536), b"")))
            except TimeoutError:
                raise StuckError(f"{self.name} does not answer (is it frozen?)") from None
            except (OSError, ValueError) as error:
                raise ClusterError(f"{self.name} is not running: {error}") from None
        if answer.get("error"):
            raise ClusterError(f"{self.name}: {answer['error']}")
        return dict(answer)

    def execute(
        self, argv: Sequence[object], *, stdin_file: Path | None = None, timeout_s: float = 60
    ) -> str:
        """Run a program inside the sandbox to its end, and return what it printed."""
        identity = self.identity
        if identity is None or not identity.alive:
            raise ClusterError(f"{self.name} is not running")
        enter = ["nsenter", "-t", str(identity.pid), "-m", "-n", "-p", "-u", "-i", "--"]
        return run([*enter, *argv], stdin_file=stdin_file, timeout_s=timeout_s)

    def log_tail(self, name: str, lines: int = 10) -> str:
        try:
            text = (self.logs / f"{name}.log").read_text(errors="replace")
        except FileNotFoundError:
            return f"no log of {name}"
        return "\n".join(text.splitlines()[-lines:])


def run_detached(argv: Sequence[str], output: int) -> None:
    """Start a program that outlives us and is nobody's child: init of the machine reaps it."""
    subprocess.run(
        ["setsid", "--fork", *argv],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        cwd="/",
        env=BASE_ENVIRONMENT,
        timeout=COMMAND_TIMEOUT_S,
        check=True,
    )
