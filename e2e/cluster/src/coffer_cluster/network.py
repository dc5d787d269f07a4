"""The cluster's network: a switch in the control plane's namespace, cables to nodes and machine.

On the machine itself there is one end of one cable, and routes that lead into it or nowhere; none
of its own settings, rules or routes is touched.
"""

import json
from ipaddress import IPv4Network
from pathlib import Path

from coffer_cluster.addresses import MAX_NODES, Plan
from coffer_cluster.command import run
from coffer_cluster.errors import UnsupportedError
from coffer_cluster.waiting import wait_for

SWITCH = "br0"
NAMESPACES = Path("/run/netns")
#: Worse than any route of ours: it counts only while the cable is gone.
UNREACHABLE_METRIC = "9999"
GONE_TIMEOUT_S = 20


def namespace_file(name: str) -> Path:
    return NAMESPACES / name


def namespace_exists(name: str) -> bool:
    return namespace_file(name).exists()


def link_exists(name: str) -> bool:
    return Path("/sys/class/net", name).exists()


def cable(number: int) -> str:
    """The switch's end of a node's cable."""
    return f"node{number}"


def _ip(namespace: str, *args: object) -> None:
    run(["ip", "-n", namespace, *map(str, args)])


def _machine_ip(*args: object) -> None:
    run(["ip", *map(str, args)])


def overlapping_routes(plan: Plan) -> list[str]:
    """The machine's routes that lead into our networks, whoever made them."""
    found = []
    for route in json.loads(run(["ip", "-json", "-4", "route", "show", "table", "all"])):
        destination = route["dst"]
        if destination == "default":
            continue
        network = IPv4Network(destination, strict=False)
        if any(network.overlaps(ours) for ours in plan.networks):
            found.append(f"{destination} dev {route.get('dev', route.get('type', '?'))}")
    return found


def refuse_foreign(plan: Plan) -> None:
    """Stop where our names or networks are taken; call it when nothing of ours is left."""
    numbers = range(1, MAX_NODES + 1)
    names = (plan.control_plane_namespace, *map(plan.node_namespace, numbers))
    for name in filter(namespace_exists, names):
        raise UnsupportedError(
            f"network namespace {name} exists but no cluster of ours owns it;"
            f" choose another TAG, or remove it: ip netns del {name}"
        )
    if link_exists(plan.machine_link):
        raise UnsupportedError(
            f"network interface {plan.machine_link} exists but no cluster of ours owns it;"
            f" choose another TAG, or remove it: ip link del {plan.machine_link}"
        )
    if routes := overlapping_routes(plan):
        raise UnsupportedError(
            f"the networks of TAG {plan.tag} are routed elsewhere on this machine"
            f" ({'; '.join(routes)}); choose another TAG"
        )


def create_switch(plan: Plan) -> None:
    """The control plane's namespace with the switch, and the machine's cable into it."""
    # First of all: nothing meant for the cluster may leave by the machine's default route.
    for network in plan.networks:
        _machine_ip("route", "replace", "unreachable", network, "metric", UNREACHABLE_METRIC)
    space = plan.control_plane_namespace
    _machine_ip("netns", "add", space)
    _ip(space, "link", "set", "lo", "up")
    _ip(space, "link", "add", SWITCH, "type", "bridge")
    _ip(space, "addr", "add", f"{plan.control_plane}/{plan.nodes.prefixlen}", "dev", SWITCH)
    _ip(space, "link", "set", SWITCH, "up")
    # Without a route to Services the kernel refuses them before kube-proxy's rules see them.
    _ip(space, "route", "add", plan.services, "dev", SWITCH)
    _forward(space)
    link = plan.machine_link
    peer = ("peer", "name", "machine", "netns", space)
    _machine_ip("link", "add", link, "type", "veth", *peer)
    _ip(space, "link", "set", "machine", "master", SWITCH, "up")
    _machine_ip("addr", "add", f"{plan.machine}/{plan.nodes.prefixlen}", "dev", link)
    _machine_ip("link", "set", link, "up")
    _machine_ip("route", "replace", plan.services, "via", plan.control_plane, "dev", link)


