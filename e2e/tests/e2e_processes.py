"""Processes of the cluster's containers, found from the machine that holds the nodes.

A container's processes are known by the container id in their cgroup. Only processes found that
way are ever signalled.
"""

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coffer_common import naming
from e2e_kube import (
    OPERATOR_NAMESPACE,
    Kube,
    Object,
    condition,
    operator_pod,
    operator_pods,
    wait_until,
)


@dataclass(frozen=True)
class Process:
    """A process of a container, by its id on the machine."""

    pid: int
    argv: tuple[str, ...]

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def alive(self) -> bool:
        return Path(f"/proc/{self.pid}").exists()

    def status_kib(self, field: str) -> int:
        """A figure of /proc/PID/status, such as VmRSS or RssAnon, in KiB."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1])
        raise AssertionError(f"no {field} for process {self.pid}")


def container_id(pod: Object, container: str) -> str | None:
    """The id of a running container, without its scheme."""
    status = pod.get("status", {})
    every: list[dict[str, Any]] = [
        *status.get("containerStatuses", []),
        *status.get("initContainerStatuses", []),
    ]
    for one in every:
        if one["name"] == container and "running" in one.get("state", {}):
            return str(one["containerID"]).split("://")[-1]
    return None


def processes(pod: Object, container: str) -> list[Process]:
    """The processes of a container but its init, oldest first; none where it does not run."""
    wanted = container_id(pod, container)
    return [] if wanted is None else _within(wanted)


def processes_of_pod(pod: Object) -> list[Process]:
    """Those of all its containers, `pause` as well: there before its status tells of any."""
    return _within(f"pod{pod['metadata']['uid']}")


def _within(group: str) -> list[Process]:
    found: list[Process] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if group not in (entry / "cgroup").read_text():
                continue
            argv = (entry / "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        process = Process(int(entry.name), tuple(a.decode() for a in argv if a))
        if process.argv[:2] != naming.INIT:
            found.append(process)
    return sorted(found, key=lambda p: p.pid)


def engines(pod: Object, program: str = "mariadbd") -> list[Process]:
    """The engine's processes in the database container: none while it is being started again."""
    return [
        p for p in processes(pod, "database") if p.argv and Path(p.argv[0]).name.startswith(program)
    ]


def engine(pod: Object, program: str = "mariadbd") -> Process:
    """The one engine's process."""
    running = engines(pod, program)
    assert len(running) == 1, f"{len(running)} engines: {running}"
    return running[0]


def main_process(pod: Object, container: str) -> Process:
    """The first process of a container after its init."""
    running = processes(pod, container)
    assert running, f"container {container} does not run"
    return running[0]


def fresh_operator(kube: Kube) -> None:
    """Have an operator that never restarted: kubelet delays the second restart of a container."""
    old = operator_pod(kube)
    (container,) = old["status"]["containerStatuses"]
    if container["restartCount"] == 0:
        return
    kube.delete("pod", old["metadata"]["name"], OPERATOR_NAMESPACE)

    def replaced() -> bool:
        new = [p for p in operator_pods(kube) if p["metadata"]["uid"] != old["metadata"]["uid"]]
        return any(condition(pod, "Ready").get("status") == "True" for pod in new)

    wait_until("another operator", replaced)


def kill_operator(kube: Kube) -> None:
    """As a crash ends it; it should be a fresh one."""
    main_process(operator_pod(kube), "operator").send(signal.SIGKILL)
