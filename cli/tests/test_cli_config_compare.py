"""config defaults and diff: what an instance's engine has, and why."""

import json
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from cli_fake_api import FakeApi, status
from cli_objects import DATASTORES, INSTANCES, Run, datastore_version, instance
from coffer_cli.commands.config.compare import differences
from coffer_common.rules import load


@pytest.fixture(autouse=True)
def catalogue(api: FakeApi) -> None:
    api.put(f"{DATASTORES}/mariadb-10.11", datastore_version())


REPORT = {
    "layers": {
        "template": {"max_connections": 100, "tmp_table_size": 4194304, "wait_timeout": 28800},
        "defaults": {"wait_timeout": 600},
        "group": {"max_connections": 55, "innodb_log_buffer_size": 4194304},
    },
    "effective": {
        "max_connections": 55,
        "tmp_table_size": 4194304,
        "wait_timeout": 600,
        "innodb_log_buffer_size": 4194304,
    },
    "running": {
        "max_connections": "99",
        "tmp_table_size": "4194304",
        "wait_timeout": "600",
        "innodb_log_buffer_size": "8388608",
    },
    "pending_restart": ["innodb_log_buffer_size"],
}


class Kubectl:
    """Stands for kubectl exec: prints what it was given."""

    def __init__(self) -> None:
        self.printed = json.dumps(REPORT)
        self.error = ""
        self.commands: list[list[str]] = []

    def run(self, command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        code = 1 if self.error else 0
        return subprocess.CompletedProcess(command, code, self.printed, self.error)


@pytest.fixture
def kubectl(monkeypatch: pytest.MonkeyPatch, api: FakeApi) -> Kubectl:
    fake = Kubectl()
    monkeypatch.setattr(shutil, "which", lambda _: "/bin/kubectl")
    monkeypatch.setattr(subprocess, "run", fake.run)
    api.put(f"{INSTANCES}/orders", instance())
    return fake


def test_defaults_come_from_template_and_version(run: Run, kubectl: Kubectl) -> None:
    assert run("config", "defaults", "orders").stdout.splitlines() == [
        "PARAMETER         VALUE   FROM",
        "max_connections   100     template",
        "tmp_table_size    4M      template",
        "wait_timeout      600s    defaults",
    ]
    inside = ["-c", "guest", "--", "python3", "-m", "coffer_guest.show_configuration"]
    assert kubectl.commands == [
        ["/bin/kubectl", "--namespace", "shop", "exec", "orders-0", *inside]
    ]
    document = json.loads(run("config", "defaults", "orders", "-o", "json").stdout)
    layers = {layer: REPORT["layers"][layer] for layer in ("template", "defaults")}  # type: ignore[index]  # a JSON document
    assert document == {"instance": "orders", **layers}


def test_diff_shows_what_differs_and_why(run: Run, kubectl: Kubectl) -> None:
    lines = run("config", "diff", "orders").stdout.splitlines()
    assert lines == [
        "PARAMETER                WANTED   RUNNING   FROM    TAKES EFFECT",
        "innodb_log_buffer_size   4M       8M        group   at the next restart",
        "max_connections          55       99        group   to be put right",
    ]
    document = json.loads(run("config", "diff", "orders", "-o", "json").stdout)
    assert document["pendingRestart"] == ["innodb_log_buffer_size"]
    assert [one["name"] for one in document["differences"]] == [
        *("innodb_log_buffer_size", "max_connections"),
    ]
    assert len(kubectl.commands) == 2


def test_diff_of_what_is_rejected_shows_what_was_asked_for(run: Run, kubectl: Kubectl) -> None:
    kubectl.printed = json.dumps({**REPORT, "rejected": "it was killed"})
    done = run("config", "diff", "orders")
    assert done.stderr == "orders does not run with the values of its group: it was killed\n"
    assert [line.split()[:3] for line in done.stdout.splitlines()[1:]] == [
        ["innodb_log_buffer_size", "4M", "8M"],
        ["max_connections", "55", "99"],
    ]
    assert all(line.endswith("not: rejected") for line in done.stdout.splitlines()[1:])
    assert json.loads(run("config", "diff", "orders", "-o", "json").stdout)["rejected"]


def test_diff_where_all_is_as_wanted(run: Run, kubectl: Kubectl) -> None:
    same = {"running": REPORT["effective"], "pending_restart": []}
    kubectl.printed = json.dumps({**REPORT, **same})
    done = run("config", "diff", "orders")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "orders runs with the values that are wanted.\n"


def _not_running(kubectl: Kubectl) -> None:
    kubectl.printed = json.dumps({**REPORT, "running": None})


def _nonsense(kubectl: Kubectl) -> None:
    kubectl.printed = "Traceback"


def _no_object(kubectl: Kubectl) -> None:
    kubectl.printed = '{"layers": []}'


def _forbidden(kubectl: Kubectl) -> None:
    kubectl.error = 'Error from server (Forbidden): pods "orders-0" is forbidden\n'


@pytest.mark.parametrize(
    ("change", "code", "part"),
    [
        (_not_running, 1, "the engine of orders does not run"),
        (_nonsense, 1, "the pod of orders does not say its configuration"),
        (_no_object, 1, "the pod of orders does not say its configuration"),
        (_forbidden, 5, "cannot ask the pod of orders: Error from server (Forbidden)"),
    ],
)
def test_diff_that_cannot_be_made(
    run: Run, kubectl: Kubectl, change: Callable[[Kubectl], None], code: int, part: str
) -> None:
    change(kubectl)
    done = run("config", "diff", "orders")
    assert done.exit_code == code
    assert part in done.stderr
    assert done.stderr.count("\n") == 1


def test_diff_without_the_catalogue_shows_values_as_they_are(
    run: Run, api: FakeApi, kubectl: Kubectl
) -> None:
    api.refuse("GET", "/apis/coffer.dev/v1alpha1/datastoreversions", status(403, "Forbidden", "no"))
    assert "4194304   8388608" in run("config", "diff", "orders").stdout
    assert kubectl.commands


def test_diff_tells_letters_apart_where_they_matter() -> None:
    name = "notify-keyspace-events"
    report = {"layers": {"group": {name: "KE"}}, "effective": {name: "KE"}, "running": {name: "Ke"}}
    assert [one["name"] for one in differences(report, load("redis", "7.0"))] == [name]
    spelt = {"layers": {}, "effective": {"appendonly": "yes"}, "running": {"appendonly": "YES"}}
    assert differences(spelt, load("redis", "7.0")) == []


def test_diff_shows_what_runs_though_nobody_wants_it(run: Run, kubectl: Kubectl) -> None:
    more = {"running": {**REPORT["running"], "net_retry_count": "7"}}  # type: ignore[dict-item]  # a JSON document
    kubectl.printed = json.dumps({**REPORT, **more})
    document = json.loads(run("config", "diff", "orders", "-o", "json").stdout)
    (found,) = [one for one in document["differences"] if one["name"] == "net_retry_count"]
    assert (found["wanted"], found["running"]) == (None, "7")