def connect_node(plan: Plan, number: int, others: list[int]) -> None:
    """The node's namespace and cable, and the routes between its pods and everyone else."""
    space, hub = plan.node_namespace(number), plan.control_plane_namespace
    address, pods = plan.node_address(number), plan.pod_network(number)
    if namespace_exists(space):  # of a node that was not finished
        _machine_ip("netns", "del", space)
    wait_for(
        f"the old cable of {space} to be gone",
        lambda: not _has_link(hub, cable(number)),
        GONE_TIMEOUT_S,
    )
    _machine_ip("netns", "add", space)
    _ip(space, "link", "set", "lo", "up")
    _ip(hub, "link", "add", cable(number), "type", "veth", "peer", "name", "eth0", "netns", space)
    _ip(hub, "link", "set", cable(number), "master", SWITCH, "up")
    _ip(space, "addr", "add", f"{address}/{plan.nodes.prefixlen}", "dev", "eth0")
    _ip(space, "link", "set", "eth0", "up")
    _ip(space, "route", "add", "default", "via", plan.control_plane)
    _forward(space)
    _ip(hub, "route", "replace", pods, "via", address)
    # Straight to the node: through the control plane, replies would take another way than
    # requests, and its kube-proxy drops what it saw only half of.
    _machine_ip("route", "replace", pods, "via", address, "dev", plan.machine_link)
    for other in others:
        far, far_pods = plan.node_address(other), plan.pod_network(other)
        _ip(space, "route", "replace", far_pods, "via", far)
        _ip(plan.node_namespace(other), "route", "replace", pods, "via", address)


def _has_link(namespace: str, link: str) -> bool:
    return link in {
        entry["ifname"] for entry in json.loads(run(["ip", "-json", "-n", namespace, "link"]))
    }


def _forward(namespace: str) -> None:
    enter = ["nsenter", f"--net={namespace_file(namespace)}", "--"]
    run([*enter, "sysctl", "-qw", "net.ipv4.ip_forward=1"])


def set_cable(plan: Plan, number: int, *, plugged: bool) -> None:
    state = "up" if plugged else "down"
    _ip(plan.control_plane_namespace, "link", "set", cable(number), state)


def set_isolated(plan: Plan, number: int, *, isolated: bool) -> None:
    """Isolated nodes do not reach one another; everyone else reaches them."""
    state = "on" if isolated else "off"
    bridge = ["bridge", "-n", plan.control_plane_namespace]
    run([*bridge, "link", "set", "dev", cable(number), "isolated", state])


def remove_all(plan: Plan) -> None:
    """Remove what the cluster has on the machine; its processes must be dead already."""
    if link_exists(plan.machine_link):
        _machine_ip("link", "del", plan.machine_link)
    numbers = range(1, MAX_NODES + 1)
    for name in (*map(plan.node_namespace, numbers), plan.control_plane_namespace):
        if namespace_exists(name):
            _machine_ip("netns", "del", name)
    # A namespace is taken apart in the background; its cables go with it.
    wait_for(
        f"{plan.machine_link} to be gone",
        lambda: not link_exists(plan.machine_link),
        GONE_TIMEOUT_S,
    )
    _release_namespaces_folder()
    for network in plan.networks:
        words = ("route", "del", "unreachable", network, "metric", UNREACHABLE_METRIC)
        run(["ip", *map(str, words)], ok_codes=(0, 2))  # 2: there is none


def _release_namespaces_folder() -> None:
    """The first namespace made the folder a mount of its own; the last one gone takes it back."""
    if NAMESPACES.is_mount() and not any(NAMESPACES.iterdir()):
        # 32: someone has just made a namespace there, or unmounted it himself.
        run(["umount", NAMESPACES], ok_codes=(0, 32))
