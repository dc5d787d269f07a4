"""Backups, schedules, storages and restores that never work: one clear line at kubectl apply."""

from typing import Any

import pytest

from coffer_cluster.cluster import Cluster
from e2e_backup import (
    CREDENTIALS,
    KEY,
    Bucket,
    backup,
    from_backup,
    from_location,
    status,
    storage,
    storage_secrets,
    wait_completed,
    wait_ended,
    wait_storage,
)
from e2e_kube import Object, Refused, Space, wait_until
from e2e_manifests import API_VERSION, instance

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

PATH_OF_DONE = "<the path of the Backup done>"


@pytest.fixture(scope="module")
def scene(shared_space: Space, cluster: Cluster) -> Space:
    """Redis instances `cache`, `other`; Backups `done`, completed, and `failed`; two storages."""
    space, bucket = shared_space, Bucket(cluster).create()
    space.apply(*storage_secrets(cluster), storage("store", bucket), storage("second", bucket))
    space.apply(instance("cache", "redis"), instance("other", "redis"))
    space.apply(backup("done", "cache"), backup("failed", "cache", strategy="Abacus"))
    space.wait_ready("other")
    for name in ("store", "second"):
        wait_storage(space, name)
    wait_completed(space, "done")
    assert wait_ended(space, "failed")["phase"] == "Failed"
    wait_until("the agent told its strategies", lambda: "Abacus" in tried(space))
    return space


def tried(space: Space) -> str:
    """What the webhook says of a strategy that there is not; nothing before it knows."""
    try:
        space.kube.create(bad_backup(strategy="Abacus"), space.name, dry=True)
    except Refused as refused:
        return str(refused)
    return ""


def bad_backup(target: str = "cache", store: str = "store", **spec: Any) -> Object:
    return backup("bad", target, store, **spec)


def increment(parent: str, target: str = "cache", store: str = "store") -> Object:
    given = {"type": "incremental", "strategy": "RedisBackup", "parentRef": {"name": parent}}
    return bad_backup(target, store, **given)


def bad_schedule(name: str = "bad", **spec: Any) -> Object:
    base = {
        "instanceRef": {"name": "cache"},
        "storageRef": {"name": "store"},
        "full": {"cron": "0 2 29 2 *"},
    }
    return {
        "apiVersion": API_VERSION,
        "kind": "BackupSchedule",
        "metadata": {"name": name},
        "spec": {**base, **spec},
    }


def bad_storage(upload: Object | None = None, **s3: Any) -> Object:
    base = {
        "endpoint": "https://s3.example.org",
        "bucket": "backups",
        "credentialsSecretRef": {"name": CREDENTIALS},
    }
    return {
        "apiVersion": API_VERSION,
        "kind": "BackupStorage",
        "metadata": {"name": "bad"},
        "spec": {
            "s3": {**base, **s3},
            "encryption": {"keySecretRef": {"name": KEY}},
            "upload": upload or {},
        },
    }


def restored(engine: str = "redis", source: str = "done", **spec: Any) -> Object:
    return instance("bad", engine, restoreFrom=from_backup(source), **spec)


