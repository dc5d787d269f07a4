"""From a pydantic model to the structural OpenAPI v3 schema that a CRD wants. Pure.

Never a default: the API server would write it into the user's spec, where GitOps tools see drift;
the models default instead. Unknown fields are preserved nowhere, so that the API server refuses a
misspelt one; but a value that may be a number, a boolean or a string has no other schema.
"""

from typing import Any, Final

from pydantic import BaseModel

Schema = dict[str, Any]

_COPIED: Final[tuple[str, ...]] = (
    "description",
    "type",
    "format",
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "maxProperties",
)


def structural_schema(model: type[BaseModel]) -> Schema:
    """The schema of `model` as users write it (camelCase), with every reference inlined.

    Raises ValueError for what a structural schema cannot say, such as a union of two types.
    """
    document = model.model_json_schema(by_alias=True, mode="validation")
    return _convert(document, document.get("$defs", {}))


def _convert(node: Schema, definitions: dict[str, Schema]) -> Schema:
    node = _resolve(node, definitions)
    result: Schema = {key: node[key] for key in _COPIED if key in node}
    result.update((key, value) for key, value in node.items() if key.startswith("x-kubernetes-"))
    match node.get("type"):
        case "object":
            if "properties" in node:
                result["properties"] = {
                    name: _convert(child, definitions) for name, child in node["properties"].items()
                }
            if isinstance(node.get("additionalProperties"), dict):
                result["additionalProperties"] = _convert(node["additionalProperties"], definitions)
            if node.get("required"):
                result["required"] = sorted(node["required"])
        case "array":
            result["items"] = _convert(node["items"], definitions)
        case "integer":
            result.setdefault("format", "int64")
        case "string" | "boolean" | "number":
            pass
        case None if node.get("x-kubernetes-preserve-unknown-fields"):
            pass
        case other:
            raise ValueError(f"no structural schema for type {other!r} in {node!r}")
    return result


def _resolve(node: Schema, definitions: dict[str, Schema]) -> Schema:
    """Replaces references and `X | None` by X; what stands beside them wins (descriptions)."""
    beside = {k: v for k, v in node.items() if k not in ("$ref", "anyOf", "allOf")}
    if "$ref" in node:
        target = _resolve(definitions[node["$ref"].rsplit("/", 1)[-1]], definitions)
    elif "anyOf" in node or "allOf" in node:
        listed: list[Schema] = node.get("anyOf") or node["allOf"]
        choices = [choice for choice in listed if choice.get("type") != "null"]
        if len(choices) != 1:
            raise ValueError(f"no structural schema for a union: {node!r}")
        target = _resolve(choices[0], definitions)
    else:
        return node
    rules = "x-kubernetes-validations"
    merged = {**target, **beside}
    if rules in target and rules in beside:
        merged[rules] = [*target[rules], *beside[rules]]
    return merged
