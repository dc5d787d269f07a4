"""The API server as Coffer sees it: plain dicts in and out, one method per verb.

Owns the protocol and its errors; `client` implements it over HTTP, and the simulated API server
of the tests implements it in memory. Nothing here decides what to write.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, Protocol

from coffer_common.errors import Permanent, Transient
from coffer_common.naming import GROUP, VERSION

Object = dict[str, Any]  # a Kubernetes object as JSON gives it


class Key(NamedTuple):
    """An object of a known kind; the namespace of a cluster-wide one is empty."""

    namespace: str
    name: str


@dataclass(frozen=True)
class Kind:
    """Where objects of one kind live in the API."""

    group: str  # "" for the core group
    version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, sub: str = "") -> str:
        """The URL path of the collection, of one object, or of its subresource."""
        parts = ["/api", self.version] if not self.group else ["/apis", self.group, self.version]
        if self.namespaced and namespace is not None:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name is not None:
            parts.append(name)
        if sub:
            parts.append(sub)
        return "/".join(parts)


INSTANCE: Final = Kind(GROUP, VERSION, "DatabaseInstance", "databaseinstances")
OPERATION: Final = Kind(GROUP, VERSION, "Operation", "operations")
CONFIGURATION_GROUP: Final = Kind(GROUP, VERSION, "ConfigurationGroup", "configurationgroups")
BACKUP_STORAGE: Final = Kind(GROUP, VERSION, "BackupStorage", "backupstorages")
BACKUP: Final = Kind(GROUP, VERSION, "Backup", "backups")
BACKUP_SCHEDULE: Final = Kind(GROUP, VERSION, "BackupSchedule", "backupschedules")
DATASTORE_VERSION: Final = Kind(GROUP, VERSION, "DatastoreVersion", "datastoreversions", False)
FLAVOR: Final = Kind(GROUP, VERSION, "Flavor", "flavors", False)
POD: Final = Kind("", "v1", "Pod", "pods")
PVC: Final = Kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims")
SERVICE: Final = Kind("", "v1", "Service", "services")
SECRET: Final = Kind("", "v1", "Secret", "secrets")
CONFIG_MAP: Final = Kind("", "v1", "ConfigMap", "configmaps")
SERVICE_ACCOUNT: Final = Kind("", "v1", "ServiceAccount", "serviceaccounts")
EVENT: Final = Kind("", "v1", "Event", "events")
STATEFUL_SET: Final = Kind("apps", "v1", "StatefulSet", "statefulsets")
ENDPOINT_SLICE: Final = Kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices")
NETWORK_POLICY: Final = Kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies")
ROLE: Final = Kind("rbac.authorization.k8s.io", "v1", "Role", "roles")
ROLE_BINDING: Final = Kind("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings")
NODE: Final = Kind("", "v1", "Node", "nodes", False)
STORAGE_CLASS: Final = Kind("storage.k8s.io", "v1", "StorageClass", "storageclasses", False)
LEASE: Final = Kind("coordination.k8s.io", "v1", "Lease", "leases")
CRD: Final = Kind(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", False
)
VALIDATING_WEBHOOK: Final = Kind(
    "admissionregistration.k8s.io",
    "v1",
    "ValidatingWebhookConfiguration",
    "validatingwebhookconfigurations",
    False,
)

NAMESPACE_TERMINATING: Final = "NamespaceTerminating"  # cause of a ForbiddenError
ABSENT: Final = "1"  # a resourceVersion that no object has: see KubeApi.apply

CHILD_KINDS: Final[tuple[Kind, ...]] = (
    SERVICE,
    PVC,
    STATEFUL_SET,
    POD,
    CONFIG_MAP,
    ENDPOINT_SLICE,
    NETWORK_POLICY,
    SERVICE_ACCOUNT,
    ROLE,
    ROLE_BINDING,
)  # those that informers watch; Secrets are read by name
BY_NAME: Final[dict[str, Kind]] = {kind.kind: kind for kind in (*CHILD_KINDS, SECRET)}


class NotFoundError(Permanent):
    """404: the object does not exist."""


class ConflictError(Transient):
    """409: a precondition failed, or the object exists already."""


class ForbiddenError(Permanent):
    """401 or 403: not ours to do; more permissions are needed, not more attempts.

    `cause` is the reason of the answer's first cause, such as NAMESPACE_TERMINATING.
    """

    def __init__(self, message: str, *, cause: str = "") -> None:
        super().__init__(message)
        self.cause = cause


class InvalidError(Permanent):
    """400 or 422: the API server does not accept the object."""


class GoneError(Permanent):
    """410: the resourceVersion is too old; list again."""


class UnavailableError(Transient):
    """429, 5xx, or no connection."""


@dataclass(frozen=True)
class Page:
    """One page of a list."""

    items: tuple[Object, ...]
    resource_version: str
    continue_token: str | None


@dataclass(frozen=True)
class WatchEvent:
    """One event of a watch; of BOOKMARK only the resourceVersion counts."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    object: Object


class KubeApi(Protocol):
    """What Coffer asks of the API server. Every method raises the errors above."""

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Object:
        """The object; NotFoundError if there is none."""
        ...

    async def list_page(
        self,
        kind: Kind,
        *,
        label_selector: str = "",
        limit: int = 500,
        continue_token: str | None = None,
    ) -> Page:
        """One page of all objects of a kind, over all namespaces."""
        ...

    def watch(
        self, kind: Kind, *, resource_version: str, label_selector: str = ""
    ) -> AsyncIterator[WatchEvent]:
        """Events after `resource_version`, with bookmarks; ends when the server ends it.

        GoneError where the version is too old.
        """
        ...

    async def apply(self, kind: Kind, obj: Object) -> Object:
        """Server-side apply as field manager `coffer`, forced; the object as it is now.

        A `metadata.resourceVersion` in `obj` is a precondition for an object that exists
        (ConflictError) and means nothing for one that does not: with ABSENT, which no object
        ever has, the apply creates or fails. A `metadata.uid` that is not the
        object's is refused as well (ConflictError or InvalidError).
        """
        ...

    async def create(self, kind: Kind, obj: Object) -> Object:
        """Create; ConflictError if it exists."""
        ...

    async def patch(
        self,
        kind: Kind,
        namespace: str | None,
        name: str,
        patch: Mapping[str, Any],
        *,
        subresource: str = "",
    ) -> Object:
        """JSON merge patch; a resourceVersion inside is a precondition (ConflictError).

        A uid inside that is not the object's is refused as well (ConflictError or InvalidError).
        """
        ...

    async def delete(
        self,
        kind: Kind,
        namespace: str | None,
        name: str,
        *,
        uid: str | None = None,
        grace_period_s: int | None = None,
    ) -> None:
        """Delete, in the background; with `uid` only that very object. Absent is success."""
        ...

    async def log(self, namespace: str, pod: str, container: str, *, limit_bytes: int) -> str:
        """What the container has written, from its begin; NotFoundError if there is no such pod."""
        ...
