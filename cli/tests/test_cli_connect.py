"""connect: whose credentials, how they travel, what is run."""

import base64
import json
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from cli_fake_api import FakeApi, status
from cli_objects import DATASTORES, INSTANCES, SECRETS, Run, instance, ready_status

PASSWORD = "s3cret'\"\\ \t%"


class Kubectl:
    """Stands for kubectl: remembers what it was asked, answers `put` with a word."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.stdin: list[str] = []
        self.put_error = ""
        self.exit_code = 7

    def run(self, command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        self.stdin.append(options["input"])
        code = 1 if self.put_error else 0
        return subprocess.CompletedProcess(command, code, "0123456789abcdef\n", self.put_error)

    def popen(self, command: list[str]) -> "Kubectl":
        self.commands.append(command)
        return self

    def wait(self) -> int:
        return self.exit_code


@pytest.fixture
def kubectl(monkeypatch: pytest.MonkeyPatch) -> Kubectl:
    fake = Kubectl()
    monkeypatch.setattr(shutil, "which", lambda _: "/bin/kubectl")
    monkeypatch.setattr(subprocess, "run", fake.run)
    monkeypatch.setattr(subprocess, "Popen", fake.popen)
    return fake


def _secret(user: str) -> dict[str, Any]:
    fields = {"username": user, "password": PASSWORD, "port": "3306", "database": "shop"}
    data = {key: base64.b64encode(text.encode()).decode() for key, text in fields.items()}
    return {"metadata": {"name": f"orders-{user}"}, "data": data}


@pytest.fixture
def orders(api: FakeApi) -> None:
    bindings = [
        {"user": user, "host": host, "name": f"orders-{user}"}
        for user, host in (("app", "%"), ("reader", "10.%"))
    ]
    made = instance() | {"status": ready_status() | {"bindingSecrets": bindings}}
    api.put(f"{INSTANCES}/orders", made)
    for user in ("app", "reader"):
        api.put(f"{SECRETS}/orders-{user}", _secret(user))
    version = {"metadata": {"name": "mariadb-10.11"}, "spec": {"manager": "mariadb"}}
    api.put(f"{DATASTORES}/mariadb-10.11", version)


@pytest.mark.usefixtures("orders")
def test_credentials_travel_over_standard_input_only(run: Run, kubectl: Kubectl) -> None:
    done = run("connect", "orders", "--", "-e", "SELECT 1")
    assert done.exit_code == 7  # the client's own
    put, become = kubectl.commands
    helper = ["-c", "database", "--", "python3", "-m", "coffer_guest.connect"]
    start = ["/bin/kubectl", "--namespace", "shop", "exec", "orders-0", "-i"]
    assert put == [*start, *helper, "put"]
    assert become == [*start, "-q", *helper, "run", "0123456789abcdef", "-e", "SELECT 1"]
    assert json.loads(kubectl.stdin[0]) == {
        "manager": "mariadb",
        "username": "app",
        "password": PASSWORD,
        "port": 3306,
        "database": "shop",
    }
    assert PASSWORD not in str(kubectl.commands) + done.output


@pytest.mark.usefixtures("orders")
@pytest.mark.parametrize(
    ("user", "expected"), [("reader", "reader"), ("reader@10.%", "reader"), ("app@%", "app")]
)
def test_users_by_name_and_host(run: Run, kubectl: Kubectl, user: str, expected: str) -> None:
    run("connect", "orders", "--user", user, "--database", "blog", "--context", "test")
    sent = json.loads(kubectl.stdin[0])
    assert (sent["username"], sent["database"]) == (expected, "blog")
    assert kubectl.commands[0][3:5] == ["--context", "test"]


@pytest.mark.usefixtures("orders", "kubectl")
def test_a_user_that_is_not_there(run: Run) -> None:
    done = run("connect", "orders", "--user", "eve")
    assert done.exit_code == 3
    assert done.stderr == "error: orders has no user eve (it has: app@%, reader@10.%)\n"


@pytest.mark.usefixtures("orders")
def test_without_the_catalogue_the_datastore_names_the_client(
    run: Run, api: FakeApi, kubectl: Kubectl
) -> None:
    api.refuse("GET", f"{DATASTORES}/mariadb-10.11", status(403, "Forbidden", "no"))
    run("connect", "orders")
    assert json.loads(kubectl.stdin[0])["manager"] == "mariadb"


def _no_users(api: FakeApi) -> None:
    bare = instance(users=[]) | {"status": ready_status() | {"bindingSecrets": []}}
    api.put(f"{INSTANCES}/orders", bare)


def _no_secrets_yet(api: FakeApi) -> None:
    api.put(f"{INSTANCES}/orders", instance() | {"status": {}})


def _secret_forbidden(api: FakeApi) -> None:
    api.refuse("GET", f"{SECRETS}/orders-app", status(403, "Forbidden", "no secrets for you"))


def _secret_of_something_else(api: FakeApi) -> None:
    api.put(f"{SECRETS}/orders-app", {"metadata": {"name": "orders-app"}, "data": {"a": "%"}})


@pytest.mark.usefixtures("orders")
@pytest.mark.parametrize(
    ("change", "code", "part"),
    [
        (_no_users, 2, "orders has no users: name one in spec.users"),
        (_no_secrets_yet, 1, "orders has no credentials yet (Pending: waiting for the operator"),
        (_secret_forbidden, 5, "no secrets for you"),
        (_secret_of_something_else, 1, "secret/orders-app does not hold the credentials"),
    ],
)
def test_what_is_missing_is_named(
    run: Run,
    api: FakeApi,
    kubectl: Kubectl,
    change: Callable[[FakeApi], None],
    code: int,
    part: str,
) -> None:
    change(api)
    done = run("connect", "orders")
    assert done.exit_code == code
    assert part in done.stderr
    assert kubectl.commands == []


@pytest.mark.usefixtures("orders")
@pytest.mark.parametrize(
    ("said", "code"),
    [
        ('Error from server (Forbidden): pods "orders-0" is forbidden\n', 5),
        ("error: unable to upgrade connection: container not found\n", 1),
    ],
)
def test_an_exec_that_is_refused(run: Run, kubectl: Kubectl, said: str, code: int) -> None:
    kubectl.put_error = said
    done = run("connect", "orders")
    assert done.exit_code == code
    assert done.stderr.startswith("error: cannot run a client in the pod: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.usefixtures("orders")
def test_without_kubectl(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    done = run("connect", "orders")
    assert (done.exit_code, done.stderr) == (2, "error: connect needs kubectl on PATH\n")
