"""Nothing a database held is ever replaced by an empty one."""

import json

import pytest

from e2e_kube import Space, query, wait_until
from e2e_manifests import instance

pytestmark = pytest.mark.e2e


def filled(space: Space) -> None:
    space.apply(instance("db"))
    space.wait_ready("db")
    with space.mysql("db", "app") as connection:
        query(connection, "CREATE TABLE t (id INT PRIMARY KEY)")
        query(connection, "INSERT INTO t VALUES (1)")


def phase(space: Space) -> str:
    return str((space.instance("db") or {}).get("status", {}).get("phase"))


def test_lost_volume_is_an_error_not_a_new_database(space: Space) -> None:
    filled(space)
    space.delete("persistentvolumeclaim", "db-data")
    space.delete_wait("pod", "db-0")
    wait_until("the volume is gone", lambda: space.get("persistentvolumeclaim", "db-data") is None)
    message = space.wait_stalled("db", "VolumeLost")
    assert "db-data" in message
    assert phase(space) == "Error"
    assert space.get("persistentvolumeclaim", "db-data") is None


def test_empty_volume_in_its_place_is_an_error(space: Space) -> None:
    filled(space)
    old = space.get("persistentvolumeclaim", "db-data")
    assert old is not None
    space.delete("persistentvolumeclaim", "db-data")
    space.delete("pod", "db-0")
    wait_until("the volume is gone", lambda: space.get("persistentvolumeclaim", "db-data") is None)
    space.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "db-data", "labels": old["metadata"]["labels"]},
            "spec": {
                "accessModes": old["spec"]["accessModes"],
                "resources": {"requests": {"storage": "1Gi"}},
            },
        }
    )
    wait_until("Error", lambda: phase(space) == "Error", timeout_s=90)
    assert (space.instance("db") or {})["status"]["conditions"]


def test_instance_restored_without_status_has_the_same_data(space: Space) -> None:
    filled(space)
    obj = space.instance("db")
    assert obj is not None
    old_status = obj["status"]
    bare = {k: obj[k] for k in ("apiVersion", "kind", "spec")}
    bare["metadata"] = {"name": "db", "namespace": space.name}
    space.kubectl("replace", "--force", "-f", "-", stdin=json.dumps(bare))
    new = space.wait_ready("db")
    assert new["metadata"]["uid"] != obj["metadata"]["uid"]
    for field in ("role", "group", "datastore", "dataId"):
        assert new["status"].get(field) == old_status.get(field), field
    with space.mysql("db", "app") as connection:
        assert query(connection, "SELECT id FROM t") == [(1,)]


def test_forced_deletion_leaves_one_engine_and_the_data(space: Space) -> None:
    filled(space)
    for _ in range(2):
        uid = space.pod_uid("db")
        space.kubectl("delete", "pod", "db-0", "--force", "--grace-period=0")
        space.wait_new_pod("db", uid)
    space.wait_ready("db")

    def row() -> bool:
        with space.mysql("db", "app") as connection:
            return query(connection, "SELECT id FROM t") == [(1,)]

    wait_until("the row", row)
