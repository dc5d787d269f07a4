"""What the API server knows of each kind: how lists merge, defaults, canonical forms.

Pure. Only the kinds and fields that Coffer or the simulated controllers send; list types are
those of the Kubernetes API (x-kubernetes-list-type in its OpenAPI), our own from the CRDs.
"""

import functools
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import yaml

from coffer_common.quantity import parse_bytes
from coffer_operator.kube.api import Object
from sim_fields import Shape

ATOMIC: Final = Shape("atomic")
SET: Final = Shape("set")


def by(*keys: str, defaults: Mapping[str, Any] | None = None, **fields: Shape) -> Shape:
    """An associative list."""
    return Shape("map", keys, defaults or {}, fields)


def of(**fields: Shape) -> Shape:
    """A map with places that need a word."""
    return Shape(fields=fields)


_TCP: Final = {"protocol": "TCP"}
_METADATA: Final = of(
    ownerReferences=Shape("map", ("uid",), atomic_items=True),
    finalizers=SET,
    managedFields=ATOMIC,
)
_ENV: Final = by("name", valueFrom=of(fieldRef=ATOMIC, secretKeyRef=ATOMIC, configMapKeyRef=ATOMIC))
_CONTAINERS: Final = by(
    "name",
    ports=by("containerPort", "protocol", defaults=_TCP),
    env=_ENV,
    volumeMounts=by("mountPath"),
    volumeDevices=by("devicePath"),
)
POD_SPEC: Final = of(
    containers=_CONTAINERS,
    initContainers=_CONTAINERS,
    volumes=by("name"),
    imagePullSecrets=by("name"),
    hostAliases=by("ip"),
    topologySpreadConstraints=by("topologyKey", "whenUnsatisfiable"),
    nodeSelector=ATOMIC,
)
_SHAPES: Final[Mapping[str, Mapping[str, Shape]]] = {
    "Pod": {"spec": POD_SPEC, "status": of(conditions=by("type"))},
    "StatefulSet": {
        "spec": of(selector=ATOMIC, template=of(metadata=_METADATA, spec=POD_SPEC)),
        "status": of(conditions=by("type")),
    },
    "Service": {
        "spec": of(ports=by("port", "protocol", defaults=_TCP), selector=ATOMIC),
        "status": of(conditions=by("type")),
    },
    "NetworkPolicy": {"spec": of(podSelector=ATOMIC)},
    "RoleBinding": {"roleRef": ATOMIC},
    "PersistentVolumeClaim": {
        "spec": of(selector=ATOMIC),
        "status": of(conditions=by("type")),
    },
    "ServiceAccount": {"secrets": by("name")},
    "Node": {"spec": of(podCIDRs=SET), "status": of(conditions=by("type"))},
}


@functools.cache
def shape_of(kind: str) -> Shape:
    """How objects of a kind merge."""
    fields = dict(_SHAPES.get(kind) or {})
    schema = crd_schema(kind)
    if schema is not None:
        fields |= _shape_of_schema(schema).fields
    return Shape(fields={**fields, "metadata": _METADATA})


def _shape_of_schema(schema: Mapping[str, Any]) -> Shape:
    """The shape that a CRD's schema states."""
    if schema.get("type") == "array":
        items = _shape_of_schema(schema.get("items", {}))
        relation = schema.get("x-kubernetes-list-type", "atomic")
        keys = tuple(schema.get("x-kubernetes-list-map-keys", ()))
        return Shape(relation, keys, {}, items.fields)
    if schema.get("x-kubernetes-map-type") == "atomic":
        return ATOMIC
    properties = schema.get("properties", {})
    return Shape(fields={name: _shape_of_schema(inner) for name, inner in properties.items()})


@functools.cache
def _crds() -> Mapping[str, Mapping[str, Any]]:
    folder = Path(__file__).parents[2] / "crds"
    found = {}
    for path in sorted(folder.glob("coffer.dev_*.yaml")):
        crd = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        found[crd["spec"]["names"]["kind"]] = crd
    return found


