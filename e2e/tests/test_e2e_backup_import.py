"""Backups that are made again from a bucket, as in another cluster; what metrics say of them."""

import json
from itertools import pairwise
from typing import NamedTuple

import pytest

from coffer_cluster.cluster import Cluster
from coffer_operator.plan.clock import from_text
from e2e_backup import (
    KEY,
    Bucket,
    Scene,
    backup,
    backup_metrics,
    checksums,
    from_backup,
    secret,
    set_scene,
    shop,
    status,
    storage,
    storage_secrets,
    wait_completed,
    wait_storage,
)
from e2e_coffer import FAILED, NOT_FOUND, coffer
from e2e_kube import Object, Space, query, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(300)]

CHAIN = ("full", "first", "second")  # each continues the one before


class Source(NamedTuple):
    """Where the backups were taken; `expected`: sums of the tables at the last of the chain."""

    scene: Scene
    paths: dict[str, str]
    expected: dict[str, object]


def with_prefix(name: str, bucket: Bucket, prefix: str) -> Object:
    manifest = storage(name, bucket)
    manifest["spec"]["s3"]["prefix"] = prefix
    return manifest


@pytest.fixture(scope="module")
def source(shared_space: Space, cluster: Cluster) -> Source:
    scene = set_scene(shared_space, cluster)
    space = scene.space
    space.apply(with_prefix("below", scene.bucket, "some/prefix/below"))
    wait_storage(space, "below")
    space.apply(backup("other", "db", "below"))
    wait_completed(space, "other")
    changes = [
        "CREATE TABLE shop.later AS SELECT seq AS id FROM shop.seq_1_to_300",
        "DELETE FROM shop.later WHERE id % 7 = 0",
    ]
    space.apply(backup("full", "db"))
    wait_completed(space, "full")
    for (parent, name), change in zip(pairwise(CHAIN), changes, strict=True):
        with space.mysql("db", "app") as connection:
            query(connection, change)
        space.apply(backup(name, "db", type="incremental", parentRef={"name": parent}))
        assert wait_completed(space, name)["type"] == "incremental"
    paths = {name: status(space, name)["path"] for name in (*CHAIN, "other")}
    return Source(scene, paths, checksums(space, "db"))


def settle(space: Space, cluster: Cluster, source: Source, *storages: Object) -> None:
    """Storages in another namespace, with the key of the first."""
    key = source.scene.space.secret(KEY)
    space.apply(*storage_secrets(cluster))
    space.apply(secret(KEY, **key), *storages)
    for one in storages:
        wait_storage(space, one["metadata"]["name"])


def listed(space: Space, store: str) -> dict[str, Object]:
    """The backups that `import --list` shows, by their paths."""
    answer = coffer(space, "backup", "import", store, "--list", "-o", "json").stdout
    return {one["path"]: one for one in json.loads(answer)["items"]}


def adopted(space: Space) -> dict[str, Object]:
    """The Backups of a namespace, by their paths."""
    return {one["spec"]["path"]: one for one in space.kube.items("backup", space.name)}


