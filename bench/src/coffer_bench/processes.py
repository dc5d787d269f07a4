"""Memory and CPU of the cluster's processes, from /proc of the machine that holds the nodes."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coffer_common import naming

KIB_PER_MIB = 1024
_INIT = b"".join(word.encode() + b"\0" for word in naming.INIT)


@dataclass(frozen=True)
class Usage:
    """One process: resident memory, its anonymous part and its peak in MiB, CPU time in seconds."""

    resident_mib: float
    anonymous_mib: float
    peak_mib: float
    cpu_s: float


def process_ids(pod: dict[str, Any], container: str) -> list[int]:
    """Ids of a running container's processes but its init, the oldest first.

    They are known by the container's id in their cgroup.
    """
    status = pod.get("status", {})
    every = [*status.get("containerStatuses", []), *status.get("initContainerStatuses", [])]
    wanted = next(
        str(one["containerID"]).split("://")[-1]
        for one in every
        if one["name"] == container and "running" in one.get("state", {})
    )
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            ours = wanted in (entry / "cgroup").read_text()
            if ours and not (entry / "cmdline").read_bytes().startswith(_INIT):
                found.append(int(entry.name))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
    return sorted(found)


def usage(pid: int) -> Usage:
    """What a process uses now."""
    fields = {}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        key, _, rest = line.partition(":")
        fields[key] = rest.split()
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    per_second = os.sysconf("SC_CLK_TCK")

    def mib(key: str) -> float:
        return int(fields[key][0]) / KIB_PER_MIB

    return Usage(
        resident_mib=mib("VmRSS"),
        anonymous_mib=mib("RssAnon"),
        peak_mib=mib("VmHWM"),
        cpu_s=(int(ticks[11]) + int(ticks[12])) / per_second,
    )


def named(pod: dict[str, Any], container: str, program: str) -> int:
    """The process of a container whose program's name begins with `program`."""
    for pid in process_ids(pod, container):
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if Path(argv[0].decode()).name.startswith(program):
            return pid
    raise LookupError(f"no {program} in container {container}")