# what is wrong: the manifest, and the line
BAD: dict[str, tuple[Object, str]] = {
    "an increment of Redis": (
        bad_backup(type="incremental"),
        "redis-7.0 offers no incremental backups; make a Backup of type full",
    ),
    "its own parent": (increment("bad"), "spec.parentRef: a Backup cannot continue itself"),
    "a parent that failed": (
        increment("failed"),
        "spec.parentRef: the Backup failed has failed or is deleted",
    ),
    "a parent elsewhere": (
        increment("done", store="second"),
        "spec.parentRef: the Backup done is of another",
    ),
    "a parent of another": (
        increment("done", target="other"),
        "spec.parentRef: the Backup done is of another",
    ),
    "a parent of a full one": (
        bad_backup(parentRef={"name": "done"}),
        "spec.parentRef is for type incremental",
    ),
    "no such strategy": (
        bad_backup(strategy="RedisBackUp"),
        "spec.strategy: the instance cache has no backup strategy RedisBackUp; "
        "choose RedisBackup; did you mean RedisBackup?",
    ),
    "the strategy of another engine": (
        bad_backup(strategy="MariaBackup"),
        "spec.strategy: the instance cache has no backup strategy MariaBackup",
    ),
    "databases of files": (bad_backup(databases=["shop"]), "spec.databases needs spec.strategy"),
    "neither taken nor adopted": (
        {**bad_backup(), "spec": {"storageRef": {"name": "store"}}},
        "spec must have instanceRef (take a backup) or path (adopt one from the storage)",
    ),
    "taken and adopted": (
        bad_backup(path="a/base/b"),
        "spec must have instanceRef (take a backup) or path (adopt one from the storage)",
    ),
    "adopted twice": (
        {**bad_backup(), "spec": {"storageRef": {"name": "store"}, "path": PATH_OF_DONE}},
        "the Backup done has what is at",
    ),
    "cron": (bad_schedule(full={"cron": "61 * * * *"}), "spec.full.cron: "),
    "cron of proofs": (bad_schedule(verify={"cron": "daily"}), "spec.verify.cron: "),
    "time zone": (bad_schedule(timeZone="Mars/Olympus"), "spec.timeZone: "),
    "increments of Redis": (
        bad_schedule(incremental={"cron": "@daily"}),
        "redis-7.0 offers no incremental backups, only full ones are taken",
    ),
    "a schedule's long name": (
        bad_schedule("s" * 41),
        "metadata.name must have at most 40 characters",
    ),
    "retention": (bad_schedule(retention={"maxAge": "soon"}), "spec.retention.maxAge"),
    "small parts": (
        bad_storage({"partSize": "1Mi"}),
        "spec.upload.partSize: 1Mi is not between 5Mi and 64Mi",
    ),
    "large parts": (
        bad_storage({"partSize": "1Gi"}),
        "spec.upload.partSize: 1Gi is not between 5Mi and 64Mi",
    ),
    "no rate": (bad_storage({"rateLimit": "0"}), "spec.upload.rateLimit: at 0 bytes per second"),
    "an authority for nothing": (
        bad_storage(endpoint="http://s3.example.org", caSecretRef={"name": "s3-ca"}),
        "spec.s3.caSecretRef: nothing is encrypted on the way to http://s3.example.org",
    ),
    "credentials in the URL": (
        bad_storage(endpoint="https://me:secret@s3.example.org"),
        "endpoint is http:// or https:// and a host",
    ),
    "bucket": (bad_storage(bucket="Backups"), "bucket is 3 to 63 lower-case letters"),
    "a path in the URL": (
        bad_storage(endpoint="https://s3.example.org/backups"),
        "endpoint is http:// or https:// and a host",
    ),
    "no scheme in the URL": (
        bad_storage(endpoint="s3.example.org"),
        "endpoint is http:// or https:// and a host",
    ),
    "prefix": (bad_storage(prefix="a/../b"), "none of them is . or .."),
    "prefix of the root": (bad_storage(prefix="/a"), "with one / between them and none at its"),
    "another datastore": (
        restored("mariadb"),
        "spec.restoreFrom: the Backup done is of redis, and the instance is to be mariadb",
    ),
    "restored from a failure": (
        restored(source="failed"),
        "spec.restoreFrom.backupRef: the Backup failed has failed; choose another one",
    ),
    "restored from two": (
        instance(
            "bad",
            "redis",
            restoreFrom={
                **from_backup("done"),
                "location": {"storageRef": {"name": "store"}, "path": "a/base/b"},
            },
        ),
        "spec.restoreFrom must have backupRef or location",
    ),
    "restored from nothing": (
        instance("bad", "redis", restoreFrom={}),
        "spec.restoreFrom must have backupRef or location",
    ),
    "restored from outside": (
        instance("bad", "redis", restoreFrom=from_location("store", "../base/b")),
        "spec.restoreFrom.location.path",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_apply_says_what_is_wrong(scene: Space, module_strict_webhook: None, what: str) -> None:
    manifest, words = BAD[what]
    if manifest["spec"].get("path") == PATH_OF_DONE:
        manifest = {**manifest, "spec": {**manifest["spec"], "path": status(scene, "done")["path"]}}
    with pytest.raises(Refused) as refused:
        scene.kubectl_apply(manifest)
    lines = [one for one in str(refused.value).splitlines() if one.strip()]
    (line,) = [one for one in lines if words in one]
    # to what breaks the schema, not a rule, the API server adds that it looked no further
    assert len(lines) == 1 or (lines[0].endswith("is invalid: ") and "should match" in line), lines
    assert scene.get(manifest["kind"].lower(), manifest["metadata"]["name"]) is None


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"type": "incremental"}, "spec.type"),
        ({"storageRef": {"name": "second"}}, "spec.storageRef"),
        ({"instanceRef": {"name": "other"}}, "spec.instanceRef"),
    ],
)
def test_a_backup_cannot_become_another(scene: Space, change: Object, field: str) -> None:
    manifest = backup("done", "cache")
    with pytest.raises(Refused, match=field):
        scene.apply({**manifest, "spec": {**manifest["spec"], **change}})


def test_what_is_to_be_kept_can_change(scene: Space, module_strict_webhook: None) -> None:
    scene.apply(backup("done", "cache", keep=True, deletionPolicy="Retain"))
    scene.apply(backup("done", "cache"))
