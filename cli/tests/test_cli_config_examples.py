"""The examples' configuration groups hold values that the rules allow, and names that fit."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from coffer_common.rules import load

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*-configuration.yaml"))


def _one(documents: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    return next(one for one in documents if one["kind"] == kind)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_an_example_is_accepted(path: Path) -> None:
    documents = list(yaml.safe_load_all(path.read_text()))
    group, instance = _one(documents, "ConfigurationGroup"), _one(documents, "DatabaseInstance")
    datastore = group["spec"]["datastore"]
    checked = load(datastore["type"], datastore["version"]).check(group["spec"]["values"])
    assert set(checked) == set(group["spec"]["values"])  # and in the rules' own spelling
    assert instance["spec"]["datastore"] == datastore
    assert instance["spec"]["configurationRef"] == {"name": group["metadata"]["name"]}


def test_there_is_an_example_for_each_engine() -> None:
    assert len(EXAMPLES) == 2
