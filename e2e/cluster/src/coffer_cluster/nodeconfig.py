"""The configuration files of one node: kubelet, containerd and the pods' network."""

import json
from pathlib import Path
from typing import Any

import yaml

from coffer_cluster.addresses import CLUSTER_DOMAIN, Plan
from coffer_cluster.images import pause_image

CNI_PLUGINS = Path("/usr/lib/cni")
MIN_FREE_MEMORY = "100Mi"
#: What kubelet sets in the kernel, for the whole machine, unless it finds it so.
KERNEL_TUNABLES = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1_000_000,
    "kernel/keys/root_maxbytes": 25_000_000,
}


def memory_total_bytes() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, value, *_ = line.split()
        if name == "MemTotal:":
            return int(value) * 1024
    raise ValueError("no MemTotal in /proc/meminfo")


def reserved_memory_bytes(total_bytes: int, nodes: int) -> int:
    """What a node must not give to pods: the shares of the other nodes.

    Every kubelet sees the whole machine's memory, and would promise all of it.
    """
    return total_bytes * (nodes - 1) // nodes


def kubelet(plan: Plan, cgroup: str, authority: Path, pair: tuple[Path, Path], nodes: int) -> str:
    """KubeletConfiguration; `pair` is the certificate and the key it serves with."""
    reserved = reserved_memory_bytes(memory_total_bytes(), nodes)
    config: dict[str, Any] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(authority)},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(pair[0]),
        "tlsPrivateKeyFile": str(pair[1]),
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": ["pods"],
        "systemReserved": {"memory": f"{reserved // 1024}Ki"},
        "clusterDNS": [str(plan.control_plane)],
        "clusterDomain": CLUSTER_DOMAIN,
        # The lease is renewed every quarter of this; see the controller manager's grace period.
        "nodeLeaseDurationSeconds": 8,
        "nodeStatusUpdateFrequency": "2s",
        "nodeStatusReportFrequency": "1m",
        # A volume that was made larger grows at the next of these.
        "syncFrequency": "2s",
        "volumeStatsAggPeriod": "5s",
        "evictionHard": {
            "memory.available": MIN_FREE_MEMORY,
            "nodefs.available": "1%",
            "imagefs.available": "1%",
        },
        # There is no registry to fetch an image from again.
        "imageGCHighThresholdPercent": 100,
    }
    return yaml.safe_dump(config, sort_keys=False)


def containerd(cni_config: Path) -> str:
    return f"""\
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"

[grpc]
  address = "/run/containerd/containerd.sock"

[plugins."io.containerd.grpc.v1.cri"]
  # Without CAP_SYS_RESOURCE no score can be lowered, and no sandbox would start.
  restrict_oom_score_adj = true
  sandbox_image = "{pause_image()}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_PLUGINS}"
    conf_dir = "{cni_config}"
"""


def pod_network(plan: Plan, number: int) -> str:
    """The CNI plugins' configuration: a bridge for the node's pods, with their own addresses."""
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "hairpinMode": True,
        # Other nodes shall see the pod's address, not the node's.
        "ipMasq": False,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": str(plan.pod_network(number))}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    plugins = [bridge, ports]
    return json.dumps({"cniVersion": "0.4.0", "name": f"n{number}", "plugins": plugins}, indent=1)
