"""The life of a cluster: up, again, larger, after a violent end, down; and what it refuses.

It has a tag of its own and runs beside the cluster of the other tests, which is a test by itself.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from coffer_cluster import cgroups, leftovers, network
from coffer_cluster.addresses import plan_for
from coffer_cluster.binaries import INIT
from coffer_cluster.cluster import Cluster
from coffer_cluster.command import run
from coffer_cluster.processes import Identity
from coffer_cluster.testing import bench as make_bench
from coffer_cluster.testing import new_bench
from coffer_cluster.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

TAG = "clusterlife"
ODD_TAG = "clusterodd"
UP_LIMIT_S = 30
UP_AGAIN_LIMIT_S = 5


@pytest.fixture(scope="module")
def life(cluster: Cluster) -> Iterator[Cluster]:
    """A second cluster; each test brings it to where it needs it."""
    made = Cluster(TAG)
    made.down()
    yield made
    made.down()
    # The one beside it has not noticed anything.
    assert cluster.status()["ready"]


def identities(cluster: Cluster) -> dict[str, tuple[Identity | None, dict[str, int]]]:
    return {
        box.name: (box.identity, {name: p["pid"] for name, p in box.programs().items()})
        for box in cluster.layout.sandboxes()
    }


def use_a_volume(cluster: Cluster) -> None:
    """Leave a pod running that writes to a volume."""
    bench = new_bench(cluster, "busy")
    bench.apply(bench.claim("data", "64Mi"))
    bench.run_probe("user", "beat", "/data/beat", claim="data")
    assert leftovers.loop_devices(cluster.layout.root)


def processes_of(cluster: Cluster) -> list[int]:
    """All that bears the cluster's name in its groups, its arguments, or its mounts."""
    pids = set(cgroups.processes(cluster.plan.cgroup))
    mark = str(cluster.layout.root).encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            seen = (folder / "cmdline").read_bytes() + (folder / "mountinfo").read_bytes()
        except OSError:
            continue  # ended since the listing
        if mark in seen:
            pids.add(int(folder.name))
    return sorted(pids)


def remains(cluster: Cluster) -> dict[str, object]:
    """Everything of the cluster that there still is on the machine."""
    plan = cluster.plan
    names = [plan.control_plane_namespace, plan.node_namespace(1), plan.node_namespace(2)]
    found = {
        "processes": processes_of(cluster),
        "namespaces": [name for name in names if network.namespace_exists(name)],
        "links": [plan.machine_link] if network.link_exists(plan.machine_link) else [],
        "mounts": [
            line
            for line in Path("/proc/self/mountinfo").read_text().splitlines()
            if any(name in line for name in (*names, str(cluster.layout.root)))
        ],
        "routes": network.overlapping_routes(plan),
        "loop devices": leftovers.loop_devices(cluster.layout.root),
        "control groups": [str(p) for p in Path("/sys/fs/cgroup").glob(f"*/{plan.cgroup}")],
        "files": [str(cluster.layout.root)] if cluster.layout.root.exists() else [],
    }
    return {what: items for what, items in found.items() if items}


def test_life(life: Cluster) -> None:
    """Interrupted, completed, repeated, larger, killed, gone: each step starts where one ended."""
    interrupt_up(life)
    life.up()
    use_a_volume(life)
    up_again_changes_nothing(life)
    grow(life)
    up_again_changes_nothing(life)
    kill_everything(life)
    up_in_time(life)
    assert [node.name for node in life.nodes()] == ["n1"], "it is another cluster"
    use_a_volume(life)
    life.layout.control_plane.end()
    assert not life.running
    up_in_time(life)
    assert set(remains(life)) == {
        *("processes", "namespaces", "mounts", "links", "routes", "control groups", "files")
    }
    life.down()
    assert remains(life) == {}
    life.down()


def interrupt_up(cluster: Cluster) -> None:
    """An `up` that is killed when the control plane has booted and no API server is there."""
    argv = [sys.executable, "-m", "coffer_cluster", "--tag", cluster.tag, "up"]
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as first:
        wait_for("the control plane to boot", lambda: cluster.layout.control_plane.alive, 30)
        first.kill()


def up_again_changes_nothing(cluster: Cluster) -> None:
    before = identities(cluster)
    # As if the first `up` had been killed just before it wrote down that this was done.
    cluster.layout.furnished.unlink()
    start_s = time.monotonic()
    cluster.up()
    assert time.monotonic() - start_s < UP_AGAIN_LIMIT_S
    assert identities(cluster) == before
    assert all(pid for _, programs in before.values() for pid in programs.values())


