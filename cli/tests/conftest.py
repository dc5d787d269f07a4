"""Fixtures of the command line's tests: a fake API server, and the program run against it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from cli_fake_api import FakeApi
from cli_objects import Run
from coffer_cli import waiting
from coffer_cli.main import cli

NAMESPACE = "shop"


@pytest.hookimpl(tryfirst=True)  # before -m selects by marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that speak HTTP to the fake API server are no unit tests."""
    here = Path(__file__).parent
    for item in items:
        if not isinstance(item, pytest.Function) or not item.path.is_relative_to(here):
            continue
        if "api" in item.fixturenames:
            item.add_marker(pytest.mark.simulation)


@pytest.fixture
def api() -> Iterator[FakeApi]:
    server = FakeApi()
    yield server
    server.close()


@pytest.fixture
def kubeconfig(api: FakeApi, tmp_path: Path) -> Path:
    document: dict[str, Any] = {
        "current-context": "test",
        "contexts": [
            {"name": "test", "context": {"cluster": "c", "user": "u", "namespace": NAMESPACE}}
        ],
        "clusters": [{"name": "c", "cluster": {"server": api.url}}],
        "users": [{"name": "u", "user": {"token": "let-me-in"}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.fixture
def run(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `kubectl coffer` with these arguments; standard error is apart."""
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    monkeypatch.setattr(waiting, "_BETWEEN_WATCHES_S", 0.01)

    def invoke(*arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(cli, arguments, input=stdin, prog_name="kubectl coffer")

    return invoke
