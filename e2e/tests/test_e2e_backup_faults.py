"""Backups and restores when something dies, breaks or goes away in the middle of them."""

import signal
from dataclasses import dataclass

import pytest

from coffer_cluster.cluster import Cluster
from e2e_backup import (
    Bucket,
    backup,
    checksums,
    fill,
    fill_with_noise,
    from_backup,
    from_location,
    instance_phase,
    key_secret,
    shop,
    status,
    storage,
    storage_secrets,
    wait_completed,
    wait_gone,
    wait_storage,
    wait_under_way,
)
from e2e_kube import Space, condition, wait_until
from e2e_manifests import instance
from e2e_processes import engine, engines, fresh_operator, kill_operator, main_process

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(300)]

PREFIX = "some/prefix"
NOISE_MB = 14
SLOW = {"rateLimit": "1Mi", "partSize": "5Mi"}  # some 15 s for that noise
FAULTS = ("agent", "engine", "pod", "operator")


@dataclass(frozen=True)
class Scene:
    """A namespace with a slow storage, and what was broken in it."""

    space: Space
    bucket: Bucket


@pytest.fixture(scope="module")
def scene(shared_space: Space, cluster: Cluster) -> Scene:
    space, bucket = shared_space, Bucket(cluster).create()
    space.apply(*storage_secrets(cluster), storage("store", bucket))
    space.apply(storage("slow", bucket, **SLOW))
    space.apply(*(shop(f"db-{fault}") for fault in FAULTS))
    for fault in FAULTS:
        space.wait_ready(f"db-{fault}", timeout_s=150)
        fill_with_noise(space, f"db-{fault}", NOISE_MB)
    fill(space, "db-agent")
    for name in ("store", "slow"):
        wait_storage(space, name)
    return Scene(space, bucket)


@pytest.fixture(scope="module")
def interrupted(scene: Scene) -> Scene:
    """A backup of each instance, and in the middle of it something is gone.

    At the same time, for what comes after takes half a minute each.
    """
    space = scene.space
    fresh_operator(space.kube)
    names = [f"b-{fault}" for fault in FAULTS]
    space.apply(*(backup(f"b-{fault}", f"db-{fault}", "slow") for fault in FAULTS))
    for name in names:
        wait_under_way(space, name, scene.bucket)
    main_process(space.running_pod("db-agent"), "guest").send(signal.SIGKILL)
    engine(space.running_pod("db-engine")).send(signal.SIGKILL)
    space.delete("pod", "db-pod-0")
    kill_operator(space.kube)
    space.apply(storage("slow", scene.bucket, partSize="5Mi"))  # what begins from now on is quick
    return scene


@pytest.mark.parametrize("fault", FAULTS)
def test_a_backup_outlives_a_death_in_its_middle(interrupted: Scene, fault: str) -> None:
    space, bucket = interrupted.space, interrupted.bucket
    found = wait_completed(space, f"b-{fault}", timeout_s=180)
    assert found["sizeBytes"] > NOISE_MB * 10**6
    if fault == "engine":
        assert found["attempt"] > 1, "the stream of a dead engine is no backup"
    place = f"{PREFIX}/{found['path']}"
    assert bucket.uploads(f"{place}/") == []
    assert bucket.keys(f"{place}/") == [f"{place}/data", f"{place}/manifest.json"]
    space.wait_ready(f"db-{fault}")
    space.apply(backup(f"next-{fault}", f"db-{fault}", "slow", type="incremental"))
    following = wait_completed(space, f"next-{fault}")
    assert following["parent"] == found["path"], following["message"]


def test_what_was_taken_around_a_death_is_restored_equal(interrupted: Scene) -> None:
    space = interrupted.space
    wait_completed(space, "b-agent", timeout_s=180)
    expected = checksums(space, "db-agent")
    space.apply(shop("again", restoreFrom=from_backup("b-agent")))
    space.wait_ready("again", timeout_s=120)
    assert checksums(space, "again") == expected
    space.delete("databaseinstance", "again")


def wait_restore_error(space: Space, name: str, timeout_s: float = 90) -> str:
    """The message of an instance that is in Error, and never was anything else but on its way."""

    def in_error() -> str:
        phase = instance_phase(space, name)
        assert phase != "Healthy", "a damaged backup became a database"
        found = condition(space.instance(name), "Stalled")
        return str(found.get("message", "")) if phase == "Error" else ""

    return wait_until(f"{name} in Error", in_error, timeout_s)


def assert_nothing_was_made(space: Space, name: str) -> None:
    ready = condition(space.instance(name), "Ready")
    assert ready["status"] == "False", ready
    assert not engines(space.running_pod(name)), "an engine runs on half of a backup"


def test_a_flipped_bit_is_never_restored(scene: Scene) -> None:
    space, bucket = scene.space, scene.bucket
    space.apply(backup("flipped", "db-agent"))
    taken = wait_completed(space, "flipped", timeout_s=180)
    bucket.flip_a_bit(f"{PREFIX}/{taken['path']}/data")
    space.apply(shop("broken", restoreFrom=from_backup("flipped")))
    message = wait_restore_error(space, "broken")
    assert taken["path"] in message
    assert_nothing_was_made(space, "broken")
    report = (space.instance("broken") or {})["status"]["restore"]
    assert report["phase"] == "Failed", report
    space.delete("databaseinstance", "broken")


def test_a_wrong_key_is_told_before_anything_is_touched(scene: Scene) -> None:
    space, bucket = scene.space, scene.bucket
    space.apply(backup("locked", "db-agent"))
    taken = wait_completed(space, "locked", timeout_s=180)
    space.apply(key_secret("other-key"), storage("stranger", bucket, "other-key"))
    wait_storage(space, "stranger")
    space.apply(shop("closed", restoreFrom=from_location("stranger", taken["path"])))
    message = wait_restore_error(space, "closed")
    assert "key" in message, message
    assert_nothing_was_made(space, "closed")
    space.delete("databaseinstance", "closed")


def redis_backup(space: Space, cluster: Cluster) -> Bucket:
    """A bucket of its own with the backup `b` of a Redis."""
    bucket = Bucket(cluster).create()
    space.apply(*storage_secrets(cluster), storage("store", bucket), instance("cache", "redis"))
    space.apply(backup("b", "cache"))
    wait_completed(space, "b")
    return bucket


def test_a_namespace_goes_and_the_objects_stay(space: Space, cluster: Cluster) -> None:
    bucket = redis_backup(space, cluster)
    before = bucket.keys()
    assert len(before) == 2
    space.kube.delete("namespace", space.name)
    wait_until(
        "the namespace is gone", lambda: space.kube.get("namespace", space.name, "") is None, 120
    )
    assert bucket.keys() == before


def test_a_bucket_that_is_gone_holds_back_a_deletion_until_retain(
    space: Space, cluster: Cluster
) -> None:
    bucket = redis_backup(space, cluster)
    bucket.remove()
    space.delete("backup", "b")

    def blocked() -> str:
        found = condition(space.get("backup", "b"), "DeletionBlocked")
        return str(found.get("message", ""))

    message = wait_until("the deletion is blocked", blocked)
    assert "Retain" in message
    assert status(space, "b")["phase"] == "Deleting"
    space.patch("backup", "b", {"spec": {"deletionPolicy": "Retain"}})
    wait_gone(space, "backup", ["b"])
    assert "ObjectsRetained" in space.events("b")
