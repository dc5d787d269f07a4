"""The examples obey the definitions and fit the catalogue that the chart brings."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from coffer_common.quantity import parse_bytes
from coffer_common.resources.crd import KINDS, definition
from coffer_common.resources.instance import InstanceSpec

ROOT = Path(__file__).parents[2]
SCHEMAS = {
    kind.name: definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for kind in KINDS
}
FLAVORS = yaml.safe_load((ROOT / "charts/coffer/values.yaml").read_text())["catalogue"]["flavors"]
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


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda p: p.name)
def test_an_example_is_valid(path: Path) -> None:
    for obj in yaml.safe_load_all(path.read_text()):
        assert obj["apiVersion"] == "coffer.dev/v1alpha1"
        jsonschema.validate(obj, closed(SCHEMAS[obj["kind"]]))
        if obj["kind"] != "DatabaseInstance":
            continue
        spec = InstanceSpec.model_validate(obj["spec"])
        assert spec.flavor in FLAVORS
        assert parse_bytes(spec.volume.size) >= parse_bytes(MIN_VOLUME[spec.datastore.type])
        known = {database.name for database in spec.databases}
        assert all(known.issuperset(user.databases) for user in spec.users)
