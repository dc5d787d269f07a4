"""An instance from apply to rows, a deleted pod, a restart: the main path."""

import pytest

from e2e_kube import Space, condition, query, wait_until
from e2e_manifests import instance, operation
from e2e_processes import engine

pytestmark = pytest.mark.e2e


def test_apply_gives_a_database_that_keeps_its_data(space: Space) -> None:
    space.kubectl_apply(instance("db"))
    ready = space.wait_ready("db")
    assert ready["status"]["phase"] == "Active"
    assert ready["status"]["endpoints"]["host"] == f"db-rw.{space.name}.svc"
    with space.mysql("db", "app") as connection:
        query(connection, "CREATE TABLE t (id INT PRIMARY KEY, word VARCHAR(20))")
        query(connection, "INSERT INTO t VALUES (1, 'kept')")
    before = {name: space.service_ip(name) for name in ("db", "db-rw", "db-ro")}
    password = space.secret("db-app")["password"]
    uid = space.pod_uid("db")

    space.delete("pod", "db-0")
    wait_until("a new pod", lambda: space.pod_uid("db") not in (None, uid))

    def kept() -> bool:
        with space.mysql("db", "app") as connection:
            return query(connection, "SELECT word FROM t") == [("kept",)]

    wait_until("the row after the pod was deleted", kept)
    space.wait_ready("db")
    assert {name: space.service_ip(name) for name in before} == before
    assert space.secret("db-app")["password"] == password


def test_columns_tell_the_story(space: Space) -> None:
    space.apply(instance("db"))
    space.wait_ready("db")
    header, row = space.kubectl("get", "dbi").splitlines()
    assert header.split()[:3] == ["NAME", "PHASE", "READY"]
    assert row.split()[:3] == ["db", "Active", "True"]
    assert "db" in space.kubectl("get", "coffer")


def test_restart_operation_restarts_the_engine_once(space: Space) -> None:
    space.apply(instance("db"))
    space.wait_ready("db")
    pod = space.running_pod("db")
    old = engine(pod)
    space.apply(operation("again", "db", "Restart"))

    def completed() -> bool:
        found = space.get("operation", "again")
        return bool((found or {}).get("status", {}).get("phase") == "Completed")

    wait_until("the restart completed", completed)
    assert not old.alive()
    same_pod = space.get("pod", "db-0")
    assert same_pod is not None
    assert same_pod["metadata"]["uid"] == pod["metadata"]["uid"]
    space.wait_ready("db")
    assert condition(space.instance("db"), "Available")["status"] == "True"


def test_user_gets_the_database_of_the_spec_only(space: Space) -> None:
    space.apply(instance("db"))
    space.wait_ready("db")
    with space.mysql("db", "app") as connection:
        names = {row[0] for row in query(connection, "SHOW DATABASES")}
    assert names == {"information_schema", "shop"}