def grow(cluster: Cluster) -> None:
    """A second node comes to a running first one, with its images and half of its memory."""
    assert [node.name for node in cluster.nodes()] == ["n1"]
    image = "localhost/test/copied:1"
    tag = ["ctr", "--namespace", "k8s.io", "images", "tag", cluster.probe_image, image]
    cluster.node(1).sandbox.execute(tag)
    with make_bench(cluster) as bench:
        address = bench.run_probe("old", "serve", ":8080")
        cluster.up(nodes=2)
        assert [node.name for node in cluster.nodes()] == ["n1", "n2"]
        bench.run_probe("new", node="n2", image=image)
        assert "old to" in bench.execute("new", "get", f"http://{address}:8080/")
        pod = bench.find_pod("old")
        assert pod is not None
        assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
        total = sum(memory_of(bench.api.get(f"/api/v1/nodes/{name}")) for name in ("n1", "n2"))
        assert total <= memory_of_machine()


def kill_everything(cluster: Cluster) -> None:
    """At once, with a volume mounted, and one node frozen: dead but for a thaw."""
    cluster.node(1).freeze()
    for pid in processes_of(cluster):
        kill(pid)
    wait_for("the control plane to be dead", lambda: not cluster.running, 10)
    assert processes_of(cluster)


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it went with another one


def up_in_time(cluster: Cluster) -> None:
    start_s = time.monotonic()
    cluster.up()
    assert time.monotonic() - start_s < UP_LIMIT_S
    assert cluster.status()["ready"]


def memory_of(node: dict[str, dict[str, dict[str, str]]]) -> int:
    return int(node["status"]["allocatable"]["memory"].removesuffix("Ki")) * 1024


def memory_of_machine() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


# --- what is refused ---


@pytest.fixture
def odd() -> Iterator[Cluster]:
    cluster = Cluster(ODD_TAG)
    assert remains(cluster) == {}
    yield cluster
    cluster.down()
    assert remains(cluster) == {}


def up_is_refused(cluster: Cluster, line: str) -> None:
    """Exit code 2, one line, and nothing made."""
    argv = [sys.executable, "-m", "coffer_cluster", "--tag", cluster.tag, "up"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2, done.stderr
    assert line in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not cluster.layout.control_plane.alive


def test_foreign_state_folder_is_refused(odd: Cluster) -> None:
    precious = odd.layout.root / "precious"
    odd.layout.root.mkdir(parents=True)
    precious.write_text("not ours")
    try:
        up_is_refused(odd, "is not a state folder of ours")
        argv = [sys.executable, "-m", "coffer_cluster", "--tag", odd.tag, "down"]
        assert subprocess.run(argv, capture_output=True, timeout=60, check=False).returncode == 2
        assert precious.read_text() == "not ours"
    finally:
        precious.unlink()
        odd.layout.root.rmdir()


def test_foreign_namespace_is_refused(odd: Cluster) -> None:
    name = odd.plan.node_namespace(1)
    run(["ip", "netns", "add", name])
    try:
        up_is_refused(odd, f"network namespace {name} exists")
        assert network.namespace_exists(name)
    finally:
        run(["ip", "netns", "del", name])


def test_foreign_route_is_refused(odd: Cluster) -> None:
    route = ["unreachable", str(odd.plan.pod_network(7)), "metric", "77"]
    run(["ip", "route", "add", *route])
    try:
        up_is_refused(odd, "are routed elsewhere")
        assert network.overlapping_routes(odd.plan)
    finally:
        run(["ip", "route", "del", *route])


def test_nothing_is_done_to_a_process_that_took_over_a_pid(odd: Cluster) -> None:
    """A pid file of a process that is long gone, whose number has come to mean another."""
    with subprocess.Popen(["sleep", "60"]) as innocent:
        try:
            identity = Identity.of(innocent.pid)
            assert identity is not None
            odd.layout.claim()
            box = odd.layout.control_plane
            box.folder.mkdir()
            box.pid_file.write_text(
                f'{{"pid": {identity.pid}, "start_ticks": {identity.start_ticks - 1},'
                f' "boot_id": "{identity.boot_id}"}}'
            )
            odd.down()
            assert not odd.layout.root.exists()
            assert innocent.poll() is None
        finally:
            innocent.kill()


def test_down_of_nothing_does_nothing(odd: Cluster) -> None:
    odd.down()


def test_init_refuses_to_run_without_a_spec() -> None:
    done = subprocess.run([INIT.path], capture_output=True, text=True, timeout=10, check=False)
    assert done.returncode == 1
    assert "usage" in done.stderr


def test_tags_of_these_tests_do_not_share_networks(cluster: Cluster) -> None:
    plans = [cluster.plan, plan_for(TAG), plan_for(ODD_TAG), plan_for("coffer")]
    assert len({plan.nodes for plan in plans}) == len(plans)
