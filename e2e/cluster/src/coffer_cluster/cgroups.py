"""The control groups of one cluster, in every version 1 hierarchy: /<tag>/<machine>/….

Pods' groups below them are kubelet's and runc's, which also make them in the version 2 hierarchy
of a hybrid machine; here they are only removed, when all in them is dead.
"""

import os
from pathlib import Path

from coffer_cluster.errors import ClusterError
from coffer_cluster.waiting import wait_for

REMOVE_TIMEOUT_S = 20
FREEZE_TIMEOUT_S = 20


def hierarchies() -> list[Path]:
    """The mount point of each version 1 hierarchy."""
    return _mounts("cgroup")


def _all_hierarchies() -> list[Path]:
    return _mounts("cgroup", "cgroup2")


def _mounts(*kinds: str) -> list[Path]:
    found = []
    for line in Path("/proc/mounts").read_text().splitlines():
        _, point, kind, *_ = line.split()
        if kind in kinds:
            found.append(Path(point))
    return found


def create(group: str) -> list[Path]:
    """Make the group in every hierarchy; return the files that a process joins it by."""
    joins = []
    for hierarchy in hierarchies():
        folder = hierarchy
        for part in Path(group).parts:
            parent, folder = folder, folder / part
            folder.mkdir(exist_ok=True)
            _inherit_cpuset(parent, folder)
        joins.append(folder / "cgroup.procs")
    return joins


def _inherit_cpuset(parent: Path, folder: Path) -> None:
    # A new cpuset has neither processors nor memory, and takes no process until it has.
    for name in ("cpuset.cpus", "cpuset.mems"):
        file = folder / name
        if file.exists() and not file.read_text().strip():
            file.write_text((parent / name).read_text())


def exists(group: str) -> bool:
    return any((hierarchy / group).exists() for hierarchy in _all_hierarchies())


def processes(group: str) -> list[int]:
    """All processes in the group and below it."""
    pids: set[int] = set()
    for hierarchy in _all_hierarchies():
        for file in (hierarchy / group).rglob("cgroup.procs"):
            try:
                pids.update(int(line) for line in file.read_text().split())
            except OSError:
                continue  # removed since the listing
    return sorted(pids)


def remove(group: str) -> None:
    """Remove the group and all below it; what was killed may take a moment to leave it."""
    wait_for(
        f"control group {group} to be empty",
        lambda: _removed(group),
        REMOVE_TIMEOUT_S,
        detail=lambda: f"processes {processes(group)} are still in it",
    )


def _removed(group: str) -> bool:
    for hierarchy in _all_hierarchies():
        for folder, _, _ in os.walk(hierarchy / group, topdown=False):
            try:
                Path(folder).rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                return False
    return not exists(group)


def freeze(group: str) -> None:
    _set_frozen(group, "FROZEN")


def thaw(group: str) -> None:
    _set_frozen(group, "THAWED")


def _set_frozen(group: str, state: str) -> None:
    file = _freezer(group)
    file.write_text(state)
    wait_for(f"{group} to be {state}", lambda: file.read_text().strip() == state, FREEZE_TIMEOUT_S)


def frozen(group: str) -> bool:
    try:
        return _freezer(group).read_text().strip() != "THAWED"
    except FileNotFoundError:
        return False


def _freezer(group: str) -> Path:
    for hierarchy in hierarchies():
        if "freezer" in hierarchy.name.split(","):
            return hierarchy / group / "freezer.state"
    raise ClusterError("this machine has no freezer control group")
