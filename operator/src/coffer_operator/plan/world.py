"""The World: all that a plan may know of one group of instances, immutable.

`observe` makes it, `plan` reads it; nothing else decides. Unknown is a value of its own: None
where a comment says so, never a guess.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from coffer_common.resources.backup import Backup
from coffer_common.resources.backup_storage import (
    BackupStorage,
)
from coffer_common.resources.catalogue import DatastoreVersion, Flavor
from coffer_common.resources.configuration import ConfigurationGroup
from coffer_common.resources.instance import DatabaseInstance
from coffer_common.resources.instance_status import Role
from coffer_common.resources.operation import Operation
from coffer_common.resources.schedule import BackupSchedule
from coffer_common.rules import Rules
from coffer_common.wire import ConfigurationStatus, GuestStatus


@dataclass(frozen=True)
class Child:
    """What is kept of an object that Coffer applied (or that bears a name it needs).

    `digest` is taken over the fields that the manager `coffer` owns, so a hand-edited child has
    another digest than the wanted object. `ours`: it bears the label of this instance.
    """

    kind: str
    name: str
    uid: str
    resource_version: str
    digest: str
    ours: bool
    deleting: bool = False
    annotations: Mapping[str, str] = field(default_factory=dict)  # those under coffer.dev/ only
    owner_uid: str | None = None  # of the controller owner reference


@dataclass(frozen=True)
class StatefulSetFact:
    """What is kept of the StatefulSet beyond Child."""

    generation: int
    observed_generation: int
    replicas: int
    template_hash: str | None  # annotation of the pod template


@dataclass(frozen=True)
class ContainerFact:
    """A container of the pod."""

    name: str
    running: bool
    ready: bool
    restarts: int
    waiting_reason: str | None = None  # ImagePullBackOff, CrashLoopBackOff …
    waiting_message: str | None = None
    last_exit: str | None = None  # "exit 1", "signal 9", "OOMKilled"


@dataclass(frozen=True)
class PodFact:
    """The instance's pod."""

    name: str
    uid: str
    phase: str  # Pending | Running | Succeeded | Failed | Unknown
    ip: str | None
    node: str | None
    ready: bool
    deleting: bool
    template_hash: str | None
    unschedulable: str | None  # the scheduler's message
    guest: ContainerFact | None
    database: ContainerFact | None
    labels: Mapping[str, str] = field(default_factory=dict)
    created_at: datetime | None = None
    scheduled_at: datetime | None = None  # since when it has a node


@dataclass(frozen=True)
class VolumeFact:
    """The instance's PVC."""

    name: str
    uid: str
    bound: bool
    deleting: bool
    lost: bool  # phase Lost: its PV is gone
    size_bytes: int | None  # capacity, once bound
    storage_class: str | None
    data_id: str | None  # annotation
    datastore_version: str | None  # annotation
    group: str | None  # annotation
    role: str | None  # annotation
    ours: bool  # bears this instance's label
    owner_uids: tuple[str, ...] = ()


@dataclass(frozen=True)
class SliceFact:
    """The EndpointSlice behind <group>-rw, including what the agent wrote."""

    addresses: tuple[str, ...]
    target_pod_uid: str | None
    epoch: int
    resource_version: str


@dataclass(frozen=True)
class AgentFact:
    """What the long poll to the agent says.

    `status` is the last answer, of the pod `pod_uid`; `age_s` since the last answer of any kind;
    `error` is set while the agent cannot be reached, with the reason. No fact at all (None in
    the World) means: never reached since the operator started.
    """

    status: GuestStatus
    pod_uid: str
    age_s: float
    error: str | None = None


@dataclass(frozen=True)
class CertificateFact:
    """The agent's certificate as its Secret holds it."""

    not_after: datetime
    not_before: datetime
    ca_fingerprint: str
    checksum: str  # of the certificate


