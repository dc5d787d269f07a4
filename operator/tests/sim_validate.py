"""What the API server refuses: names, required and immutable fields, the CRDs' schemas.

Pure. Only what Coffer or a user of the simulation could get wrong; a rule stands here because a
real server has it.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from coffer_common.quantity import parse_bytes
from coffer_operator.kube.api import InvalidError, Object
from sim_shapes import crd_schema

_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_SERVICE_NAME: Final = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_LABEL_VALUE: Final = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_LABEL_KEY: Final = re.compile(r"([a-z0-9.-]+/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_MUTABLE_OF_STATEFUL_SET: Final = frozenset(
    {
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    }
)


def require(condition: object, message: str) -> None:
    """InvalidError with `message` unless the condition holds."""
    if not condition:
        raise InvalidError(message)


def validate(kind: str, obj: Object, old: Object | None) -> None:
    """Refuse (InvalidError) what the server would; `old` is what is stored, if anything."""
    _metadata(kind, obj["metadata"])
    check = _CHECKS.get(kind)
    if check is not None:
        check(obj, old)
    schema = crd_schema(kind)
    if schema is not None:
        for part in ("spec", "status"):
            if part in obj and (old is None or obj[part] != old.get(part)):
                _schema(obj[part], schema["properties"][part], part)
        require("spec" in obj, "spec: Required value")


def _metadata(kind: str, metadata: Mapping[str, Any]) -> None:
    name = metadata["name"]
    if kind == "Service":
        require(len(name) <= 63 and _SERVICE_NAME.fullmatch(name), f"metadata.name: {name!r}")
    elif kind not in ("Role", "RoleBinding"):
        require(len(name) <= 253 and _SUBDOMAIN.fullmatch(name), f"metadata.name: {name!r}")
    for field in ("labels", "annotations"):
        for key, value in (metadata.get(field) or {}).items():
            require(_LABEL_KEY.fullmatch(key), f"metadata.{field}: {key!r} is no qualified name")
            require(isinstance(value, str), f"metadata.{field}[{key}]: {value!r} is no string")
    _label_values(metadata.get("labels") or {}, "metadata.labels")
    controllers = 0
    for owner in metadata.get("ownerReferences", []):
        for field in ("apiVersion", "kind", "name", "uid"):
            require(owner.get(field), f"metadata.ownerReferences.{field}: must not be empty")
        controllers += bool(owner.get("controller"))
    require(controllers <= 1, "metadata.ownerReferences: only one may be the controller")


def _label_values(labels: Mapping[str, str], where: str) -> None:
    for key, value in labels.items():
        require(len(value) <= 63 and _LABEL_VALUE.fullmatch(value), f"{where}[{key}]: {value!r}")


def _stateful_set(obj: Object, old: Object | None) -> None:
    spec = obj["spec"]
    selector = (spec.get("selector") or {}).get("matchLabels") or {}
    require(selector, "spec.selector: Required value")
    template = spec["template"]
    labels = (template.get("metadata") or {}).get("labels") or {}
    _label_values(labels, "spec.template.metadata.labels")
    require(
        selector.items() <= labels.items(), "spec.template.metadata.labels: must match `selector`"
    )
    _pod_spec(template["spec"])
    if old is not None:
        for name in set(spec) | set(old["spec"]):
            require(
                name in _MUTABLE_OF_STATEFUL_SET or spec.get(name) == old["spec"].get(name),
                f"spec.{name}: updates to statefulset spec for fields other than "
                f"{sorted(_MUTABLE_OF_STATEFUL_SET)} are forbidden",
            )


def _pod_spec(spec: Object) -> None:
    containers = spec.get("containers") or []
    require(containers, "spec.containers: Required value")
    volumes = {volume["name"] for volume in spec.get("volumes", [])}
    names: set[str] = set()
    for container in [*spec.get("initContainers", []), *containers]:
        where = f"spec.containers[{container.get('name')}]"
        require(container.get("name") not in names, f"{where}.name: Duplicate value")
        names.add(container["name"])
        require(container.get("image"), f"{where}.image: Required value")
        for mount in container.get("volumeMounts", []):
            require(mount["name"] in volumes, f"{where}.volumeMounts: {mount['name']}: Not found")
        for port in container.get("ports", []):
            require(0 < port["containerPort"] < 65536, f"{where}.ports: must be 1-65535")
        _resources(container.get("resources") or {}, where)


def _resources(resources: Mapping[str, Any], where: str) -> None:
    limits = resources.get("limits") or {}
    memory = (resources.get("requests") or {}).get("memory")
    if memory is not None and "memory" in limits:
        require(
            parse_bytes(memory) <= parse_bytes(limits["memory"]),
            f"{where}.resources.requests: must be at most the limit",
        )


def _service(obj: Object, old: Object | None) -> None:
    spec = obj["spec"]
    ports = spec.get("ports") or []
    require(ports or spec.get("clusterIP") == "None", "spec.ports: Required value")
    names = [port.get("name") for port in ports]
    require(len(ports) < 2 or all(names), "spec.ports.name: Required value")
    require(len(set(names)) == len(names), "spec.ports.name: Duplicate value")
    if old is not None:
        require(
            spec.get("clusterIP") == old["spec"].get("clusterIP"),
            "spec.clusterIP: field is immutable",
        )


def _claim(obj: Object, old: Object | None) -> None:
    spec = obj["spec"]
    require(spec.get("accessModes"), "spec.accessModes: Required value")
    size = spec["resources"].get("requests", {}).get("storage")
    require(size, "spec.resources[storage]: Required value")
    if old is not None:
        before, after = (
            {k: v for k, v in o["spec"].items() if k != "resources"} for o in (old, obj)
        )
        for filled_in_later in ("volumeName", "storageClassName"):
            if before.get(filled_in_later) is None:
                after.pop(filled_in_later, None)
        require(before == after, "spec: Forbidden: spec is immutable after creation")


def _slice(obj: Object, old: Object | None) -> None:
    require(obj.get("addressType") in ("IPv4", "IPv6", "FQDN"), "addressType: Required value")
    require(old is None or old["addressType"] == obj["addressType"], "addressType: immutable")
    for endpoint in obj.get("endpoints") or []:
        require(endpoint.get("addresses"), "endpoints.addresses: must contain at least 1 address")


def _secret(obj: Object, old: Object | None) -> None:
    require(old is None or old["type"] == obj["type"], "type: field is immutable")
    for key, value in (obj.get("data") or {}).items():
        try:
            base64.b64decode(value, validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise InvalidError(f"data[{key}]: illegal base64 data") from error


def _config_map(obj: Object, old: Object | None) -> None:
    del old
    for key, value in (obj.get("data") or {}).items():
        require(isinstance(value, str), f"data[{key}]: {type(value)} is no string")


def _role_binding(obj: Object, old: Object | None) -> None:
    require(old is None or old["roleRef"] == obj["roleRef"], "roleRef: cannot change roleRef")


def _event(obj: Object, old: Object | None) -> None:
    del old
    about = obj.get("involvedObject", {}).get("namespace", "")
    require(
        about == obj["metadata"]["namespace"]
        or (not about and obj["metadata"]["namespace"] == "default"),
        "involvedObject.namespace: does not match event.namespace",
    )


_CHECKS: Final[Mapping[str, Callable[[Object, Object | None], None]]] = {
    "StatefulSet": _stateful_set,
    "Service": _service,
    "PersistentVolumeClaim": _claim,
    "EndpointSlice": _slice,
    "Secret": _secret,
    "ConfigMap": _config_map,
    "RoleBinding": _role_binding,
    "Event": _event,
}


# --- schemas of our own kinds --------------------------------------------------------------------


def structural(kind: str, obj: Object) -> Object:
    """The object of one of our kinds without unknown fields and with the schema's defaults."""
    schema = crd_schema(kind)
    if schema is None:
        return obj
    properties = schema["properties"]
    return {
        name: _known(value, properties[name]) if name in ("spec", "status") else value
        for name, value in obj.items()
        if name in properties
    }