def test_a_chain_is_imported_and_its_tip_restored(
    source: Source, space: Space, cluster: Cluster
) -> None:
    bucket, paths = source.scene.bucket, source.paths
    settle(space, cluster, source, storage("store", bucket))
    kept = bucket.keys()

    found = listed(space, "store")
    assert set(found) == {paths[name] for name in CHAIN}
    assert [found[paths[name]]["type"] for name in CHAIN] == ["full", *["incremental"] * 2]
    assert all(one["backup"] is None for one in found.values())
    assert space.kube.items("backup", space.name) == []

    done = coffer(space, "backup", "import", "store", paths["second"])
    assert done.stdout.splitlines()[-1] == "3 imported"
    made = adopted(space)
    assert set(made) == set(found)
    for name in CHAIN:
        one, original = made[paths[name]], status(source.scene.space, name)
        assert one["status"]["phase"] == "Completed", one
        assert one["spec"]["deletionPolicy"] == "Retain"
        for field in ("path", "type", "sizeBytes", "manifestDigest", "position", "keyId"):
            assert one["status"][field] == original[field], field
    names = {path: one["metadata"]["name"] for path, one in made.items()}
    assert {path: one["backup"] for path, one in listed(space, "store").items()} == names
    again = coffer(space, "backup", "import", "store")
    assert "nothing to import" in again.stderr

    space.apply(shop("copy", restoreFrom=from_backup(names[paths["second"]])))
    space.wait_ready("copy", timeout_s=150)
    assert checksums(space, "copy") == source.expected

    gone = coffer(space, "backup", "delete", names[paths["full"]], "--cascade", "--yes").stdout
    assert gone.count(" kept") == len(CHAIN), gone
    assert adopted(space) == {}
    assert bucket.keys() == kept


def test_storages_below_each_other_keep_apart(
    source: Source, space: Space, cluster: Cluster
) -> None:
    bucket, paths = source.scene.bucket, source.paths
    settle(
        space,
        cluster,
        source,
        with_prefix("top", bucket, ""),
        with_prefix("below", bucket, "some/prefix/below"),
    )
    assert listed(space, "top") == {}
    assert set(listed(space, "below")) == {paths["other"]}
    coffer(space, "backup", "import", "below")
    (only,) = adopted(space).values()
    assert only["status"]["phase"] == "Completed", only
    refused = coffer(space, "backup", "import", "top", paths["other"], code=NOT_FOUND).stderr
    assert f"there is no backup at {paths['other']}" in refused


def test_another_key_imports_nothing(source: Source, space: Space, cluster: Cluster) -> None:
    space.apply(*storage_secrets(cluster), storage("store", source.scene.bucket))
    wait_storage(space, "store")
    coffer(space, "backup", "import", "store", source.paths["full"], "--no-wait")
    (only,) = adopted(space).values()
    name = only["metadata"]["name"]

    def told() -> bool:
        return "has a key 'k1', but not the one" in status(space, name).get("message", "")

    wait_until("it says that the key is another one", told)
    assert status(space, name)["phase"] == "New"


def test_a_damaged_place_holds_back_no_other(
    source: Source, space: Space, cluster: Cluster
) -> None:
    """Copied into another folder, and the data of the increment got lost on the way."""
    bucket, paths = source.scene.bucket, source.paths
    full, first = paths["full"], paths["first"]
    for name in (f"{full}/data", f"{full}/manifest.json", f"{first}/manifest.json"):
        origin = f"{bucket.name}/some/prefix/{name}"
        bucket.client.copy_object(Bucket=bucket.name, Key=f"copy/{name}", CopySource=origin)
    settle(space, cluster, source, with_prefix("store", bucket, "copy"))
    told = coffer(space, "backup", "import", "store", code=FAILED).stderr
    (line,) = [one for one in told.splitlines() if one.startswith("error: ")]
    assert f"{first}/data is missing from the bucket" in line
    made = adopted(space)
    assert {path: one["status"]["phase"] for path, one in made.items()} == {
        full: "Completed",
        first: "Failed",
    }
    coffer(space, "backup", "delete", made[first]["metadata"]["name"], "--yes")
    assert bucket.keys(f"copy/{first}/") == [f"copy/{first}/manifest.json"]


def test_metrics_agree_with_the_newest_backup(source: Source) -> None:
    space = source.scene.space
    newest = status(space, "second")
    finished = from_text(newest["finishedAt"])
    assert finished is not None
    expected = {
        "last_success_timestamp_seconds": finished.timestamp(),
        "last_duration_seconds": float(newest["durationSeconds"]),
        "last_size_bytes": float(newest["sizeBytes"]),
    }
    wait_until("the metrics agree", lambda: backup_metrics(space, "db") == expected)
