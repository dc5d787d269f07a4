"""Faults of nodes: that each does what it says, and that all is well after it."""

from collections.abc import Iterator

import pytest

from coffer_cluster import cgroups, leftovers
from coffer_cluster.cluster import Cluster
from coffer_cluster.errors import ClusterError
from coffer_cluster.node import Node
from coffer_cluster.testing import DATA, Bench
from coffer_cluster.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(300)]

PORT = 8080


@pytest.fixture
def victim(cluster: Cluster) -> Iterator[Node]:
    """Node n2, which is whole again when the test ends, however it ends."""
    node = cluster.node(2)
    yield node
    cluster.up(nodes=2)


def reaches(bench: Bench, pod: str, address: str) -> bool:
    try:
        bench.execute(pod, "get", f"http://{address}:{PORT}/")
    except ClusterError:
        return False
    return True


def node_is(bench: Bench, node: Node, status: str) -> bool:
    found = bench.get("node", node.name)
    assert found is not None
    conditions = {c["type"]: c["status"] for c in found["status"]["conditions"]}
    return bool(conditions["Ready"] == status)


def beaten(bench: Bench, pod: str) -> str:
    """What `beat` has written so far."""
    try:
        return bench.execute(pod, "read", f"{DATA}/beat")
    except ClusterError:
        return ""  # a running pod's program may still be on its way to its first line


def test_power_loss_ends_everything_at_once(bench: Bench, victim: Node) -> None:
    bench.apply(bench.claim("data", "64Mi"))
    bench.run_probe("user", "beat", f"{DATA}/beat", claim="data", node=victim.name)
    beats = wait_for("the first beat", lambda: beaten(bench, "user"), 20, every_s=0.1)
    volumes = bench.cluster.layout.root
    victim.kill()
    assert not victim.alive
    assert cgroups.processes(victim.sandbox.cgroup) == []
    # The dead node's mounts and loop devices went with it: another node may take the volume.
    wait_for("the loop devices to be free", lambda: not leftovers.loop_devices(volumes), 10)
    wait_for("the node to be lost", lambda: node_is(bench, victim, "Unknown"), 40, every_s=0.2)
    bench.delete("pod", "user", force=True)
    bench.run_probe("heir", claim="data", node="n1")
    assert beaten(bench, "heir").startswith(beats)
    victim.start()
    wait_for("the node to be back", lambda: node_is(bench, victim, "True"), 40, every_s=0.2)
    bench.run_probe("again", node=victim.name)


def test_node_catches_up_with_images(bench: Bench, victim: Node) -> None:
    """It was down when they were loaded."""
    victim.kill()
    image = "localhost/test/meanwhile:1"
    tag = ["ctr", "--namespace", "k8s.io", "images", "tag", bench.cluster.probe_image, image]
    bench.cluster.node(1).sandbox.execute(tag)
    victim.start()
    bench.run_probe("user", image=image, node=victim.name)


def test_cut_node_lives_on_and_keeps_its_volume(bench: Bench, victim: Node) -> None:
    """The API server may believe a pod to be gone; the kernel knows better."""
    bench.apply(bench.claim("data", "64Mi"))
    address = bench.run_probe("owner", "beat", f"{DATA}/beat", claim="data", node=victim.name)
    bench.run_probe("watcher", node="n1")
    victim.cut()
    assert not reaches(bench, "watcher", address)
    assert victim.alive
    bench.delete("pod", "owner", force=True)
    bench.wait_gone("owner")
    bench.apply(bench.probe("heir", claim="data", node="n1"))

    def is_refused() -> bool:
        return any("volume is in use" in event for event in bench.events_of("heir"))

    wait_for("the volume to be refused", is_refused, 30, every_s=0.2)
    victim.kill()
    bench.wait_for_pod("heir", timeout_s=60)


def test_cut_node_is_healed(bench: Bench, victim: Node) -> None:
    address = bench.run_probe("there", "serve", f":{PORT}", node=victim.name)
    bench.run_probe("here", node="n1")
    assert reaches(bench, "here", address)
    victim.cut()
    assert not reaches(bench, "here", address)
    victim.heal()
    wait_for("the pod to answer", lambda: reaches(bench, "here", address), 20)


def test_frozen_node_stands_still(bench: Bench, victim: Node) -> None:
    address = bench.run_probe("there", "serve", f":{PORT}", node=victim.name)
    bench.run_probe("here", node="n1")
    victim.freeze()
    assert not reaches(bench, "here", address)
    assert bench.cluster.status()["machines"][victim.name] == "frozen"
    victim.thaw()
    wait_for("the pod to answer", lambda: reaches(bench, "here", address), 20)


def test_frozen_node_can_lose_power(bench: Bench, victim: Node) -> None:
    bench.run_probe("there", node=victim.name)
    victim.freeze()
    victim.kill()
    assert not victim.alive
    assert cgroups.processes(victim.sandbox.cgroup) == []
    victim.start()
    assert not cgroups.frozen(victim.sandbox.cgroup)
    wait_for("the node to be back", lambda: node_is(bench, victim, "True"), 40, every_s=0.2)


def test_isolated_nodes_reach_the_api_server_only(bench: Bench, victim: Node) -> None:
    other = bench.cluster.node(1)
    address = bench.run_probe("there", "serve", f":{PORT}", node=victim.name)
    bench.run_probe("here", node=other.name)
    api = f"https://{bench.cluster.plan.api_service}/livez"
    victim.isolate()
    other.isolate()
    try:
        assert not reaches(bench, "here", address)
        for pod in ("here", "there"):
            assert bench.execute(pod, "get", api).startswith("200 ")
    finally:
        victim.heal()
        other.heal()
    wait_for("the pod to answer", lambda: reaches(bench, "here", address), 20)


def test_crash_loses_what_was_not_synced(bench: Bench, victim: Node) -> None:
    bench.apply(bench.claim("data", "64Mi"))
    bench.run_probe("writer", claim="data", node=victim.name)
    bench.execute("writer", "write", f"{DATA}/synced", "kept")
    bench.execute("writer", "scribble", f"{DATA}/scribbled", "lost")
    assert bench.execute("writer", "read", f"{DATA}/scribbled") == "lost"
    victim.crash()
    bench.delete("pod", "writer", force=True)
    bench.wait_gone("writer")
    bench.run_probe("reader", claim="data", node="n1")
    # Either the file is not there, or nothing is in it.
    files = bench.execute("reader", "dump", DATA)
    assert "kept" in files
    assert "lost" not in files


def test_containers_outlive_kubelet_and_containerd(bench: Bench, victim: Node) -> None:
    address = bench.run_probe("there", "serve", f":{PORT}", node=victim.name)
    bench.run_probe("here", node="n1")
    victim.stop_program("kubelet")
    victim.stop_program("containerd")
    assert bench.cluster.status()["machines"][victim.name]["kubelet"] == "down"
    assert reaches(bench, "here", address)
    victim.start_programs()
    bench.run_probe("after", node=victim.name)
    pod = bench.find_pod("there")
    assert pod is not None
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
