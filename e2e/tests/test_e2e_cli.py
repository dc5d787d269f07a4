"""kubectl coffer as people use it: a plugin on PATH, against the real cluster."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from e2e_kube import Space, wait_until

pytestmark = pytest.mark.e2e
NOT_FOUND_CODE = 3


def coffer(
    space: Space, *args: str, stdin: str | None = None, code: int = 0
) -> "subprocess.CompletedProcess[str]":
    """`kubectl coffer args` in the test's namespace; fails on another exit code than `code`."""
    path = [str(space.kube.kubectl.parent), str(Path(sys.executable).parent), os.environ["PATH"]]
    done = subprocess.run(
        ["kubectl", "coffer", args[0], "-n", space.name, *args[1:]],
        env={**os.environ, "PATH": ":".join(path), "KUBECONFIG": str(space.kube.kubeconfig)},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def test_an_instance_from_create_to_delete(space: Space) -> None:
    coffer(
        space,
        *("create", "db", "--datastore", "mariadb", "--flavor", "tiny", "--volume", "1Gi"),
        *("--database", "shop", "--user", "app=shop", "--wait"),
    )
    header, row = coffer(space, "list").stdout.splitlines()
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
    missing = coffer(space, "show", "none", code=NOT_FOUND_CODE).stderr.strip()
    assert "\n" not in missing
    assert "none" in missing


def test_the_catalogue(space: Space) -> None:
    assert "mariadb" in coffer(space, "datastores").stdout
    assert "tiny" in coffer(space, "flavors").stdout
