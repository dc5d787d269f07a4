"""Deletion keeps or removes the volume as asked, and never hangs."""

import pytest

from e2e_kube import Refused, Space, query, wait_until
from e2e_manifests import instance

pytestmark = pytest.mark.e2e


def test_retained_volume_is_adopted_by_the_next_instance(space: Space) -> None:
    space.apply(instance("db"))
    space.wait_ready("db")
    with space.mysql("db", "app") as connection:
        query(connection, "CREATE TABLE t (id INT PRIMARY KEY)")
        query(connection, "INSERT INTO t VALUES (7)")
    space.delete_wait("databaseinstance", "db")
    wait_until("the pod is gone", lambda: space.pod_uid("db") is None)
    volume = space.get("persistentvolumeclaim", "db-data")
    assert volume is not None
    assert "deletionTimestamp" not in volume["metadata"]

    space.apply(instance("db"))
    space.wait_ready("db")
    with space.mysql("db", "app") as connection:
        assert query(connection, "SELECT id FROM t") == [(7,)]


def test_delete_policy_removes_the_volume(space: Space) -> None:
    space.apply(instance("db", deletionPolicy="Delete"))
    space.wait_ready("db")
    space.delete_wait("databaseinstance", "db")
    wait_until("the volume is gone", lambda: space.get("persistentvolumeclaim", "db-data") is None)


def test_foreground_deletion_keeps_a_retained_volume(space: Space) -> None:
    space.apply(instance("db"))
    space.wait_ready("db")
    space.kubectl("delete", "dbi", "db", "--cascade=foreground")
    assert space.instance("db") is None
    assert space.get("persistentvolumeclaim", "db-data") is not None


def test_protected_instance_is_not_deleted(space: Space) -> None:
    space.apply(instance("db", deletionProtection=True))
    space.wait_ready("db")
    with pytest.raises(Refused, match="deletionProtection"):
        space.kubectl("delete", "dbi", "db")
    space.kube.delete("namespace", space.name)
    wait_until(
        "the namespace goes, protected instance and all",
        lambda: space.kube.get("namespace", space.name, space.name) is None,
        timeout_s=60,
    )