def _known(value: Any, schema: Mapping[str, Any]) -> Any:
    if isinstance(value, dict) and "properties" in schema:
        properties = schema["properties"]
        kept = {
            name: _known(inner, properties[name])
            for name, inner in value.items()
            if name in properties and (inner is not None or properties[name].get("nullable"))
        }
        for name, inner in properties.items():
            if "default" in inner and name not in kept:
                kept[name] = inner["default"]
        return kept
    if isinstance(value, list) and "items" in schema:
        return [_known(item, schema["items"]) for item in value]
    return value


_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


def _schema(value: Any, schema: Mapping[str, Any], where: str) -> None:
    expected = _TYPES.get(schema.get("type", ""))
    if expected is not None:
        fits = isinstance(value, expected) and isinstance(value, bool) == (expected == (bool,))
        require(fits, f"{where}: Invalid value: {value!r} must be of type {schema['type']}")
    if "enum" in schema:
        require(value in schema["enum"], f"{where}: Unsupported value: {value!r}")
    if isinstance(value, str):
        _string(value, schema, where)
    elif isinstance(value, dict):
        _mapping(value, schema, where)
    elif isinstance(value, list):
        require(len(value) <= schema.get("maxItems", len(value)), f"{where}: Too many")
        for place, item in enumerate(value):
            _schema(item, schema.get("items", {}), f"{where}[{place}]")
        _unique_keys(value, schema.get("x-kubernetes-list-map-keys", ()), where)
    else:
        require(value >= schema.get("minimum", value), f"{where}: Invalid value: {value!r}")
        require(value <= schema.get("maximum", value), f"{where}: Invalid value: {value!r}")


def _string(value: str, schema: Mapping[str, Any], where: str) -> None:
    require(len(value) <= schema.get("maxLength", len(value)), f"{where}: Too long")
    require(len(value) >= schema.get("minLength", 0), f"{where}: Too short: {value!r}")
    if "pattern" in schema:
        require(re.search(schema["pattern"], value), f"{where}: Invalid value: {value!r}")
    if schema.get("format") == "date-time":
        try:
            datetime.fromisoformat(value)
        except ValueError as error:
            raise InvalidError(f"{where}: Invalid value: {value!r}: no date-time") from error


def _mapping(value: Mapping[str, Any], schema: Mapping[str, Any], where: str) -> None:
    for name in schema.get("required", ()):
        require(name in value, f"{where}.{name}: Required value")
    properties = schema.get("properties", {})
    more = schema.get("additionalProperties")
    for name, inner in value.items():
        if name in properties:
            _schema(inner, properties[name], f"{where}.{name}")
        elif isinstance(more, dict):
            _schema(inner, more, f"{where}.{name}")


def _unique_keys(items: Iterable[Mapping[str, Any]], keys: Iterable[str], where: str) -> None:
    if keys:
        found = [tuple(item.get(key) for key in keys) for item in items]
        require(len(set(found)) == len(found), f"{where}: Duplicate value")
