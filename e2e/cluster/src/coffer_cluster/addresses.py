"""Which networks and names a cluster has: a pure function of its tag.

The machine, the nodes and people all compute the same answer, so that nothing has to be looked up
to clean up after a cluster, and two clusters with different tags keep out of each other's way.
"""

import hashlib
import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from coffer_cluster.errors import UnsupportedError

DEFAULT_TAG = "coffer"
#: Network interfaces are named after the tag, and have at most 15 characters.
TAG_PATTERN = re.compile(r"[a-z][a-z0-9]{0,10}")
MAX_NODES = 50
API_PORT = 6443
S3_PORT = 9000
S3_TLS_PORT = 9443
CLUSTER_DOMAIN = "cluster.local"

#: Slot 0 is the default tag's; the others are shared out by hash.
SLOTS = 63


@dataclass(frozen=True)
class Plan:
    """The networks, addresses and names of one cluster.

    4,096 Services: enough for a thousand instances.
    """

    tag: str
    nodes: IPv4Network
    pods: IPv4Network
    services: IPv4Network

    @property
    def networks(self) -> tuple[IPv4Network, ...]:
        return (self.nodes, self.pods, self.services)

    @property
    def control_plane(self) -> IPv4Address:
        return self.nodes[1]

    @property
    def machine(self) -> IPv4Address:
        """The machine's own address on the cluster's switch."""
        return self.nodes[254]

    @property
    def api_url(self) -> str:
        return f"https://{self.control_plane}:{API_PORT}"

    @property
    def api_service(self) -> IPv4Address:
        """What the API server takes for its own Service: the first address."""
        return self.services[1]

    @property
    def s3_service(self) -> IPv4Address:
        return self.services[10]

    def node_address(self, number: int) -> IPv4Address:
        return self.nodes[10 + number]

    def pod_network(self, number: int) -> IPv4Network:
        return IPv4Network((int(self.pods.network_address) + number * 256, 24))

    @property
    def machine_link(self) -> str:
        return f"{self.tag}-net"

    @property
    def control_plane_namespace(self) -> str:
        return f"{self.tag}-cp"

    def node_namespace(self, number: int) -> str:
        return f"{self.tag}-n{number}"

    @property
    def cgroup(self) -> str:
        return self.tag


def plan_for(tag: str) -> Plan:
    if not TAG_PATTERN.fullmatch(tag):
        raise UnsupportedError(
            f"TAG {tag!r} cannot name a cluster: a small letter, then up to 10 letters and digits"
        )
    if tag == DEFAULT_TAG:
        return Plan(
            tag,
            nodes=IPv4Network("10.99.0.0/24"),
            pods=IPv4Network("10.245.0.0/16"),
            services=IPv4Network("10.97.0.0/16"),
        )
    slot = 1 + int.from_bytes(hashlib.sha256(tag.encode()).digest()[:8]) % (SLOTS - 1)
    return Plan(
        tag,
        nodes=IPv4Network(f"10.99.{slot}.0/24"),
        pods=IPv4Network(f"10.{128 + slot}.0.0/16"),
        services=IPv4Network(f"10.{200 + slot // 16}.{slot % 16 * 16}.0/20"),
    )
