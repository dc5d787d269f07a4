"""The definitions are as Kubernetes wants them, described in full, and the checked-in ones."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import jsonschema
import pytest
import yaml
from pydantic import BaseModel, Field

from coffer_common import naming
from coffer_common.resources.crd import KINDS, MAX_CRD_BYTES, Kind, definition
from coffer_common.resources.generate import generated_files
from coffer_common.resources.instance import DatabaseInstance, InstanceSpec
from coffer_common.resources.schema import structural_schema

ROOT = Path(__file__).parents[2]


files = cache(generated_files)


@cache
def crds() -> dict[str, dict[str, Any]]:
    return {kind.name: definition(kind) for kind in KINDS}


def schema_of(kind: Kind) -> dict[str, Any]:
    result: dict[str, Any] = crds()[kind.name]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return result


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from nodes(schema[key], f"{path}[]")


KIND = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def test_what_is_checked_in_is_what_the_models_give() -> None:
    stale = [
        name
        for name, text in files().items()
        if not (ROOT / name).is_file() or (ROOT / name).read_text(encoding="utf-8") != text
    ]
    assert not stale, f"run `make generate`: {stale} differ"


def test_no_definition_is_left_over() -> None:
    wanted = {Path(name).name for name in files() if name.endswith(".yaml")}
    for folder in ("crds", "charts/coffer/crds"):
        assert {path.name for path in (ROOT / folder).iterdir()} == wanted


def test_a_field_that_cannot_change_can_neither_come_nor_go() -> None:
    """The API server asks a field's own rule about a change only where it was there and stays."""
    escaping = [
        f"{kind.name}{path}.{name}"
        for kind in KINDS
        for path, node in nodes(schema_of(kind))
        for name, child in node.get("properties", {}).items()
        if any("oldSelf" in one["rule"] for one in child.get("x-kubernetes-validations", ()))
        and name not in node.get("required", ())
    ]
    # the version in use is kept in the status; it may be named later
    assert [one for one in escaping if not one.endswith(".datastore.version")] == []


@KIND
def test_every_field_is_described(kind: Kind) -> None:
    bare = [
        path
        for path, node in nodes(schema_of(kind))
        if path != ".metadata" and not path.endswith("[]") and not node.get("description")
    ]
    assert not bare


@KIND
def test_the_schema_is_structural(kind: Kind) -> None:
    for path, node in nodes(schema_of(kind)):
        if node == {"x-kubernetes-preserve-unknown-fields": True}:
            assert path.endswith("alues[]"), path  # of parameters: any scalar
            continue
        assert node.get("type") in ("object", "array", "string", "integer", "boolean", "number"), (
            path
        )
        forbidden = {"$ref", "$defs", "anyOf", "allOf", "oneOf", "default", "title", "nullable"}
        assert not forbidden & node.keys(), path
        assert "x-kubernetes-preserve-unknown-fields" not in node, path
        if node["type"] == "object" and path != ".metadata":
            assert ("properties" in node) != ("additionalProperties" in node), path


@KIND
def test_lists_of_a_spec_have_a_limit(kind: Kind) -> None:
    """CEL estimates its cost from the limits; without them a rule is refused."""
    for path, node in nodes(schema_of(kind)["properties"]["spec"]):
        if node.get("type") == "array":
            assert "maxItems" in node, path


@KIND
def test_size_and_names(kind: Kind) -> None:
    crd = crds()[kind.name]
    assert len(files()[f"crds/{naming.GROUP}_{kind.plural}.yaml"]) < MAX_CRD_BYTES
    assert len(json.dumps(crd)) < MAX_CRD_BYTES
    names = crd["spec"]["names"]
    assert names["categories"] == ["coffer"]
    assert names["shortNames"]
    version = crd["spec"]["versions"][0]
    assert version["subresources"] == {"status": {}}
    assert version["additionalPrinterColumns"][-1]["name"] == "Age"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.namespaced])
def test_conditions_are_a_map_by_type(kind: Kind) -> None:
    status = schema_of(kind)["properties"]["status"]["properties"]
    assert status["conditions"]["x-kubernetes-list-type"] == "map"
    assert status["conditions"]["x-kubernetes-list-map-keys"] == ["type"]
    assert "observedGeneration" in status


@KIND
def test_printer_columns_lead_to_fields(kind: Kind) -> None:
    schema = schema_of(kind)
    for column in kind.columns:
        path = column.path.split("[")[0]
        node: dict[str, Any] = schema
        for part in path.strip(".").split("."):
            if part == "metadata":
                break
            node = node["properties"][part]


@KIND
def test_a_rule_is_as_kubernetes_wants_it(kind: Kind) -> None:
    rules = [
        rule
        for _, node in nodes(schema_of(kind))
        for rule in node.get("x-kubernetes-validations", ())
    ]
    for rule in rules:
        assert {"rule", "message"} <= rule.keys() <= {"rule", "message", "messageExpression"}
        assert rule["rule"]
        assert "\n" not in rule["message"]


def test_the_dumped_definition_reads_back_the_same() -> None:
    for kind in KINDS:
        text = files()[f"crds/{naming.GROUP}_{kind.plural}.yaml"]
        assert yaml.load(text, yaml.CSafeLoader) == crds()[kind.name]


def minimal() -> dict[str, Any]:
    return {
        "datastore": {"type": "mariadb"},
        "flavor": "tiny",
        "volume": {"size": "1Gi"},
    }


@cache
def spec_validator() -> jsonschema.Draft202012Validator:
    """The schema itself is checked once, not before each use."""
    schema = structural_schema(InstanceSpec)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_model_and_schema_agree_on_what_is_valid() -> None:
    valid = minimal() | {
        "databases": [{"name": "app", "characterSet": "utf8mb4"}],
        "users": [{"name": "app", "host": "10.%", "databases": ["app"]}],
        "deletionPolicy": "Delete",
        "scheduling": {"nodeSelector": {"a": "b"}, "tolerations": [{"operator": "Exists"}]},
    }
    spec_validator().validate(valid)
    spec = InstanceSpec.model_validate(valid)
    assert spec.model_dump(by_alias=True, mode="json", exclude_unset=True) == valid


@pytest.mark.parametrize(
    "change",
    [
        {"volume": {"size": "big"}},
        {"volume": {"size": "-1Gi"}},
        {"flavor": ""},
        {"datastore": {}},
        {"deletionPolicy": "retain"},
        {"users": [{"name": "u" * 81}]},
        {"databases": [{"name": ""}]},
        {"databases": [{"name": f"d{i}"} for i in range(65)]},
    ],
)
def test_model_and_schema_agree_on_what_is_invalid(change: dict[str, Any]) -> None:
    spec = minimal() | change
    with pytest.raises(jsonschema.ValidationError):
        spec_validator().validate(spec)
    with pytest.raises(ValueError, match="validation error"):
        InstanceSpec.model_validate(spec)


def test_defaults_are_the_models_not_the_schemas() -> None:
    instance = DatabaseInstance.model_validate({"metadata": {"name": "a"}, "spec": minimal()})
    assert instance.spec.deletion_policy.value == "Retain"
    assert instance.status.conditions == ()


def test_a_union_has_no_structural_schema() -> None:
    class Loose(BaseModel):
        either: Annotated[int | str, Field(description="x")]

    with pytest.raises(ValueError, match="union"):
        structural_schema(Loose)
