"""What a new cluster holds before anyone uses it: storage classes, and the way to the S3 server."""

from typing import Any

from coffer_cluster.addresses import S3_PORT, S3_TLS_PORT, Plan

CSI_DRIVER = "csi.cluster.coffer.dev"


def base_objects(plan: Plan) -> list[tuple[str, dict[str, Any]]]:
    """Each object and its place in the API."""
    local = {"scope": "node"}
    objects = {
        "/apis/storage.k8s.io/v1/csidrivers": [_csi_driver()],
        "/apis/storage.k8s.io/v1/storageclasses": [
            _storage_class("net", default=True, binding="Immediate", parameters={}),
            _storage_class(
                "local", default=False, binding="WaitForFirstConsumer", parameters=local
            ),
        ],
        "/api/v1/namespaces/default/services": [_s3_service(plan)],
        "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices": [_s3_endpoints(plan)],
    }
    return [
        (f"{place}/{content['metadata']['name']}", content)
        for place, contents in objects.items()
        for content in contents
    ]


def _csi_driver() -> dict[str, Any]:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSIDriver",
        "metadata": {"name": CSI_DRIVER},
        "spec": {
            "attachRequired": False,
            "podInfoOnMount": False,
            "fsGroupPolicy": "File",
            "volumeLifecycleModes": ["Persistent"],
        },
    }


def _storage_class(
    name: str, *, default: bool, binding: str, parameters: dict[str, str]
) -> dict[str, Any]:
    """`net` is a disk that any one node may use, `local` one that lies in a node."""
    annotation = {"storageclass.kubernetes.io/is-default-class": str(default).lower()}
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name, "annotations": annotation},
        "provisioner": CSI_DRIVER,
        # None at all rather than empty: the API server takes the two for different, and parameters
        # cannot be changed.
        **({"parameters": parameters} if parameters else {}),
        "allowVolumeExpansion": True,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": binding,
    }


def _s3_service(plan: Plan) -> dict[str, Any]:
    """Without a selector: the server is a process beside the control plane, not a pod."""
    ports = [{"name": "http", "port": S3_PORT}, {"name": "https", "port": S3_TLS_PORT}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s3", "namespace": "default"},
        "spec": {"clusterIP": str(plan.s3_service), "ports": ports},
    }


def _s3_endpoints(plan: Plan) -> dict[str, Any]:
    labels = {
        "kubernetes.io/service-name": "s3",
        "endpointslice.kubernetes.io/managed-by": "cluster.coffer.dev",
    }
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "s3-cluster", "namespace": "default", "labels": labels},
        "addressType": "IPv4",
        "endpoints": [
            {"addresses": [str(plan.control_plane)], "conditions": {"ready": True}},
        ],
        "ports": [
            {"name": "http", "port": S3_PORT, "protocol": "TCP"},
            {"name": "https", "port": S3_TLS_PORT, "protocol": "TCP"},
        ],
    }
