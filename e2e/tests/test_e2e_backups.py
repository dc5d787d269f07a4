"""Backups from end to end: taken, restored, deleted; and what a storage says that fails."""

import json
import threading

import pytest

from coffer_cluster.cluster import Cluster
from e2e_backup import (
    CREDENTIALS,
    Bucket,
    Scene,
    backup,
    checksums,
    from_backup,
    from_location,
    secret,
    set_scene,
    shop,
    status,
    storage,
    storage_secrets,
    wait_completed,
    wait_gone,
    wait_refused,
    wait_storage,
)
from e2e_kube import Space, condition, query, wait_until
from e2e_manifests import instance, operation
from e2e_redis import redis

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(300)]

PREFIX = "some/prefix"


@pytest.fixture(scope="module")
def scene(shared_space: Space, cluster: Cluster) -> Scene:
    return set_scene(shared_space, cluster)


@pytest.fixture(scope="module")
def full(scene: Scene) -> str:
    scene.space.apply(backup("full", "db"))
    wait_completed(scene.space, "full")
    return "full"


def test_a_storage_is_proved_and_left_clean(cluster: Cluster, space: Space) -> None:
    bucket = Bucket(cluster).create()
    space.apply(*storage_secrets(cluster), storage("store", bucket))
    ready = wait_storage(space, "store")
    assert ready["status"]["keyId"] == "k1"
    assert bucket.keys() == []
    wait_until("the worker is removed", lambda: not space.kube.items("pod", space.name))
    hush = cluster.s3.secret_key
    said = [*space.kube.items("event", space.name), ready]
    assert hush not in json.dumps(said)


def test_a_bucket_is_swept_and_what_is_young_stays(cluster: Cluster, space: Space) -> None:
    bucket = Bucket(cluster).create()
    young = f"{PREFIX}/some-instance/base/some-backup/data"
    bucket.begin_upload(young)
    space.apply(*storage_secrets(cluster), storage("store", bucket))
    wait_storage(space, "store")
    long_ago = "2026-01-01T00:00:00Z"
    patch = json.dumps({"status": {"probedAt": long_ago}})
    space.kubectl("patch", "dbs", "store", "--subresource=status", "--type=merge", "-p", patch)

    def swept() -> str:
        return str((space.get("backupstorage", "store") or {})["status"].get("sweptAt", ""))

    assert wait_until("it is swept", swept) > long_ago
    wait_storage(space, "store")
    assert "SweepFailed" not in space.events("store")
    assert bucket.uploads() == [young]
    wait_until("the worker is removed", lambda: not space.kube.items("pod", space.name))


def test_wrong_credentials_are_told_and_mended(cluster: Cluster, space: Space) -> None:
    bucket = Bucket(cluster).create()
    wrong = secret(CREDENTIALS, accessKeyId="nobody", secretAccessKey="not-this-one")
    others = [one for one in storage_secrets(cluster) if one["metadata"]["name"] != CREDENTIALS]
    space.apply(*others, wrong, storage("store", bucket))
    message = wait_refused(space, "store", "ProbeFailed")
    assert "credentials" in message or "InvalidAccessKeyId" in message, message
    space.apply(*storage_secrets(cluster))
    # it is looked at every few minutes, and at every change of the storage
    space.kubectl("annotate", "dbs", "store", "example.org/mended=yes")
    wait_storage(space, "store")


def test_a_missing_bucket_is_told_and_mended(cluster: Cluster, space: Space) -> None:
    bucket = Bucket(cluster)
    space.apply(*storage_secrets(cluster), storage("store", bucket))
    message = wait_refused(space, "store", "ProbeFailed")
    assert bucket.name in message, message
    bucket.create()
    wait_storage(space, "store", timeout_s=150)


def test_a_chain_is_restored_equal(scene: Scene, full: str) -> None:
    space = scene.space
    first = status(space, full)
    assert first["type"] == "full"
    assert first["position"]["gtid"]
    with space.mysql("db", "app") as connection:
        query(connection, "INSERT INTO shop.items (pad) VALUES ('after the full one')")
        query(connection, "DELETE FROM `odd-name`.notes WHERE id % 3 = 0")
        query(connection, "CREATE TABLE shop.later (id INT PRIMARY KEY)")
    space.apply(backup("increment", "db", type="incremental", parentRef={"name": full}))
    second = wait_completed(space, "increment")
    assert (second["type"], second["depth"]) == ("incremental", 1), second["message"]
    assert second["parent"] == first["path"]
    assert second["position"]["fromLsn"] == first["position"]["toLsn"]
    assert int(second["position"]["gtid"].split("-")[-1]) > int(
        first["position"]["gtid"].split("-")[-1]
    )
    expected = checksums(space, "db")
    assert "shop.later" in expected
    space.apply(shop("copy", restoreFrom=from_backup("increment")))
    restored = space.wait_ready("copy", timeout_s=120)
    assert restored["status"]["restore"]["phase"] == "Completed"
    assert checksums(space, "copy") == expected
    space.delete("databaseinstance", "copy")


