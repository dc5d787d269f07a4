"""The examples obey the definitions and fit the catalogue that the chart brings."""

from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from coffer_common.quantity import parse_bytes
from coffer_common.resources.crd import KINDS, definition
from coffer_common.resources.instance import InstanceSpec

ROOT = Path(__file__).parents[2]
KIND_OF = {kind.name: kind for kind in KINDS}
VALUES = yaml.load((ROOT / "charts/coffer/values.yaml").read_text(), yaml.CSafeLoader)
FLAVORS = VALUES["catalogue"]["flavors"]
MIN_VOLUME = {"mariadb": "1Gi", "redis": "256Mi"}


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema as the API server's strict validation reads it: no unknown field."""
    result = {
        key: closed(value) if key == "items" else value
        for key, value in schema.items()
        if key != "properties"
    }
    if "properties" in schema:
        result["properties"] = {
            name: child if name == "metadata" else closed(child)
            for name, child in schema["properties"].items()
        }
        result["additionalProperties"] = False
    return result


@cache
def validator(kind: str) -> jsonschema.Draft202012Validator:
    """The schema itself is checked once, not before each use."""
    version = definition(KIND_OF[kind])["spec"]["versions"][0]
    schema = closed(version["schema"]["openAPIV3Schema"])
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda p: p.name)
def test_an_example_is_valid(path: Path) -> None:
    for obj in yaml.load_all(path.read_text(), yaml.CSafeLoader):
        assert obj["apiVersion"] == "coffer.dev/v1alpha1"
        validator(obj["kind"]).validate(obj)
        if obj["kind"] != "DatabaseInstance":
            continue
        spec = InstanceSpec.model_validate(obj["spec"])
        assert spec.flavor in FLAVORS
        assert parse_bytes(spec.volume.size) >= parse_bytes(MIN_VOLUME[spec.datastore.type])
        known = {database.name for database in spec.databases}
        assert all(known.issuperset(user.databases) for user in spec.users)
