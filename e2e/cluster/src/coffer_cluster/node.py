"""One node: how it starts, and what can be done to it in a test.

A node is told by its number alone; everything about it is in the cluster's state folder. What a
fault leaves behind (a pulled cable, a frozen group) is undone by `heal`, `thaw` or `start`.
"""

import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from coffer_cluster import cgroups, controlplane, images, locks, network, nodeconfig
from coffer_cluster.binaries import CSI, KUBERNETES
from coffer_cluster.errors import ClusterError
from coffer_cluster.kubeconfig import write as write_kubeconfig
from coffer_cluster.layout import Layout
from coffer_cluster.paths import lock_file
from coffer_cluster.sandbox import Program, Sandbox
from coffer_cluster.waiting import wait_for

LOCK_TIMEOUT_S = 120
CONTAINERD_TIMEOUT_S = 20
#: The node's folders, and where its programs look for them.
DATA_FOLDERS = {
    "kubelet": Path("/var/lib/kubelet"),
    "containerd": Path("/var/lib/containerd"),
    "lib-cni": Path("/var/lib/cni"),
    "pod-logs": Path("/var/log/pods"),
    "container-logs": Path("/var/log/containers"),
}
CSI_SOCKET = DATA_FOLDERS["kubelet"] / "plugins" / "coffer" / "csi.sock"
CSI_REGISTRATION = DATA_FOLDERS["kubelet"] / "plugins_registry" / "coffer.sock"


