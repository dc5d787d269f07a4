"""The PVC of an instance. It is made once and then only annotated: it holds the data."""

from coffer_common import naming
from coffer_operator.build import quantities
from coffer_operator.build.identity import Blueprint, Object


def annotations(plan: Blueprint) -> dict[str, str]:
    """What must survive CRs that are restored without status (design §1.9)."""
    return {
        naming.ANNOTATION_GROUP: plan.identity.group,
        naming.ANNOTATION_ROLE: plan.role.value,
        naming.ANNOTATION_RESOLVED: plan.version_name,
    } | ({naming.ANNOTATION_DATA_ID: plan.data_id} if plan.data_id else {})


def owner_references(plan: Blueprint) -> tuple[Object, ...]:
    """The instance, only while the volume is to be deleted with it."""
    return (plan.identity.owner_reference,) if plan.delete_volume else ()


def data_volume(plan: Blueprint) -> Object:
    """The claim of a volume that does not exist yet."""
    identity = plan.identity
    metadata: Object = {
        "name": naming.data_volume(identity.name),
        "namespace": identity.namespace,
        "labels": identity.labels,
        "annotations": annotations(plan),
    }
    if plan.delete_volume:
        metadata["ownerReferences"] = list(owner_references(plan))
    spec: Object = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": quantities.size(plan.volume_bytes)}},
    }
    if plan.storage_class is not None:
        spec["storageClassName"] = plan.storage_class
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata,
        "spec": spec,
    }
