"""Every refusal is one clear line and its own exit code."""

from pathlib import Path
from typing import Any

import pytest

from cli_fake_api import FakeApi, status
from cli_objects import INSTANCES, Run, instance
from coffer_cli.errors import Exit, from_answer

CREATE = ("create", "orders", "--datastore", "mariadb", "--flavor", "huge", "--volume", "10Gi")
WEBHOOK = 'admission webhook "instances.coffer.dev" denied the request: '
POLICY = (
    'databaseinstances.coffer.dev "orders" is forbidden: ValidatingAdmissionPolicy '
    "'coffer-deletion' with binding 'coffer-deletion' denied request: "
)


def causes(*pairs: tuple[str, str]) -> dict[str, Any]:
    listed = [{"reason": "Invalid", "field": field, "message": text} for field, text in pairs]
    return {"details": {"causes": listed}}


@pytest.mark.parametrize(
    ("answer", "code", "line"),
    [
        (
            status(422, "Invalid", f"{WEBHOOK}spec.flavor: there is no flavor huge"),
            Exit.USAGE,
            "spec.flavor: there is no flavor huge",
        ),
        (
            status(403, "Forbidden", f"{WEBHOOK}a quota says no"),
            Exit.REFUSED,
            "a quota says no",
        ),
        (
            status(422, "Invalid", f"{POLICY}spec.deletionProtection is set"),
            Exit.REFUSED,
            "spec.deletionProtection is set",
        ),
        (
            status(403, "Forbidden", 'User "eve" cannot create resource "databaseinstances"'),
            Exit.REFUSED,
            'User "eve" cannot create resource "databaseinstances"',
        ),
        (status(401, "Unauthorized", "Unauthorized"), Exit.REFUSED, "Unauthorized"),
        (
            status(
                422,
                "Invalid",
                "long",
                **causes(
                    ("spec.volume.size", 'Invalid value: "x": should match'),
                    ("<nil>", 'Invalid value: "object": metadata.name must be a DNS label'),
                    ("<nil>", 'Invalid value: "object": metadata.name must be a DNS label'),
                ),
            ),
            Exit.USAGE,
            'spec.volume.size: Invalid value: "x": should match; metadata.name must be a DNS label',
        ),
        (status(400, "BadRequest", 'strict decoding:\n unknown field "x"'), Exit.USAGE, None),
        (status(409, "AlreadyExists", "already exists"), Exit.FAILED, "already exists"),
        (status(500, "InternalError", "oops"), Exit.FAILED, "oops"),
        ((502, "<html>bad gateway</html>"), Exit.FAILED, "the API server answered 502: "),
        (
            (404, "404 page not found"),
            Exit.NOT_FOUND,
            "Coffer is not installed",
        ),
    ],
)
def test_a_refusal_is_one_line(
    run: Run, api: FakeApi, answer: tuple[int, Any], code: Exit, line: str | None
) -> None:
    api.refuse("POST", INSTANCES, answer)
    done = run(*CREATE)
    assert done.exit_code == code
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    if line is not None:
        assert line in done.stderr
    assert "webhook" not in done.stderr
    assert "ValidatingAdmissionPolicy" not in done.stderr


def test_a_name_that_exists(run: Run, api: FakeApi) -> None:
    api.put(f"{INSTANCES}/orders", instance())
    done = run(*CREATE)
    assert done.exit_code == 1
    assert done.stderr == 'error: databaseinstances.coffer.dev "orders" already exists\n'


def test_a_protected_instance_stays(run: Run, api: FakeApi) -> None:
    api.put(f"{INSTANCES}/orders", instance(deletionProtection=True))
    refusal = status(422, "Invalid", f"{POLICY}orders is protected from deletion")
    api.refuse("DELETE", f"{INSTANCES}/orders", refusal)
    done = run("delete", "orders", "--yes")
    assert (done.exit_code, done.stderr) == (5, "error: orders is protected from deletion\n")


def test_a_server_that_is_busy_is_asked_again(run: Run, api: FakeApi) -> None:
    busy = status(429, "TooManyRequests", "later")
    api.refuse("POST", INSTANCES, busy, busy)
    assert run(*CREATE, "--no-wait").exit_code == 0
    assert len(api.asked("POST")) == 3


def test_a_server_that_stays_busy(run: Run, api: FakeApi) -> None:
    api.refuse("GET", INSTANCES, *[status(429, "TooManyRequests", "later")] * 9)
    done = run("list")
    assert (done.exit_code, done.stderr) == (1, "error: later\n")
    assert len(api.asked("GET")) == 4


def test_no_server(run: Run, api: FakeApi) -> None:
    api.close()
    done = run("list")
    assert done.exit_code == 1
    assert done.stderr == f"error: cannot reach the API server {api.url}: Connection refused\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("create", "orders"),
        ("create", "Orders", *CREATE[2:]),
        (*CREATE, "--user", "@"),
        (*CREATE, "--timeout", "0"),
        ("list", "-o", "xml"),
        ("show", "../secrets"),
        ("show", ""),
        ("list", "-n", "a/b"),
        ("list", "--context", "nowhere"),
        ("nonsense",),
    ],
)
def test_wrong_usage_is_told_before_anything_is_asked(
    run: Run, api: FakeApi, arguments: tuple[str, ...]
) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert done.stderr
    assert api.requests == []


def test_no_cluster_at_all(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    done = run("list")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: no cluster is chosen")


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff\xfe", b'{"kind": "List"}', b"null"])
def test_any_answer_is_a_line(body: bytes) -> None:
    error = from_answer(500, body, path="/version")
    assert "500" in error.message
    assert "\n" not in error.message
