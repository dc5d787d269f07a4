"""The storage worker: a short pod for work on a bucket without an instance.

Pure. It runs `python -m coffer_guest.storage_worker`, which reads

- the request, a wire.StorageRequest in JSON without anything secret, from a file that kubelet
  makes of an annotation of the pod (so no other object has to be made and removed);
- credentials, keys and the CA from Secrets that kubelet mounts: the operator never sees them;

and leaves a wire.StorageAnswer as the container's termination message. The pod is made once, never
changed, and removed when its answer was taken; its owner's deletion takes it along, too.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from coffer_common import naming
from coffer_common.resources.backup_storage import (
    BackupStorageSpec,
)
from coffer_common.resources.base import Metadata
from coffer_common.wire import StorageOperation
from coffer_operator.build.storage import storage_access

Object = dict[str, Any]

COMPONENT: Final = "storage-worker"
CONTAINER: Final = "worker"
SELECTOR: Final = (
    f"{naming.LABEL_MANAGED_BY}={naming.MANAGED_BY},{naming.LABEL_COMPONENT}={COMPONENT}"
)
ANNOTATION_TASK: Final = f"{naming.GROUP}/task"  # which round of which work it does
ANNOTATION_REQUEST: Final = f"{naming.GROUP}/storage-request"
DEADLINE_S: Final = 300  # of the pod, from when kubelet has it

_FOLDER: Final = "/etc/coffer/worker"
_CA_FILE: Final = "ca.crt"
_READ_BY_GROUP: Final = 0o440
_MAX_OWNER_IN_NAME: Final = 40  # kubelet makes a folder of namespace, name and uid together


@dataclass(frozen=True)
class WorkerOrder:
    """What a worker is to do, and for which object; `task` is the same for the same work."""

    owner_kind: str
    owner: Metadata
    task: str
    operation: StorageOperation
    storage: BackupStorageSpec
    image: str
    path: str = ""
    digest: str | None = None
    running: tuple[str, ...] = ()  # sweep: ids of backups that are being taken

    @property
    def name(self) -> str:
        """Of the pod: whoever makes it twice makes it once."""
        digest = naming.short_hash(f"{self.owner.uid}/{self.task}")
        owner = self.owner.name[:_MAX_OWNER_IN_NAME].rstrip(".-")
        return f"{owner}-{self.operation.value.lower()}-{digest}"


def worker_pod(order: WorkerOrder, pull_secrets: Sequence[str] = ()) -> Object:
    """The pod that carries out the order; its image is pulled with the secrets, if there are any.

    A secret that is missing in the namespace is no error to kubelet, where it needs none.
    """
    request = {
        "operation": order.operation.value,
        "storage": storage_access(order.storage),
        "path": order.path,
        "digest": order.digest,
        "running": order.running,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": order.name,
            "namespace": order.owner.namespace,
            "labels": {
                naming.LABEL_MANAGED_BY: naming.MANAGED_BY,
                naming.LABEL_COMPONENT: COMPONENT,
            },
            "annotations": {
                ANNOTATION_TASK: order.task,
                ANNOTATION_REQUEST: json.dumps(request, sort_keys=True),
            },
            "ownerReferences": [
                {
                    "apiVersion": naming.API_VERSION,
                    "kind": order.owner_kind,
                    "name": order.owner.name,
                    "uid": order.owner.uid,
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "spec": {
            **_spec(order),
            **(
                {"imagePullSecrets": [{"name": name} for name in pull_secrets]}
                if pull_secrets
                else {}
            ),
        },
    }


def _spec(order: WorkerOrder) -> Object:
    arguments = ["--request", f"{_FOLDER}/request/request.json"]
    volumes = [
        {
            "name": "request",
            "downwardAPI": {
                "items": [
                    {
                        "path": "request.json",
                        "fieldRef": {
                            "apiVersion": "v1",
                            "fieldPath": f"metadata.annotations['{ANNOTATION_REQUEST}']",
                        },
                    }
                ]
            },
        },
    ]
    for option, secret in (
        ("credentials", order.storage.s3.credentials_secret_ref.name),
        ("keys", order.storage.encryption.key_secret_ref.name),
    ):
        arguments += [f"--{option}", f"{_FOLDER}/{option}"]
        volumes.append(_secret(option, {"secretName": secret}))
    ca = order.storage.s3.ca_secret_ref
    if ca is not None:
        arguments += ["--ca", f"{_FOLDER}/ca/{_CA_FILE}"]
        volumes.append(
            _secret("ca", {"secretName": ca.name, "items": [{"key": ca.key, "path": _CA_FILE}]})
        )
    return {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": DEADLINE_S,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 10,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": naming.RUN_AS_UID,
            "runAsGroup": naming.RUN_AS_UID,
            "fsGroup": naming.RUN_AS_UID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(order, arguments, [v["name"] for v in volumes])],
        "volumes": [*volumes, {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}],
    }


def _container(order: WorkerOrder, arguments: list[str], mounts: list[Any]) -> Object:
    return {
        "name": CONTAINER,
        "image": order.image,
        "imagePullPolicy": "IfNotPresent",
        "command": [*naming.INIT, "python", "-m", "coffer_guest.storage_worker"],
        "args": arguments,
        "terminationMessagePolicy": "File",
        "resources": {
            "requests": {"cpu": "10m", "memory": "64Mi"},
            "limits": {"memory": "256Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [
            *(
                {"name": name, "mountPath": f"{_FOLDER}/{name}", "readOnly": True}
                for name in mounts
            ),
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a mount of the pod
        ],
    }


def _secret(name: str, source: Object) -> Object:
    return {"name": name, "secret": {**source, "defaultMode": _READ_BY_GROUP}}
