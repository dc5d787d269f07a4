"""What all objects of an instance share: names, labels, owner; and which names it needs.

Pure. Owns the metadata of children, no object itself.
"""

from dataclasses import dataclass
from typing import Any, Final

from coffer_common import naming
from coffer_common.resources.base import Metadata
from coffer_common.resources.instance_status import Role
from coffer_common.wire import ConfigurationRequest, FlavorSize

Object = dict[str, Any]

DATABASE_COMPONENT: Final = "database"
OPERATOR_LABELS: Final = {
    "app.kubernetes.io/name": "coffer",
    naming.LABEL_COMPONENT: "operator",
}  # of the operator's pods, as the chart sets them


@dataclass(frozen=True)
class Identity:
    """Who an instance is: all that names and labels follow from."""

    name: str
    namespace: str
    uid: str
    group: str
    datastore: str

    @property
    def labels(self) -> dict[str, str]:
        """The labels of every child."""
        return {
            naming.LABEL_MANAGED_BY: naming.MANAGED_BY,
            naming.LABEL_INSTANCE: self.name,
            naming.LABEL_GROUP: self.group,
            naming.LABEL_DATASTORE: self.datastore,
        }

    @property
    def owner_reference(self) -> Object:
        """Leads garbage collection to a child, and never holds back the owner's deletion."""
        return {
            "apiVersion": naming.API_VERSION,
            "kind": "DatabaseInstance",
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": False,
        }

    @property
    def account(self) -> str:
        """Name of the agent's ServiceAccount, Role and RoleBinding."""
        return naming.agent_config(self.name)

    def metadata(
        self,
        name: str,
        *,
        labels: dict[str, str] | None = None,
        annotations: dict[str, str] | None = None,
    ) -> Object:
        """Metadata of a child that goes with the instance."""
        metadata: Object = {
            "name": name,
            "namespace": self.namespace,
            "labels": self.labels | (labels or {}),
            "ownerReferences": [self.owner_reference],
        }
        if annotations:
            metadata["annotations"] = annotations
        return metadata


@dataclass(frozen=True)
class Blueprint:
    """All that the objects of one instance are built from."""

    identity: Identity
    version: str
    version_name: str  # of the DatastoreVersion object
    manager: str
    image: str
    port: int  # of the version: what the pod template and the agent are told
    service_port: int  # of the running engine: where Services lead
    role: Role
    flavor_name: str
    flavor: FlavorSize
    cpu_millis: int
    cpu_request_millis: int
    volume_bytes: int
    storage_class: str | None
    node_selector: dict[str, str]
    tolerations: tuple[dict[str, Any], ...]
    delete_volume: bool  # with the instance
    data_id: str | None  # of the data on the volume; None: not laid out as far as is known
    operator_namespace: str
    pull_secrets: tuple[str, ...] = ()
    configuration: ConfigurationRequest | None = None  # what a new instance starts with
    restore: str | None = None  # path of the backup that its data are to come from


def identify(metadata: Metadata, *, group: str, datastore: str) -> Identity:
    """The identity of the instance with this metadata."""
    return Identity(
        name=metadata.name,
        namespace=metadata.namespace or "default",
        uid=metadata.uid,
        group=group,
        datastore=datastore,
    )


def needed_names(identity: Identity) -> tuple[tuple[str, str], ...]:
    """(kind, name) of every object that the instance cannot do without.

    The data volume is not among them: one that is found is looked into instead (design §3).
    """
    name, group = identity.name, identity.group
    return (
        ("ConfigMap", naming.agent_config(name)),
        ("ServiceAccount", identity.account),
        ("Role", identity.account),
        ("RoleBinding", identity.account),
        ("Service", name),
        ("Service", naming.read_write_service(group)),
        ("Service", naming.read_only_service(group)),
        ("EndpointSlice", naming.read_write_slice(group)),
        ("NetworkPolicy", name),
        ("StatefulSet", name),
    )
