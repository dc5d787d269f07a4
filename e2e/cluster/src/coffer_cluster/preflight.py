"""Can this machine hold a cluster? What cannot work is said in a line, what lacks is installed.

Programs come from Debian, and only those that are not there yet.
"""

import os
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path

from coffer_cluster import cgroups, console, locks
from coffer_cluster.command import run
from coffer_cluster.errors import ClusterError, UnsupportedError
from coffer_cluster.nodeconfig import CNI_PLUGINS
from coffer_cluster.paths import STATE_ROOT, cache_dir

MIN_FREE_BYTES = 25 * 1000**3
INSTALL_TIMEOUT_S = 900
#: kubelet and containerd need these groups; cpuset and the rest are there with them.
CONTROLLERS = {"cpu", "cpuset", "memory", "pids", "freezer", "devices"}

#: Each program, or plugin file, and the Debian package that brings it.
PROGRAMS = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "ebtables": "ebtables",
    "ipset": "ipset",
    "conntrack": "conntrack",
    "socat": "socat",
    "ip": "iproute2",
    "bridge": "iproute2",
    "mkfs.xfs": "xfsprogs",
    "xfs_growfs": "xfsprogs",
    "mkfs.ext4": "e2fsprogs",
    "resize2fs": "e2fsprogs",
    "blkid": "util-linux",
    "losetup": "util-linux",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "setsid": "util-linux",
    "mount": "mount",
    "sysctl": "procps",
    "gcc": "gcc",
    str(CNI_PLUGINS / "bridge"): "containernetworking-plugins",
    str(CNI_PLUGINS / "portmap"): "containernetworking-plugins",
    "/usr/include/stdlib.h": "libc6-dev",
}
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


def check() -> None:
    """Stop with one line where no cluster can run."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise UnsupportedError(
            f"the embedded cluster runs on Linux/amd64, this is"
            f" {platform.system()}/{platform.machine()}; set KUBECONFIG to use another cluster"
        )
    if os.geteuid() != 0:
        raise UnsupportedError("the embedded cluster needs root; run this as root")
    present = {name for path in cgroups.hierarchies() for name in path.name.split(",")}
    if missing := sorted(CONTROLLERS - present):
        raise UnsupportedError(
            "the embedded cluster needs control groups of version 1 (or hybrid), and this machine"
            f" has none for {', '.join(missing)}; set KUBECONFIG to use another cluster"
        )
    for folder in (STATE_ROOT, cache_dir()):
        folder.mkdir(parents=True, exist_ok=True)
        free_bytes = shutil.disk_usage(folder).free
        if free_bytes < MIN_FREE_BYTES:
            raise UnsupportedError(
                f"{folder} has {free_bytes / 1e9:.0f} GB free, and"
                f" {MIN_FREE_BYTES / 1e9:.0f} GB are needed; make room there"
            )


def install_missing(programs: Mapping[str, str] | None = None) -> None:
    """Install the packages of missing programs; those that the cluster needs if None."""
    wanted = PROGRAMS if programs is None else programs
    packages = _missing_packages(wanted)
    if not packages:
        return
    if not shutil.which("apt-get"):
        raise UnsupportedError(
            f"missing {', '.join(packages)}, and there is no apt-get to install them with"
        )
    with locks.exclusive(STATE_ROOT / "apt.lock", INSTALL_TIMEOUT_S):
        packages = _missing_packages(wanted)
        with console.step(f"installing {' '.join(packages)}"):
            try:
                _install(packages)
            except ClusterError as error:
                reason = str(error).splitlines()[-1]
                raise UnsupportedError(f"cannot install {', '.join(packages)}: {reason}") from None
    if packages := _missing_packages(wanted):
        raise UnsupportedError(f"still missing after installing: {', '.join(packages)}")


def _missing_packages(programs: Mapping[str, str]) -> list[str]:
    path = f"{os.environ.get('PATH', os.defpath)}:{SBIN}"
    return sorted({package for program, package in programs.items() if not _present(program, path)})


def _present(program: str, path: str) -> bool:
    if program.startswith("/"):
        return Path(program).exists()
    return shutil.which(program, path=path) is not None


def _install(packages: list[str]) -> None:
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}

    def apt(*args: str) -> None:
        try:
            run(["apt-get", "-qq", *args], env=env, timeout_s=INSTALL_TIMEOUT_S)
        except ClusterError as error:
            console.say(f"{error}; once more")
            run(["apt-get", "-qq", *args], env=env, timeout_s=INSTALL_TIMEOUT_S)

    # An installation that was interrupted would stop every later one.
    run(["dpkg", "--configure", "-a"], env=env, timeout_s=INSTALL_TIMEOUT_S)
    apt("update")
    apt("install", "-y", "--no-install-recommends", *packages)
