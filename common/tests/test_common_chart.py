"""The chart's values are described and checked; what it says of itself fits the package."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from coffer_common.quantity import parse_bytes, parse_cores
from coffer_common.resources.catalogue import FlavorSpec

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "coffer"
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
ABOUT: dict[str, Any] = yaml.safe_load((CHART / "Chart.yaml").read_text())


def test_the_default_values_obey_their_schema() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.validate(VALUES, SCHEMA)


def described(schema: dict[str, Any], values: dict[str, Any], path: str = "") -> list[str]:
    """Values that the schema does not name, or that have no default."""
    if "$ref" in schema:
        schema = SCHEMA["definitions"][schema["$ref"].rsplit("/", 1)[-1]]
    named = schema.get("properties", {})
    if not named:
        return []
    wrong = [f"{path}.{name}" for name in values.keys() ^ (named.keys() - {"global"})]
    for name, child in named.items():
        if isinstance(values.get(name), dict):
            wrong += described(child, values[name], f"{path}.{name}")
    return wrong


def test_every_value_is_in_the_schema_and_has_a_default() -> None:
    assert not described(SCHEMA, VALUES)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("webhook.failurePolicy", "Maybe"),
        ("webhook.enable", True),
        ("operator.replicas", "1"),
        ("operator.logLevel", "loud"),
        ("images.operator.repository", ""),
        ("images.guest.mariadb.image", "x"),
        ("catalogue.flavors.tiny", {"vcpus": 1, "ram": "1Gi"}),
        ("catalogue.flavors.Big", {"vcpus": "1", "ram": "1Gi"}),
    ],
)
def test_a_wrong_value_is_refused(path: str, value: object) -> None:
    values = json.loads(json.dumps(VALUES))
    node = values
    *parents, last = path.split(".")
    for name in parents:
        node = node[name]
    node[last] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values, SCHEMA)


def test_every_value_that_a_template_uses_exists() -> None:
    text = "\n".join(path.read_text() for path in (CHART / "templates").iterdir())
    used = set(re.findall(r"\.Values\.([A-Za-z.]+)", text))
    for path in used:
        node: Any = VALUES
        for name in path.split("."):
            assert name in node, path
            node = node[name]


def test_the_default_flavors_are_the_designs() -> None:
    sizes = {
        name: (parse_cores(flavor["vcpus"]), parse_bytes(flavor["ram"]), flavor)
        for name, flavor in VALUES["catalogue"]["flavors"].items()
    }
    gib = 1024**3
    assert {name: size[:2] for name, size in sizes.items()} == {
        "tiny": (parse_cores("250m"), gib // 2),
        "small": (1, gib),
        "medium": (2, 4 * gib),
        "large": (4, 8 * gib),
    }
    for _, _, flavor in sizes.values():
        assert FlavorSpec.model_validate(flavor).cpu_request_percent == 10


def test_chart_and_package_have_one_version() -> None:
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert ABOUT["version"] == ABOUT["appVersion"] == package