@dataclass(frozen=True)
class ActFailure:
    """Why the latest attempt to carry out a plan stopped.

    It is there while attempts fail: at once where no further attempt can help (`permanent`),
    and from the fourth attempt in a row on where it can. The status and the events of a plan are
    carried out even if the rest of it fails, so that a condition can say so.
    """

    step: str  # "apply Service shop-rw", "user app@%"
    reason: str  # CamelCase: PasswordSecretMissing, QuotaExceeded, Forbidden, Invalid …
    message: str  # one line
    permanent: bool
    since: datetime  # of the first of these attempts


@dataclass(frozen=True)
class StorageClassFact:
    """A StorageClass."""

    name: str
    default: bool


@dataclass(frozen=True)
class Catalogue:
    """What the administrator offers, by object name; and the storage classes of the cluster."""

    datastore_versions: Mapping[str, DatastoreVersion]
    flavors: Mapping[str, Flavor]
    storage_classes: Mapping[str, StorageClassFact] | None = None  # None: cannot tell
    rules: Mapping[str, Rules] = field(default_factory=dict)  # by name of the DatastoreVersion


@dataclass(frozen=True)
class RestoreSource:
    """What an instance's `restoreFrom` leads to; None where there is none of the name."""

    backup: Backup | None = None
    storage: BackupStorage | None = None
    chain: Mapping[str, Backup] = field(default_factory=dict)  # what it needs, down to the full


@dataclass(frozen=True)
class Member:
    """An instance that gets the same values as others, as far as their rollout needs to know it.

    `configuration` is what its agent said last, None if it never did; `reachable`: it answers now.
    What cannot get values now is not waited for: `failing`, its plans are not carried out
    (World.failure is set), or `held`, its volume is not laid out (DataState is not LaidOut).
    """

    namespace: str
    name: str
    role: Role | None
    version_name: str | None  # of the DatastoreVersion in use, None while it is not settled
    configuration: ConfigurationStatus | None
    reachable: bool
    held: bool = False
    failing: bool = False


@dataclass(frozen=True)
class GroupWorld:
    """A ConfigurationGroup with everything around it, at one moment.

    `members` are the instances that name it, none of them under deletion, by name.
    """

    now: datetime
    group: ConfigurationGroup
    catalogue: Catalogue
    members: tuple[Member, ...] = ()


@dataclass(frozen=True)
class World:
    """One instance with everything around it, at one moment.

    `children` is keyed by (kind, name). `ensured_users` has the keys of the EnsureUser calls that
    succeeded for this very instance since the operator started: only then does status name their
    Secrets; one too few costs a call that changes nothing.
    `operations` are those that name this instance, oldest first. `backup_sources` are the Backups
    that they name, by name, as long as they have not ended. `backups` and `backup_schedules` are
    those that name this instance, or a former one of its name.
    `configuration_group` is the one that the spec names, None where there is none of that name.
    `cohort` are the instances that get the same values, this one among them: those that name the
    same group, or, for one that names none, those of its DatastoreVersion that name none.
    """

    now: datetime
    instance: DatabaseInstance
    catalogue: Catalogue
    children: Mapping[tuple[str, str], Child] = field(default_factory=dict)
    stateful_set: StatefulSetFact | None = None
    pod: PodFact | None = None
    volume: VolumeFact | None = None
    read_write: SliceFact | None = None
    agent: AgentFact | None = None
    certificate: CertificateFact | None = None  # None: there is none
    certificate_known: bool = False  # False: not looked at yet
    ca_fingerprint: str = ""
    node_ready: bool | None = None  # of the pod's node; None: cannot tell
    operations: tuple[Operation, ...] = ()
    configuration_group: ConfigurationGroup | None = None
    cohort: tuple[Member, ...] = ()
    restore_source: RestoreSource | None = None  # None: it is not to be restored
    backup_sources: Mapping[str, RestoreSource] = field(default_factory=dict)
    backups: tuple[Backup, ...] = ()
    backup_schedules: tuple[BackupSchedule, ...] = ()
    namespace_terminating: bool = False
    failure: ActFailure | None = None  # None: the latest plan was carried out
    ensured_users: frozenset[str] = frozenset()
    operator_namespace: str = ""  # where the agents' callers run; "": cannot tell
    pull_secrets: tuple[str, ...] = ()  # for guest images, by name in each namespace
