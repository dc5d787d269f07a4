"""kubectl coffer as people use it: a plugin on PATH, against the real cluster."""

import json

import pytest

from e2e_coffer import NOT_FOUND, coffer
from e2e_kube import Space, wait_until

pytestmark = pytest.mark.e2e


def test_an_instance_from_create_to_delete(space: Space) -> None:
    coffer(
        space,
        *("create", "db", "--datastore", "mariadb", "--flavor", "tiny", "--volume", "1Gi"),
        *("--database", "shop", "--user", "app=shop", "--wait"),
    )
    plugin = ("kubectl", "coffer")
    header, row = coffer(space, "list", program=plugin).stdout.splitlines()
    assert header.startswith("NAME")
    assert row.split()[0] == "db"
    shown = json.loads(coffer(space, "show", "db", "-o", "json").stdout)
    assert shown["status"]["phase"] == "Active"

    sql = "SELECT CONCAT('a', 'b'), CURRENT_USER()\n"
    answer = coffer(space, "connect", "db", "--user", "app", "--", "-N", stdin=sql).stdout
    assert answer.split() == ["ab", "app@%"]

    coffer(space, "restart", "db", "--wait")
    coffer(space, "delete", "db", "--yes", "--wait")
    wait_until("the pod is gone", lambda: space.pod_uid("db") is None)


def test_errors_are_one_line_with_their_code(space: Space) -> None:
    missing = coffer(space, "show", "none", code=NOT_FOUND).stderr.strip()
    assert "\n" not in missing
    assert "none" in missing


def test_the_catalogue(space: Space) -> None:
    assert "mariadb" in coffer(space, "datastores").stdout
    assert "tiny" in coffer(space, "flavors").stdout


def test_configuration_from_create_to_delete(space: Space) -> None:
    coffer(
        space,
        *("config", "create", "shop", "--datastore", "mariadb"),
        *("max_connections=77", "wait_timeout=15m"),
    )
    coffer(
        space,
        *("create", "db", "--datastore", "mariadb", "--flavor", "tiny", "--volume", "1Gi"),
        *("--database", "shop", "--user", "app=shop", "--configuration", "shop", "--wait"),
    )
    coffer(space, "config", "set", "shop", "max_connections=78", "innodb_log_buffer_size=4M")
    instances = coffer(space, "config", "instances", "shop").stdout
    assert "PendingRestart" in instances
    assert "innodb_log_buffer_size" in instances
    rows = {line.split()[0]: line for line in diff(space).splitlines() if line.strip()}
    assert "innodb_log_buffer_size" in rows
    assert "max_connections" not in rows
    given = json.loads(coffer(space, "config", "defaults", "db", "-o", "json").stdout)
    assert given
    wrong = coffer(space, "config", "set", "shop", "max_conections=1", code=2).stderr.strip()
    assert "max_connections" in wrong
    assert "\n" not in wrong
    assert "max_connections" in coffer(space, "config", "history", "shop").stdout
    coffer(space, "config", "rollback", "shop", "1")
    wait_until("nothing differs", lambda: "innodb_log_buffer_size" not in diff(space))
    assert "attached" in coffer(space, "config", "delete", "shop", "--yes", code=5).stderr
    coffer(space, "config", "detach", "db")
    coffer(space, "config", "delete", "shop", "--yes")


def diff(space: Space) -> str:
    return coffer(space, "config", "diff", "db").stdout