@functools.cache
def crd_schema(kind: str) -> Mapping[str, Any] | None:
    """The schema of one of our kinds, from the checked-in CRD; None for Kubernetes' own."""
    crd = _crds().get(kind)
    if crd is None:
        return None
    schema: Mapping[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


# --- canonical forms: what the real server makes of what it is sent ------------------------------

_DROPPED_IF_FALSE: Final = frozenset(
    {"publishNotReadyAddresses", "hostNetwork", "hostPID", "hostIPC", "readOnly", "stdin", "tty"}
)
_DROPPED_IF_EMPTY: Final = frozenset(
    {"labels", "annotations", "nodeSelector", "matchLabels", "limits", "requests", "data"}
)


def canonical(kind: str, obj: Object) -> Object:
    """The object as the server would give it back: defaults, quantities, no empty fields."""
    if crd_schema(kind) is not None:
        return obj
    tidy: Object = _tidy(obj)
    fill = _DEFAULTS.get(kind)
    if fill is not None:
        fill(tidy)
    return tidy


def _tidy(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: _tidy(inner)
            for name, inner in value.items()
            if not (
                inner is None
                or (inner is False and name in _DROPPED_IF_FALSE)
                or (inner == {} and name in _DROPPED_IF_EMPTY)
                or (inner == [] and name not in ("endpoints", "ports"))
                or (inner == "" and name == "value")
            )
        }
    if isinstance(value, list):
        return [_tidy(inner) for inner in value]
    return value


def _quantities(resources: dict[str, Any]) -> None:
    for side in ("limits", "requests"):
        for name, value in (resources.get(side) or {}).items():
            resources[side][name] = canonical_quantity(str(value))


def canonical_quantity(text: str) -> str:
    """A quantity as Kubernetes writes it: `0.25` becomes `250m`, `1024Mi` becomes `1Gi`."""
    if text.endswith("m"):
        milli = Decimal(text[:-1])
        return text if milli % 1000 else str(int(milli / 1000))
    if text[-1:].isdigit():
        number = Decimal(text)
        if number % 1:
            return f"{int(number * 1000)}m"
        return str(int(number))
    if not text.endswith("i"):
        return text
    size = parse_bytes(text)
    for exponent, suffix in ((50, "Pi"), (40, "Ti"), (30, "Gi"), (20, "Mi"), (10, "Ki")):
        if size and size % (1 << exponent) == 0:
            return f"{size >> exponent}{suffix}"
    return str(size)


def _fill_pod_spec(spec: Object) -> None:
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("securityContext", {})
    if "serviceAccountName" in spec:
        spec.setdefault("serviceAccount", spec["serviceAccountName"])
    for volume in spec.get("volumes", []):
        for source in ("configMap", "secret", "projected"):
            if source in volume:
                volume[source].setdefault("defaultMode", 420)
    for container in [*spec.get("initContainers", []), *spec.get("containers", [])]:
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        container.setdefault("terminationMessagePolicy", "File")
        container.setdefault("imagePullPolicy", "IfNotPresent")
        _quantities(container.setdefault("resources", {}))
        for port in container.get("ports", []):
            port.setdefault("protocol", "TCP")


def _fill_stateful_set(obj: Object) -> None:
    spec = obj["spec"]
    spec.setdefault("podManagementPolicy", "OrderedReady")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("replicas", 1)
    spec.setdefault("updateStrategy", {"type": "RollingUpdate"})
    spec.setdefault(
        "persistentVolumeClaimRetentionPolicy", {"whenDeleted": "Retain", "whenScaled": "Retain"}
    )
    _fill_pod_spec(spec.setdefault("template", {}).setdefault("spec", {}))


def _fill_service(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    spec.setdefault("internalTrafficPolicy", "Cluster")
    for port in spec.get("ports", []):
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port["port"])


def _fill_slice(obj: Object) -> None:
    obj.setdefault("endpoints", None)
    obj.setdefault("ports", None)
    for port in obj["ports"] or []:
        port.setdefault("name", "")
        port.setdefault("protocol", "TCP")


def _fill_network_policy(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("podSelector", {})
    if "policyTypes" not in spec:
        spec["policyTypes"] = ["Ingress", "Egress"] if "egress" in spec else ["Ingress"]
    for rule in [*spec.get("ingress", []), *spec.get("egress", [])]:
        for port in rule.get("ports", []):
            port.setdefault("protocol", "TCP")


def _fill_claim(obj: Object) -> None:
    spec = obj["spec"]
    spec.setdefault("volumeMode", "Filesystem")
    _quantities(spec.setdefault("resources", {}))


def _fill_secret(obj: Object) -> None:
    obj.setdefault("type", "Opaque")


def _fill_role_binding(obj: Object) -> None:
    obj["roleRef"].setdefault("apiGroup", "rbac.authorization.k8s.io")


_DEFAULTS: Final[Mapping[str, Callable[[Object], None]]] = {
    "Pod": lambda obj: _fill_pod_spec(obj["spec"]),
    "StatefulSet": _fill_stateful_set,
    "Service": _fill_service,
    "EndpointSlice": _fill_slice,
    "NetworkPolicy": _fill_network_policy,
    "PersistentVolumeClaim": _fill_claim,
    "Secret": _fill_secret,
    "RoleBinding": _fill_role_binding,
}
