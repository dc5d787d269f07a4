"""Volumes: a real size, growth in use, one holder at a time, gone when deleted."""

from pathlib import Path

import pytest

from coffer_cluster import leftovers
from coffer_cluster.errors import ClusterError
from coffer_cluster.testing import DATA, NON_ROOT_ID, Bench
from coffer_cluster.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

SMALL_MIB = 64


def claim_phase(bench: Bench, name: str) -> str:
    claim = bench.get("persistentvolumeclaim", name)
    return str(claim["status"]["phase"]) if claim else "gone"


def claim_capacity(bench: Bench, name: str) -> str | None:
    claim = bench.get("persistentvolumeclaim", name)
    return claim["status"].get("capacity", {}).get("storage") if claim else None


def image_of(bench: Bench, claim_name: str) -> Path:
    claim = bench.get("persistentvolumeclaim", claim_name)
    assert claim is not None
    volume = bench.get("persistentvolume", claim["spec"]["volumeName"])
    assert volume is not None
    handle = volume["spec"]["csi"]["volumeHandle"]
    return bench.cluster.layout.volumes / f"{handle}.img"


def test_user_that_is_not_root_writes(bench: Bench) -> None:
    bench.apply(bench.claim("data", f"{SMALL_MIB}Mi"))
    bench.run_probe("writer", claim="data")
    assert f"uid {NON_ROOT_ID} " in bench.execute("writer", "id")
    bench.execute("writer", "write", f"{DATA}/file", "hello")
    assert bench.execute("writer", "read", f"{DATA}/file") == "hello"
    # The next pod finds it, on whichever node.
    bench.delete("pod", "writer")
    bench.wait_gone("writer")
    bench.run_probe("reader", claim="data", node="n2")
    assert bench.execute("reader", "read", f"{DATA}/file") == "hello"


def test_volume_is_full_at_its_size_and_grows_in_use(bench: Bench) -> None:
    bench.apply(bench.claim("data", f"{SMALL_MIB}Mi"))
    bench.run_probe("writer", claim="data")
    with pytest.raises(ClusterError, match="no space left on device") as full:
        bench.execute("writer", "fill", f"{DATA}/file", f"{SMALL_MIB}")
    assert "after 0 MiB" not in str(full.value)
    claim = bench.claim("data", f"{3 * SMALL_MIB}Mi")
    bench.apply(claim)
    wait_for(
        "the volume to grow",
        lambda: claim_capacity(bench, "data") == f"{3 * SMALL_MIB}Mi",
        30,
        every_s=0.2,
    )
    bench.execute("writer", "fill", f"{DATA}/more", f"{SMALL_MIB}")
    pod = bench.find_pod("writer")
    assert pod is not None
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0


def test_ext4_grows_when_it_is_mounted_next(bench: Bench) -> None:
    """Online it takes a capability that this machine's root may lack."""
    storage_class = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "ext4"},
        "provisioner": "csi.cluster.coffer.dev",
        "parameters": {"csi.storage.k8s.io/fstype": "ext4"},
        "allowVolumeExpansion": True,
    }
    bench.apply(storage_class, bench.claim("data", f"{SMALL_MIB}Mi", storage_class="ext4"))
    bench.run_probe("before", claim="data")
    bench.execute("before", "write", f"{DATA}/file", "kept")
    bench.delete("pod", "before")
    bench.wait_gone("before")
    bench.apply(bench.claim("data", f"{3 * SMALL_MIB}Mi", storage_class="ext4"))
    bench.run_probe("after", claim="data")
    assert bench.execute("after", "read", f"{DATA}/file") == "kept"
    bench.execute("after", "fill", f"{DATA}/more", f"{2 * SMALL_MIB}")


def test_local_volume_stays_on_its_node(bench: Bench) -> None:
    bench.apply(bench.claim("data", f"{SMALL_MIB}Mi", storage_class="local"))
    assert claim_phase(bench, "data") == "Pending"
    bench.run_probe("first", claim="data", node="n2")
    bench.delete("pod", "first")
    bench.wait_gone("first")
    bench.run_probe("second", claim="data")
    pod = bench.find_pod("second")
    assert pod is not None
    assert pod["spec"]["nodeName"] == "n2"
    bench.apply(bench.probe("elsewhere", claim="data", node="n1"))

    def cannot_be_placed() -> bool:
        return any("FailedScheduling" in event for event in bench.events_of("elsewhere"))

    wait_for("the scheduler's refusal", cannot_be_placed, 20, every_s=0.2)


@pytest.mark.parametrize("mode", ["ReadWriteMany", "ReadOnlyMany"])
def test_volume_for_several_nodes_is_refused(bench: Bench, mode: str) -> None:
    bench.apply(bench.claim("shared", f"{SMALL_MIB}Mi", mode=mode))

    def refused() -> bool:
        return any("one node at a time" in event for event in bench.events_of("shared"))

    wait_for("the refusal", refused, 20, every_s=0.2)
    assert claim_phase(bench, "shared") == "Pending"


def test_deleted_volume_leaves_nothing(bench: Bench) -> None:
    bench.apply(bench.claim("data", f"{SMALL_MIB}Mi"))
    bench.run_probe("user", claim="data")
    image = image_of(bench, "data")
    assert image.exists()
    assert leftovers.loop_devices(image.parent)
    bench.delete("persistentvolumeclaim", "data")
    bench.delete("pod", "user")
    files = f"{image.stem}.*"
    wait_for("the volume's files to go", lambda: not list(image.parent.glob(files)), 30)


def test_usage_is_reported(bench: Bench) -> None:
    bench.apply(bench.claim("data", f"{SMALL_MIB}Mi"))
    bench.run_probe("user", claim="data", node="n1")
    bench.execute("user", "fill", f"{DATA}/file", "20")

    def used_bytes() -> int:
        stats = bench.api.get("/api/v1/nodes/n1/proxy/stats/summary")
        for pod in stats["pods"]:
            if pod["podRef"]["namespace"] == bench.namespace:
                for volume in pod.get("volume", []):
                    if volume.get("pvcRef", {}).get("name") == "data":
                        return int(volume["usedBytes"])
        return 0

    wait_for("the usage to be seen", lambda: used_bytes() >= 20 * 2**20, 30, every_s=0.5)