def test_a_backup_is_restored_from_its_place_alone(
    scene: Scene, full: str, space: Space, cluster: Cluster
) -> None:
    """As in another cluster: nothing is there but the bucket and the key."""
    path = status(scene.space, full)["path"]
    key = scene.space.secret("backup-key")
    space.apply(*storage_secrets(cluster), secret("backup-key", **key))
    space.apply(
        storage("store", scene.bucket), shop("db", restoreFrom=from_location("store", path))
    )
    space.wait_ready("db", timeout_s=120)
    assert checksums(space, "db").keys() >= {"shop.items", "odd-name.notes"}


def wait_operation(space: Space, name: str) -> str:
    """The phase of an Operation that has ended, and what it says."""

    def ended() -> str:
        found = (space.get("operation", name) or {}).get("status", {})
        done = found.get("phase") in ("Completed", "Failed", "Expired")
        return f"{found['phase']}: {found['message']}" if done else ""

    return wait_until(f"operation {name} ended", ended)


def test_a_dump_is_loaded_into_the_instance_that_serves(scene: Scene, full: str) -> None:
    space = scene.space
    space.apply(backup("dump", "db", strategy="MySQLDump", databases=["odd-name"]))
    found = wait_completed(space, "dump")
    assert found["strategy"] == "MySQLDump"
    before = checksums(space, "db")
    with space.mysql("db", "app") as connection:
        query(connection, "DELETE FROM `odd-name`.notes WHERE id > 7")
    assert checksums(space, "db") != before
    load = {"backupRef": {"name": "dump"}}
    space.apply(operation("load", "db", "RestoreDatabases", **load))
    assert wait_operation(space, "load").startswith("Completed"), "the dump is loaded"
    assert checksums(space, "db") == before
    # files of a data directory are nothing for an engine that runs
    space.apply(operation("files", "db", "RestoreDatabases", backupRef={"name": full}))
    said = wait_operation(space, "files")
    assert said.startswith("Failed"), said
    assert "new instance" in said


def test_redis_is_restored_when_its_instance_is_gone(cluster: Cluster, space: Space) -> None:
    bucket = Bucket(cluster).create()
    space.apply(*storage_secrets(cluster), storage("store", bucket))
    space.apply(instance("cache", "redis", deletionPolicy="Delete"))
    space.wait_ready("cache")
    wait_until("the node routes the Service", lambda: redis(space, "SET", "k", "kept") == "OK")
    space.apply(backup("b", "cache"))
    taken = wait_completed(space, "b")
    assert taken["datastore"] == "redis"
    space.delete("databaseinstance", "cache")
    wait_gone(space, "databaseinstance", ["cache"])
    wait_gone(space, "pod", ["cache-0"])
    space.apply(instance("cache", "redis", restoreFrom=from_backup("b")))
    space.wait_ready("cache", timeout_s=120)
    wait_until("the value is back", lambda: redis(space, "GET", "k") == "kept")
    space.delete("backup", "b")
    wait_gone(space, "backup", ["b"])
    assert bucket.keys() == []
    assert bucket.uploads() == []


def test_a_parent_waits_for_its_increment(scene: Scene) -> None:
    space, bucket = scene.space, scene.bucket
    space.apply(backup("parent", "db"))
    parent = wait_completed(space, "parent")
    space.apply(backup("child", "db", type="incremental", parentRef={"name": "parent"}))
    child = wait_completed(space, "child")
    assert child["parent"] == parent["path"]
    wait_until("the child is told", lambda: status(space, "parent").get("children") == ["child"])
    for found in (parent, child):
        assert len(bucket.keys(f"{PREFIX}/{found['path']}/")) == 2
    space.delete("backup", "child")
    wait_gone(space, "backup", ["child"])
    wait_until("the parent is free", lambda: not status(space, "parent").get("children"))
    space.delete("backup", "parent")
    wait_gone(space, "backup", ["parent"])
    for found in (parent, child):
        assert bucket.keys(f"{PREFIX}/{found['path']}/") == []


def test_a_backup_under_load_is_one_moment(scene: Scene) -> None:
    space = scene.space
    stop = threading.Event()
    with space.mysql("db", "app") as connection:
        for name in ("debit", "credit"):
            query(connection, f"CREATE TABLE shop.{name} (id INT PRIMARY KEY AUTO_INCREMENT)")

    def transfer() -> None:
        with space.mysql("db", "app") as connection:
            while not stop.is_set():
                connection.begin()
                query(connection, "INSERT INTO shop.debit () VALUES ()")
                query(connection, "INSERT INTO shop.credit () VALUES ()")
                connection.commit()

    def count(name: str, table: str) -> int:
        with space.mysql(name, "app") as connection:
            return int(str(query(connection, f"SELECT COUNT(*) FROM shop.{table}")[0][0]))

    writer = threading.Thread(target=transfer)
    writer.start()
    try:
        wait_until("it writes", lambda: count("db", "debit") > 20)
        space.apply(backup("busy", "db"))
        wait_completed(space, "busy")
    finally:
        stop.set()
        writer.join()
    space.apply(shop("moment", restoreFrom=from_backup("busy")))
    space.wait_ready("moment", timeout_s=120)
    debit, credit = count("moment", "debit"), count("moment", "credit")
    assert 20 < debit == credit < count("db", "debit")
    assert condition(space.instance("moment"), "Ready")["status"] == "True"
    space.delete("databaseinstance", "moment")
