"""The template of a database's pod: the agent as a native sidecar, the engine under a launcher.

Design §4 has the reasons for its shape. Everything in the template that changes needs a restart,
so what may change without one (the data id) is in the mounted ConfigMap instead.
"""

import json
from typing import Any, Final

from coffer_common import naming
from coffer_operator.build import quantities
from coffer_operator.build.config_map import FILE
from coffer_operator.build.identity import DATABASE_COMPONENT, Blueprint, Object

AGENT_CPU_REQUEST: Final = "10m"
AGENT_MEMORY_REQUEST: Final = "64Mi"
AGENT_MEMORY_LIMIT: Final = "384Mi"
_HUNG_GRACE_S: Final = 20  # of an agent that hangs; the pod's is for the engine, which stays
_ACCOUNT_PATH: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
_TOKEN_LIFE_S: Final = 3607  # what the API server gives bound tokens that clients expect to renew
_READ_BY_GROUP: Final = 0o440

_RESTRICTED: Final[Object] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}


def pod_template(plan: Blueprint) -> Object:
    """The template, with the hash of its contents as an annotation."""
    identity = plan.identity
    template: Object = {
        "metadata": {
            "labels": identity.labels
            | {
                naming.LABEL_COMPONENT: DATABASE_COMPONENT,
                # While an instance has no replicas it serves -ro itself. The label is part of the
                # template, since kubelet's readiness already keeps a pod that is not healthy out.
                naming.LABEL_READ_ONLY: "true",
            },
        },
        "spec": _spec(plan),
    }
    template["metadata"]["annotations"] = {
        naming.ANNOTATION_TEMPLATE_HASH: naming.short_hash(
            json.dumps(template, sort_keys=True), length=16
        )
    }
    return template


def template_hash(template: Object) -> str:
    """The hash that the template bears."""
    return str(template["metadata"]["annotations"][naming.ANNOTATION_TEMPLATE_HASH])


def _spec(plan: Blueprint) -> Object:
    spec: Object = {
        "serviceAccountName": plan.identity.account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": naming.TERMINATION_GRACE_S,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": naming.RUN_AS_UID,
            "runAsGroup": naming.RUN_AS_UID,
            "fsGroup": naming.RUN_AS_UID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "initContainers": [_guest(plan)],
        "containers": [_database(plan)],
        "volumes": _volumes(plan),
    }
    if plan.node_selector:
        spec["nodeSelector"] = dict(plan.node_selector)
    if plan.tolerations:
        spec["tolerations"] = [dict(toleration) for toleration in plan.tolerations]
    return spec


def _guest(plan: Blueprint) -> Object:
    return {
        "name": naming.GUEST_CONTAINER,
        "image": plan.image,
        "imagePullPolicy": "IfNotPresent",
        "command": [*naming.INIT, "coffer-guest"],
        "restartPolicy": "Always",
        "env": [
            _field("POD_NAME", "metadata.name"),
            _field("POD_UID", "metadata.uid"),
            _field("POD_IP", "status.podIP"),
            _field("NODE_NAME", "spec.nodeName"),
        ],
        "ports": [
            {"name": "agent", "containerPort": naming.AGENT_PORT, "protocol": "TCP"},
            {"name": "probes", "containerPort": naming.PROBE_PORT, "protocol": "TCP"},
        ],
        "livenessProbe": {
            "httpGet": {"path": "/livez", "port": naming.PROBE_PORT},
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 3,
            "terminationGracePeriodSeconds": _HUNG_GRACE_S,
        },
        "resources": {
            "requests": {"cpu": AGENT_CPU_REQUEST, "memory": AGENT_MEMORY_REQUEST},
            "limits": {"memory": AGENT_MEMORY_LIMIT},
        },
        "securityContext": dict(_RESTRICTED),
        "volumeMounts": [
            *_shared_mounts(),
            _mount("instance", naming.INSTANCE_FILE.rsplit("/", 1)[0], read_only=True),
            _mount("tls", naming.TLS_PATH, read_only=True),
            _mount("token", _ACCOUNT_PATH, read_only=True),
        ],
    }


def _database(plan: Blueprint) -> Object:
    memory = quantities.size(plan.flavor.ram_bytes)
    return {
        "name": naming.DATABASE_CONTAINER,
        "image": plan.image,
        "imagePullPolicy": "IfNotPresent",
        "command": [*naming.INIT, "coffer-launcher"],
        "ports": [{"name": "engine", "containerPort": plan.port, "protocol": "TCP"}],
        # No liveness and no startup probe: the agent answers them, and an agent that hangs or
        # cannot be pulled would get the database killed.
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": naming.PROBE_PORT},
            "periodSeconds": 1,
            "timeoutSeconds": 3,
            "failureThreshold": 3,
        },
        "resources": {
            "requests": {"cpu": quantities.cores(plan.cpu_request_millis), "memory": memory},
            "limits": {"cpu": quantities.cores(plan.cpu_millis), "memory": memory},
        },
        "securityContext": dict(_RESTRICTED),
        "volumeMounts": _shared_mounts(),
    }


def _shared_mounts() -> list[Object]:
    return [
        _mount("data", naming.VOLUME_PATH),
        _mount("run", naming.RUN_PATH),
        _mount("tmp", "/tmp"),  # noqa: S108 - a mount of the pod
    ]


def _volumes(plan: Blueprint) -> list[Object]:
    name = plan.identity.name
    return [
        {"name": "data", "persistentVolumeClaim": {"claimName": naming.data_volume(name)}},
        # In memory: an administrator's password may lie beside the sockets (design §4).
        {"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}},
        {"name": "tmp", "emptyDir": {}},
        {
            "name": "instance",
            "configMap": {
                "name": naming.agent_config(name),
                "items": [{"key": FILE, "path": FILE}],
            },
        },
        {
            "name": "tls",
            "secret": {"secretName": naming.agent_tls(name), "defaultMode": _READ_BY_GROUP},
        },
        {"name": "token", "projected": {"sources": _token_sources()}},
    ]


def _token_sources() -> list[Object]:
    """What kubelet would mount by itself, for the agent alone."""
    return [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": _TOKEN_LIFE_S}},
        {
            "configMap": {
                "name": "kube-root-ca.crt",
                "items": [{"key": "ca.crt", "path": "ca.crt"}],
            }
        },
        {
            "downwardAPI": {
                "items": [{"path": "namespace", "fieldRef": _field_ref("metadata.namespace")}]
            }
        },
    ]


def _field_ref(path: str) -> Object:
    # apiVersion is what the API server would add; the reference is atomic, so it counts as ours.
    return {"apiVersion": "v1", "fieldPath": path}


def _field(name: str, path: str) -> Object:
    return {"name": name, "valueFrom": {"fieldRef": _field_ref(path)}}


def _mount(name: str, path: str, *, read_only: bool = False) -> Object:
    mount: dict[str, Any] = {"name": name, "mountPath": path}
    if read_only:
        mount["readOnly"] = True
    return mount
