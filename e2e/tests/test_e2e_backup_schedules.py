"""Backups by the clock, what retention leaves, and backups that are proved by restoring them."""

import pytest

from coffer_cluster.cluster import Cluster
from e2e_backup import (
    Scene,
    backup,
    from_backup,
    set_scene,
    shop,
    status,
    wait_completed,
    wait_gone,
)
from e2e_kube import Object, Refused, Space, condition, wait_until
from e2e_manifests import API_VERSION
from e2e_processes import fresh_operator, kill_operator

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(300)]

EVERY_MINUTE = "* * * * *"
NEVER = "0 0 29 2 *"


@pytest.fixture(scope="module")
def scene(shared_space: Space, cluster: Cluster) -> Scene:
    return set_scene(shared_space, cluster)


def schedule(name: str, full: str, **spec: object) -> Object:
    return {
        "apiVersion": API_VERSION,
        "kind": "BackupSchedule",
        "metadata": {"name": name},
        "spec": {
            "instanceRef": {"name": "db"},
            "storageRef": {"name": "store"},
            "full": {"cron": full},
            **spec,
        },
    }


def adopted(name: str, path: str) -> Object:
    return {
        "apiVersion": API_VERSION,
        "kind": "Backup",
        "metadata": {"name": name},
        "spec": {"path": path, "storageRef": {"name": "store"}},
    }


def verification(name: str, target: str) -> Object:
    return {
        "apiVersion": API_VERSION,
        "kind": "Operation",
        "metadata": {"name": name},
        "spec": {"type": "VerifyBackup", "backupRef": {"name": target}},
    }


def wait_operation(space: Space, name: str, timeout_s: float = 150) -> Object:
    """The status of an Operation that has ended."""

    def ended() -> Object | None:
        found: Object = (space.get("operation", name) or {}).get("status", {})
        return found if found.get("phase") in ("Completed", "Failed", "Expired") else None

    return wait_until(f"operation {name} ended", ended, timeout_s)


def made_by(space: Space, name: str) -> list[Object]:
    """The Backups of a schedule that are not on their way out, the oldest first."""
    found = space.kube.items("backup", space.name, f"coffer.dev/backup-schedule={name}")
    left = [one for one in found if "deletionTimestamp" not in one["metadata"]]
    return sorted(left, key=lambda one: str(one["metadata"]["creationTimestamp"]))


def test_a_backup_is_proved_and_the_scratch_instance_gone(scene: Scene) -> None:
    space = scene.space
    fresh_operator(space.kube)
    space.apply(backup("sound", "db"))
    wait_completed(space, "sound")
    space.apply(verification("prove", "sound"))
    wait_until("the scratch instance", lambda: space.instance("verify-sound"))
    kill_operator(space.kube)
    done = wait_operation(space, "prove")
    assert done["phase"] == "Completed", done
    verified = status(space, "sound")["verified"]
    assert (verified["result"], verified["durationSeconds"] > 0) == ("Passed", True)
    assert "2 tables" in verified["message"], verified
    wait_gone(space, "databaseinstance", ["verify-sound"])
    wait_gone(space, "persistentvolumeclaim", ["verify-sound-data"])
    healthy = condition(space.instance("db"), "BackupHealthy")
    assert healthy["status"] == "True", healthy
    path = status(space, "sound")["path"]
    assert f"some/prefix/{path}/verified.json" in scene.bucket.keys(f"some/prefix/{path}/"), done
    space.patch("backup", "sound", {"spec": {"deletionPolicy": "Retain"}})
    space.delete("backup", "sound")
    wait_gone(space, "backup", ["sound"])
    space.apply(adopted("sound-again", path))
    again = wait_completed(space, "sound-again")["verified"]
    same = ("time", "result", "durationSeconds", "recoverySeconds", "engineVersion")
    assert [again.get(field) for field in same] == [verified.get(field) for field in same]


def test_a_damaged_backup_does_not_pass(scene: Scene) -> None:
    space = scene.space
    space.apply(backup("damaged", "db"))
    path = wait_completed(space, "damaged")["path"]
    scene.bucket.flip_a_bit(f"some/prefix/{path}/data")
    space.apply(verification("expose", "damaged"))
    done = wait_operation(space, "expose")
    assert done["phase"] == "Failed", done
    assert status(space, "damaged")["verified"]["result"] == "Failed"
    wait_gone(space, "databaseinstance", ["verify-damaged"])
    wait_gone(space, "persistentvolumeclaim", ["verify-damaged-data"])
    space.apply(backup("after-damage", "db", type="incremental"))
    after = wait_completed(space, "after-damage")
    assert after["type"] == "full", "an increment could not be restored either"
    assert "the test restore of damaged failed" in after["message"]