@dataclass(frozen=True)
class Node:
    """A node of a running cluster."""

    layout: Layout
    number: int

    @property
    def name(self) -> str:
        return f"n{self.number}"

    @property
    def address(self) -> str:
        return str(self.layout.plan.node_address(self.number))

    @property
    def sandbox(self) -> Sandbox:
        return self.layout.node(self.number)

    @property
    def alive(self) -> bool:
        return self.sandbox.alive

    # --- life ---

    def start(self) -> None:
        """Start the node; nothing if it runs. After `kill`, this is the power coming back."""
        with self._changing():
            if not self.alive:
                self.prepare(len(self.layout.node_numbers()))
            self.undo_faults()
            self.boot()
            self.catch_up()
            self.join()

    def boot(self) -> None:
        """Boot a node that `prepare` made ready, and start what needs no API server."""
        if not self.alive:
            binds = {self.sandbox.folder / name: path for name, path in DATA_FOLDERS.items()}
            self.sandbox.boot(binds | self._tunables())
        self.sandbox.wait_until_booted()
        self._start_runtime()

    def _tunables(self) -> dict[Path, Path]:
        """Files that show kubelet what it wants to find, so that it leaves the machine as it is."""
        folder = self.sandbox.folder / "tunables"
        folder.mkdir(exist_ok=True)
        binds = {}
        for name, value in nodeconfig.KERNEL_TUNABLES.items():
            file = folder / name.replace("/", ".")
            file.write_text(f"{value}\n")
            binds[file] = Path("/proc/sys", name)
        return binds

    def catch_up(self) -> None:
        """Bring the images that other nodes were given while this one was down or not yet there."""
        numbers = [number for number in self.layout.node_numbers() if number != self.number]
        others = [node for node in (Node(self.layout, n) for n in numbers) if node.alive]
        # Those that have caught up themselves come first.
        others.sort(key=lambda node: not node.settled_mark.exists())
        if others:
            images.copy_missing(others[0].sandbox, self.sandbox, self.layout.root)

    def join(self) -> None:
        """Start what speaks to the API server: without an answer it would ask ever less often."""
        box = self.sandbox
        box.start(controlplane.kube_proxy(self.layout, self.name))
        box.start(self._csi())
        box.start(self._kubelet())

    def prepare(self, nodes: int) -> None:
        """Make a node that is down ready to boot as one of so many; one node at a time."""
        plan, box = self.layout.plan, self.sandbox
        box.end()
        box.folder.mkdir(exist_ok=True)
        self.settled_mark.unlink(missing_ok=True)
        if not self._connected_mark.exists():
            network.connect_node(plan, self.number, self._connected())
            self._connected_mark.touch()
        # Addresses lent to pods of an earlier boot would never be given back, and kubelet would
        # try each dead container's group for 3 s.
        shutil.rmtree(box.folder / "lib-cni", ignore_errors=True)
        if cgroups.exists(f"{box.cgroup}/kubepods"):
            cgroups.remove(f"{box.cgroup}/kubepods")
        for name in (*DATA_FOLDERS, "cni"):
            (box.folder / name).mkdir(exist_ok=True)
        (box.folder / "cni" / "10-bridge.conflist").write_text(
            nodeconfig.pod_network(plan, self.number)
        )
        (box.folder / "containerd.toml").write_text(nodeconfig.containerd(box.folder / "cni"))
        self._issue_certificate()
        self._kubelet_file.write_text(self._kubelet_config(nodes))

    @property
    def settled_mark(self) -> Path:
        """Exists once this boot of the node has its images and has been checked."""
        return self.sandbox.folder / "settled"

    @property
    def _connected_mark(self) -> Path:
        """Exists once the node's network is whole; a half-made one is made anew."""
        return self.sandbox.folder / "connected"

    def _connected(self) -> list[int]:
        """The other nodes that have a cable already."""
        return [
            number
            for number in self.layout.node_numbers()
            if number != self.number and Node(self.layout, number)._connected_mark.exists()
        ]

    def _issue_certificate(self) -> None:
        pki, plan = self.layout.pki, self.layout.plan
        kubeconfig = self.layout.kubeconfig_of(self.name)
        if kubeconfig.exists():
            return
        pki.issue(
            self.name,
            f"system:node:{self.name}",
            organization="system:nodes",
            names=[self.name],
            addresses=[plan.node_address(self.number)],
        )
        write_kubeconfig(kubeconfig, plan.api_url, pki, self.name, name=f"coffer-{plan.tag}")

    @property
    def _kubelet_file(self) -> Path:
        return self.sandbox.folder / "kubelet.yaml"

    def _kubelet_config(self, nodes: int) -> str:
        pki = self.layout.pki
        pair = (pki.certificate(self.name), pki.key(self.name))
        return nodeconfig.kubelet(self.layout.plan, self.sandbox.cgroup, pki.authority, pair, nodes)

    def _start_runtime(self) -> None:
        box = self.sandbox
        box.start(
            Program("containerd", ["/usr/bin/containerd", "-c", box.folder / "containerd.toml"])
        )
        wait_for(
            f"containerd of {self.name}",
            self._containerd_answers,
            CONTAINERD_TIMEOUT_S,
            detail=lambda: box.log_tail("containerd"),
        )
        self._load_own_images()

    def _containerd_answers(self) -> bool:
        try:
            self.sandbox.execute(["ctr", "version"])
        except ClusterError:
            return False
        return True

    def _load_own_images(self) -> None:
        """Bring the pause image, without which no pod starts, and the one of the checks."""
        present = images.loaded(self.sandbox)
        names = (images.pause_image(), images.probe_image())
        for name, archive in zip(names, images.ensure_own_archives(), strict=True):
            if name not in present:
                images.import_archive(self.sandbox, archive)

    def _csi(self) -> Program:
        args: list[object] = [
            CSI.path,
            *("-node", self.name),
            *("-volumes", self.layout.volumes),
            *("-endpoint", CSI_SOCKET),
            *("-registration", CSI_REGISTRATION),
        ]
        return Program("csi", args)

    def _kubelet(self) -> Program:
        args: list[object] = [
            KUBERNETES.path,
            "kubelet",
            f"--kubeconfig={self.layout.kubeconfig_of(self.name)}",
            f"--config={self._kubelet_file}",
            f"--hostname-override={self.name}",
            f"--node-ip={self.address}",
            f"--node-labels=topology.kubernetes.io/zone=zone-{self.number}",
            "--v=2",
        ]
        return Program("kubelet", args)

    def share_memory(self, nodes: int) -> None:
        """Tell a running node that there are now so many; its pods go on."""
        if not self.alive or self._kubelet_file.read_text() == self._kubelet_config(nodes):
            return
        # In this order, so that an `up` that is killed in between is completed by the next one.
        self.sandbox.stop("kubelet")
        self._kubelet_file.write_text(self._kubelet_config(nodes))
        self.sandbox.start(self._kubelet())

    # --- faults ---

    def kill(self) -> None:
        """Power loss: everything on the node is dead at once."""
        with self._changing():
            self.sandbox.end()

    def crash(self) -> None:
        """Power loss that also loses what was written to volumes but never synced."""
        with self._changing():
            box = self.sandbox
            points = self._volume_mounts()
            cgroups.freeze(box.cgroup)
            # Run outside the frozen group: nsenter changes namespaces, not groups.
            for point in points:
                box.execute(["xfs_io", "-x", "-c", "shutdown", point])
            box.end()

    def _volume_mounts(self) -> list[str]:
        devices: dict[str, str] = {}
        for line in self.sandbox.execute(["cat", "/proc/mounts"]).splitlines():
            device, point, *_ = line.split()
            if device.startswith("/dev/loop"):
                devices.setdefault(device, point)
        return list(devices.values())

    @property
    def frozen(self) -> bool:
        return cgroups.frozen(self.sandbox.cgroup)

    def renew_clients(self) -> None:
        """Start anew what watches the API server."""
        self.sandbox.renew(("kubelet", "kube-proxy"))

    def freeze(self) -> None:
        """The node hangs: its programs and all its containers stand still."""
        with self._changing():
            cgroups.freeze(self.sandbox.cgroup)

    def thaw(self) -> None:
        with self._changing():
            cgroups.thaw(self.sandbox.cgroup)

    def cut(self) -> None:
        """Pull the node's cable; its containers go on."""
        with self._changing():
            network.set_cable(self.layout.plan, self.number, plugged=False)

    def isolate(self) -> None:
        """Nodes that are isolated do not reach one another, but reach the API server."""
        with self._changing():
            network.set_isolated(self.layout.plan, self.number, isolated=True)

    def heal(self) -> None:
        """Undo `cut` and `isolate`."""
        with self._changing():
            self._heal()

    def undo_faults(self) -> None:
        """Undo whatever faults left; the caller holds the cluster's lock."""
        if self.frozen:
            cgroups.thaw(self.sandbox.cgroup)
        self._heal()

    def _heal(self) -> None:
        network.set_cable(self.layout.plan, self.number, plugged=True)
        network.set_isolated(self.layout.plan, self.number, isolated=False)

    def stop_program(self, name: str) -> None:
        """Kill one program of the node (kubelet, containerd, …) and keep it down."""
        with self._changing():
            self.sandbox.stop(name)

    def start_programs(self) -> None:
        """Start again what `stop_program` ended."""
        with self._changing():
            self._start_runtime()
            self.join()

    def _changing(self) -> AbstractContextManager[None]:
        return locks.exclusive(lock_file(self.layout.plan.tag), LOCK_TIMEOUT_S)
