"""Names, labels, ports and paths that operator, agent and command line agree on.

Pure. Nothing here is configurable: a name that two programs must share is API.
"""

import hashlib
import re
from typing import Final

GROUP: Final = "coffer.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
FIELD_MANAGER: Final = "coffer"

# labels and annotations
LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "coffer"
LABEL_INSTANCE: Final = f"{GROUP}/instance"
LABEL_GROUP: Final = f"{GROUP}/group"
LABEL_DATASTORE: Final = f"{GROUP}/datastore"
LABEL_READ_ONLY: Final = f"{GROUP}/read-only"  # "true" on pods that <group>-ro leads to
LABEL_SCHEDULE: Final = f"{GROUP}/backup-schedule"  # on Backups and Operations: what made them
LABEL_COMPONENT: Final = "app.kubernetes.io/component"
ANNOTATION_DATA_ID: Final = f"{GROUP}/data-id"  # on the PVC: which data it holds
ANNOTATION_RESOLVED: Final = (
    f"{GROUP}/datastore-version"  # on the PVC: name of the DatastoreVersion
)
ANNOTATION_GROUP: Final = f"{GROUP}/group"  # on the PVC: survives CRs restored without status
ANNOTATION_ROLE: Final = f"{GROUP}/role"  # on the PVC, for the same reason
ANNOTATION_TEMPLATE_HASH: Final = f"{GROUP}/template-hash"  # on StatefulSet and pod
ANNOTATION_FLAVOR: Final = f"{GROUP}/flavor"  # on the StatefulSet: the one applied last
# on Backups that go together with those that need them; the chart's policy knows it by this name
ANNOTATION_DELETE_CHAIN: Final = f"{GROUP}/delete-chain"
# on a BackupStorage: somebody wants a list of what is in it, under this nonce
ANNOTATION_LIST_REQUESTED: Final = f"{GROUP}/list-requested"
ANNOTATION_EPOCH: Final = f"{GROUP}/epoch"  # on the -rw slice
ENDPOINTSLICE_MANAGED_BY: Final = GROUP
#: Strategies whose backups are loaded into an instance that runs, and not restored as its data.
LOGICAL_STRATEGIES: Final = frozenset({"MySQLDump"})
LABEL_SCRATCH: Final = f"{GROUP}/scratch"  # "true" on instances that only a test restore needs

# the pod
GUEST_CONTAINER: Final = "guest"
DATABASE_CONTAINER: Final = "database"
# The first process of every container: the kernel drops a signal that such a process does not yet
# handle, and the grace of a pod that is deleted while Python loads would pass to its end.
INIT: Final = ("tini", "--")
AGENT_PORT: Final = 8443  # HTTPS, mutual TLS: the guest API
PROBE_PORT: Final = 8080  # HTTP: /livez, /readyz, /metrics; nothing that changes anything
RUN_AS_UID: Final = 999
VOLUME_PATH: Final = "/var/lib/coffer"  # the data volume
RUN_PATH: Final = "/run/coffer"  # emptyDir of the sockets
INSTANCE_FILE: Final = "/etc/coffer/instance/instance.json"  # GuestConfig, from a ConfigMap
STOP_TIMEOUT_S: Final = 300  # for an engine to flush and stop; then the launcher kills it
TERMINATION_GRACE_S: Final = STOP_TIMEOUT_S + 10  # of the pod: the agent ends after the engine
TLS_PATH: Final = "/etc/coffer/tls"  # tls.crt, tls.key, ca.crt, from a Secret
OPERATOR_COMMON_NAME: Final = "coffer-operator"  # CN of the operator's client certificate

MAX_INSTANCE_NAME: Final = 40
_MAX_OBJECT_NAME: Final = 253  # of Kubernetes
_RESERVED_SUFFIXES: Final = ("-rw", "-ro")
_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


def is_instance_name(name: str) -> bool:
    """A DNS label of at most 40 characters that starts with a letter and leaves -rw/-ro to us."""
    return (
        len(name) <= MAX_INSTANCE_NAME
        and name[:1].isalpha()
        and _LABEL.fullmatch(name) is not None
        and not name.endswith(_RESERVED_SUFFIXES)
    )


def scratch_instance(backup: str) -> str:
    """The instance that a Backup is restored into to verify it.

    `verify-<backup>`, or as much of it as may be and 8 hex digits of its SHA-256.
    """
    name = f"verify-{backup}"
    if is_instance_name(name):
        return name
    plain = re.sub(r"[^a-z0-9-]+", "-", backup.lower())[:24].strip("-")
    return f"verify-{plain}-{short_hash(backup)}" if plain else f"verify-{short_hash(backup)}"


def storage_listing(storage: str) -> str:
    """The ConfigMap with the list of what a BackupStorage holds."""
    name = f"{storage}-listing"
    if len(name) <= _MAX_OBJECT_NAME:
        return name
    return f"{storage[: _MAX_OBJECT_NAME - 17].rstrip('.-')}-{short_hash(storage)}-listing"


def pod(instance: str) -> str:
    return f"{instance}-0"


def data_volume(instance: str) -> str:
    """The PVC of an instance."""
    return f"{instance}-data"


def agent_tls(instance: str) -> str:
    """The Secret with the agent's certificate."""
    return f"{instance}-agent-tls"


def agent_config(instance: str) -> str:
    """The ConfigMap with GuestConfig."""
    return f"{instance}-agent"


def read_write_service(group: str) -> str:
    return f"{group}-rw"


def read_only_service(group: str) -> str:
    return f"{group}-ro"


def read_write_slice(group: str) -> str:
    """The one EndpointSlice behind <group>-rw."""
    return f"{group}-rw"


def agent_host(instance: str, namespace: str) -> str:
    """The DNS name in an agent's certificate; the operator connects by pod address."""
    return f"{instance}.{namespace}.agent.{GROUP}"


def short_hash(text: str, length: int = 8) -> str:
    """The first `length` hex digits of the SHA-256 of `text`."""
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def binding_secret(instance: str, user: str, host: str = "%", *, others: bool = False) -> str:
    """Name of the Secret with a user's credentials.

    `<instance>-<user>`, plus 8 hex digits of sha256(user@host) where the user's name is no DNS
    label as it stands, or where `others`: the same user exists with another host, too.
    """
    plain = re.sub(r"[^a-z0-9-]+", "-", user.lower()).strip("-")
    if plain == user and not others:
        return f"{instance}-{user}"
    suffix = short_hash(f"{user}@{host}")
    return f"{instance}-{plain[:100]}-{suffix}" if plain else f"{instance}-{suffix}"