def test_a_dump_is_proved_by_loading_it(scene: Scene) -> None:
    space = scene.space
    fresh_operator(space.kube)
    space.apply(backup("dump", "db", strategy="MySQLDump"))
    wait_completed(space, "dump")
    space.apply(verification("prove-dump", "dump"))
    wait_until("the scratch instance", lambda: space.instance("verify-dump"))
    kill_operator(space.kube)
    done = wait_operation(space, "prove-dump")
    assert done["phase"] == "Completed", done
    verified = status(space, "dump")["verified"]
    assert verified["result"] == "Passed"
    assert "2 tables in 2 databases" in verified["message"], verified
    wait_gone(space, "databaseinstance", ["verify-dump"])
    wait_gone(space, "persistentvolumeclaim", ["verify-dump-data"])
    path = status(space, "dump")["path"]
    assert f"some/prefix/{path}/verified.json" in scene.bucket.keys(f"some/prefix/{path}/"), done


def test_a_dump_is_no_data_directory(scene: Scene, strict_webhook: None) -> None:
    space = scene.space
    space.apply(backup("statements", "db", strategy="MySQLDump"))
    wait_completed(space, "statements")
    with pytest.raises(Refused, match="backup load statements INSTANCE"):
        space.apply(shop("again", restoreFrom=from_backup("statements")))


def test_an_operation_deleted_in_the_middle_leaves_nothing(scene: Scene) -> None:
    space = scene.space
    space.apply(backup("given-up", "db"))
    wait_completed(space, "given-up")
    space.apply(verification("stop", "given-up"))
    wait_until("the scratch instance", lambda: space.instance("verify-given-up"))
    space.delete_wait("operation", "stop")
    wait_gone(space, "databaseinstance", ["verify-given-up"])
    wait_gone(space, "persistentvolumeclaim", ["verify-given-up-data"])
    assert "verified" not in status(space, "given-up")


def test_a_schedule_takes_backups_and_removes_what_nothing_keeps(scene: Scene) -> None:
    space = scene.space
    space.apply(schedule("often", EVERY_MINUTE, retention={"count": 1}))

    def two() -> bool:
        return "BackupRetired" in space.events("often")

    wait_until("the first full made way for the second", two, 200)
    space.patch("backupschedule", "often", {"spec": {"suspend": True}})
    (left,) = wait_until(
        "one is left",
        lambda: found if len(found := made_by(space, "often")) == 1 else None,
    )
    wait_completed(space, left["metadata"]["name"])
    said = (space.get("backupschedule", "often") or {})["status"]
    assert said["lastFull"]["name"] == left["metadata"]["name"]
    space.delete_wait("backupschedule", "often")
    assert [one["metadata"]["name"] for one in made_by(space, "often")] == [
        left["metadata"]["name"]
    ]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"full": {"cron": "61 * * * *"}}, "61"),
        ({"timeZone": "Mars/Olympus"}, "Mars/Olympus"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(
    scene: Scene, strict_webhook: None, wrong: Object, words: str
) -> None:
    manifest = schedule("wrong", NEVER)
    with pytest.raises(Refused, match=words):
        scene.space.apply({**manifest, "spec": {**manifest["spec"], **wrong}})


def test_a_parent_is_not_deleted_before_its_children(scene: Scene, strict_webhook: None) -> None:
    space = scene.space
    space.apply(backup("parent", "db"))
    wait_completed(space, "parent")
    space.apply(backup("child", "db", type="incremental", parentRef={"name": "parent"}))
    assert wait_completed(space, "child")["type"] == "incremental"
    wait_until("the parent knows", lambda: status(space, "parent").get("children"))
    with pytest.raises(Refused, match="child"):
        space.delete("backup", "parent")
    space.delete_wait("backup", "child")
    wait_until("the parent is free", lambda: not status(space, "parent").get("children"))
    space.delete_wait("backup", "parent")
    wait_gone(space, "backup", ["parent"])
