"""Taking a cluster apart, whole or in ruins: processes, then what they held, then files.

It removes only what bears the cluster's names and lies in its claimed state folder; called on
nothing, it does nothing. Each step may be interrupted and repeated.
"""

from pathlib import Path

from coffer_cluster import cgroups, network
from coffer_cluster.command import run
from coffer_cluster.layout import Layout
from coffer_cluster.waiting import wait_for

FREE_TIMEOUT_S = 20


def clear(layout: Layout) -> None:
    """Leave nothing of the cluster; the caller holds its lock and knows the folder to be ours."""
    for sandbox in layout.sandboxes():
        sandbox.end()
    _unmount(layout.root)
    _free_loop_devices(layout.root)
    network.remove_all(layout.plan)
    if cgroups.exists(layout.plan.cgroup):
        cgroups.remove(layout.plan.cgroup)
    layout.remove()


def _unmount(root: Path) -> None:
    """Sandboxes mount in namespaces of their own; here there is something only by hand."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    points = [line.split()[1] for line in lines]
    for point in reversed([p for p in points if p.startswith(f"{root}/")]):
        run(["umount", "--lazy", point])


def loop_devices(root: Path) -> list[str]:
    """Loop devices whose file lies below the folder."""
    found = []
    for file in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            backing = file.read_text().strip()
        except OSError:
            continue  # let go since the listing
        if backing.startswith(f"{root}/"):
            found.append(f"/dev/{file.parent.parent.name}")
    return found


def _free_loop_devices(root: Path) -> None:
    # They free themselves when the last mount goes, which the kernel does in the background.
    wait_for(
        "loop devices to be free",
        lambda: not loop_devices(root),
        FREE_TIMEOUT_S,
        detail=lambda: f"{', '.join(loop_devices(root))} still hold volumes",
    )
