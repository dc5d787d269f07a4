"""Everything the process knows of the cluster, in stores by kind, and whom a change concerns.

Owns the stores and what `act` reports back: answers to its own writes (they come before their
events), objects of others under our names, failures. Never does input or output.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from coffer_common import naming
from coffer_common.resources.catalogue import DatastoreVersion, Flavor
from coffer_common.resources.configuration import ConfigurationGroup
from coffer_common.resources.instance import DatabaseInstance
from coffer_common.resources.operation import Operation, OperationType
from coffer_operator.kube.api import (
    CHILD_KINDS,
    CONFIGURATION_GROUP,
    DATASTORE_VERSION,
    ENDPOINT_SLICE,
    FLAVOR,
    INSTANCE,
    NODE,
    OPERATION,
    POD,
    STORAGE_CLASS,
    Key,
    Kind,
)
from coffer_operator.observe import project
from coffer_operator.observe.cohorts import Cohorts
from coffer_operator.observe.rulebook import Rulebook
from coffer_operator.observe.store import Mark, Marks, Store, ref_of
from coffer_operator.plan.scratch import scratch_name
from coffer_operator.plan.world import (
    ActFailure,
    Catalogue,
    CertificateFact,
    PodFact,
    StorageClassFact,
)

FOREIGN_FOR_S: Final = 25.0  # how long an object of another is believed to be there still

_OWN: Final = f"{naming.LABEL_MANAGED_BY}={naming.MANAGED_BY}"
# Kubernetes' own controller copies a Service's labels to the slices it makes for it
_OWN_SLICE: Final = (
    f"{_OWN},endpointslice.kubernetes.io/managed-by={naming.ENDPOINTSLICE_MANAGED_BY}"
)


def selector(kind: Kind) -> str:
    """The label selector of the informer of a kind."""
    if kind == ENDPOINT_SLICE:
        return _OWN_SLICE
    return _OWN if kind in CHILD_KINDS else ""


@dataclass
class Memory:
    """What is known of one instance beside the stores."""

    uid: str = ""
    confirmed_at: float = float("-inf")  # loop time when the API server last showed the instance
    certificate_known: bool = False
    certificate_read_at: float = 0.0  # loop time
    certificate: CertificateFact | None = None
    certificate_secret: project.Seen | None = None
    ensured_users: set[str] = field(default_factory=set)  # keys of EnsureUser calls
    foreign: dict[tuple[str, str], tuple[project.Seen, float]] = field(default_factory=dict)
    failure: ActFailure | None = None
    namespace_terminating: bool = False
    # by kind and name: digests of what was wanted and of what came of it, where they differ
    settled: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)


class Cache:
    """The stores of all kinds, and the memory of each instance.

    `wake` is called with every instance that a change may concern; `wake_cohort` with every
    cohort (see `observe.cohorts`); `pod_changed` with an instance and its pod (None: it is gone).
    `wake_verification` with an Operation that no instance has. `clock` gives loop time.
    """

    def __init__(
        self,
        *,
        wake: Callable[[Key], None],
        wake_cohort: Callable[[Key], None],
        pod_changed: Callable[[Key, PodFact | None], None],
        clock: Callable[[], float],
        wake_verification: Callable[[Key], None] = lambda _: None,
    ) -> None:
        self._wake = wake
        self._wake_verification = wake_verification
        self._wake_cohort = wake_cohort
        self._pod_changed = pod_changed
        self._clock = clock
        self._memories: dict[Key, Memory] = {}
        self._groups_confirmed_at: dict[Key, float] = {}
        self._catalogue: Catalogue | None = None  # until a part of it changes
        self._rulebook = Rulebook()
        self._pods_by_node: Marks[project.Seen, str] = Marks(_node_of)
        self.cohorts = Cohorts(wake_cohort, self._is_failing)
        self.instances: Store[DatabaseInstance | None] = Store(
            _instance, self._instance_changed, self.cohorts.marks
        )
        self.groups: Store[ConfigurationGroup | None] = Store(_group, self._group_changed)
        self.verifications: Marks[Operation | None, Key] = Marks(_scratch_of)
        self.operations: Store[Operation | None] = Store(
            _operation, self._operation_changed, self.verifications
        )
        self.versions: Store[DatastoreVersion | None] = Store(_version, self._version_changed)
        self.flavors: Store[Flavor | None] = Store(_flavor, self._flavor_changed)
        self.storage_classes: Store[StorageClassFact] = Store(_storage_class, self._class_changed)
        self.nodes: Store[project.NodeSeen] = Store(_node, self._node_changed)
        self.children: dict[str, Store[project.Seen]] = {
            kind.kind: Store(
                partial(project.child, kind.kind),
                self._pod_seen if kind == POD else self._owned_changed,
                self._pods_by_node if kind == POD else None,
            )
            for kind in CHILD_KINDS
        }

    def store(self, kind: Kind) -> Store[Any]:
        """The store of a watched kind."""
        own: Mapping[str, Store[Any]] = {
            INSTANCE.kind: self.instances,
            CONFIGURATION_GROUP.kind: self.groups,
            NODE.kind: self.nodes,
            OPERATION.kind: self.operations,
            DATASTORE_VERSION.kind: self.versions,
            FLAVOR.kind: self.flavors,
            STORAGE_CLASS.kind: self.storage_classes,
        }
        return own[kind.kind] if kind.kind in own else self.children[kind.kind]

    def memory(self, key: Key) -> Memory:
        return self._memories.setdefault(key, Memory())

    def memory_of(self, key: Key, uid: str) -> Memory:
        """The memory of this very instance; what is known of an older one is forgotten."""
        memory = self.memory(key)
        if memory.uid not in ("", uid):
            memory = self._memories[key] = Memory(confirmed_at=memory.confirmed_at)
            self.member_changed(key)
        memory.uid = uid
        return memory

    def forget(self, key: Key) -> None:
        self._memories.pop(key, None)

    def confirm(self, key: Key) -> None:
        """The API server has just shown the instance as it is in the store."""
        self.memory(key).confirmed_at = self._clock()

    def confirmed_s_ago(self, key: Key) -> float:
        """Seconds since the API server last showed the instance."""
        return self._clock() - self.memory(key).confirmed_at

    def confirm_group(self, key: Key) -> None:
        """The API server has just shown the ConfigurationGroup as it is in the store."""
        self._groups_confirmed_at[key] = self._clock()

    def group_confirmed_s_ago(self, key: Key) -> float:
        """Seconds since the API server last showed the ConfigurationGroup."""
        return self._clock() - self._groups_confirmed_at.get(key, float("-inf"))

    def forget_group(self, key: Key) -> None:
        self._groups_confirmed_at.pop(key, None)

    def instance(self, key: Key) -> DatabaseInstance | None:
        return self.instances.get(key.namespace, key.name)

    def group(self, key: Key) -> ConfigurationGroup | None:
        return self.groups.get(key.namespace, key.name)

    def catalogue(self) -> Catalogue:
        """What the administrator offers; unreadable entries are as good as absent ones."""
        if self._catalogue is None:
            versions = {r.name: v for r, v in self.versions.items() if v}
            self._catalogue = Catalogue(
                datastore_versions=versions,
                flavors={r.name: f for r, f in self.flavors.items() if f},
                storage_classes={r.name: c for r, c in self.storage_classes.items()},
                rules=self._rulebook.rules(versions),
            )
        return self._catalogue

    def node_ready(self, key: Key) -> bool | None:
        """Whether the node of the instance's pod reports; None: cannot tell."""
        pod = self.pod(key)
        node = self.nodes.get("", pod.node) if pod is not None and pod.node is not None else None
        return node.ready if node is not None else None

    def member_changed(self, key: Key) -> None:
        """There are news of an instance that concern those that get the same values."""
        self.cohorts.member_changed(key, self.instance(key))

    def _is_failing(self, key: Key) -> bool:
        memory = self._memories.get(key)
        return memory is not None and memory.failure is not None

    def foreign(self, key: Key) -> Mapping[tuple[str, str], project.Seen]:
        """Objects of others under names that the instance needs, as long as that is believed."""
        found = self.memory(key).foreign
        since = self._clock() - FOREIGN_FOR_S
        for name in [name for name, (_, seen_at) in found.items() if seen_at < since]:
            del found[name]
        return {name: seen for name, (seen, _) in found.items()}

    def found_foreign(self, key: Key, kind: str, obj: Mapping[str, Any]) -> None:
        """An object that is not the instance's bears a name that it needs."""
        seen, _ = project.child(kind, obj)
        self.memory(key).foreign[kind, seen.child.name] = (seen, self._clock())

    def no_longer_foreign(self, key: Key, kind: str, name: str) -> None:
        """An object of another was adopted."""
        self.memory(key).foreign.pop((kind, name), None)

    # --- whom a change concerns ------------------------------------------------------------------
    def _instance_changed(self, key: Key | None, _: object) -> None:
        if key is not None:
            self.confirm(key)
            self._wake(key)

    def _owned_changed(self, key: Key | None, _: object) -> None:
        if key is not None:
            self._wake(key)

    def _operation_changed(self, key: Key | None, operation: Operation | None) -> None:
        if key is not None:
            self._wake(key)
        elif operation is not None:
            metadata = operation.metadata
            self._wake_verification(Key(metadata.namespace or "", metadata.name))

    def _pod_seen(self, key: Key | None, _: object) -> None:
        if key is not None:
            self._pod_changed(key, self.pod(key))
            self._wake(key)

    def pod(self, key: Key) -> PodFact | None:
        """The instance's pod; a pod that bears its label under another name is none of it."""
        seen = self.children[POD.kind].of(key).get(naming.pod(key.name))
        return seen.fact if seen and isinstance(seen.fact, PodFact) else None

    def _group_changed(self, _: Key | None, group: ConfigurationGroup | None) -> None:
        if group is not None:
            self.group_is_news(Key(group.metadata.namespace or "", group.metadata.name))

    def group_is_news(self, key: Key) -> None:
        """A ConfigurationGroup is another one, or gone: it and whoever names it is woken."""
        self.confirm_group(key)
        self._wake_cohort(key)
        for instance in self.cohorts.marks[key]:
            self._wake(instance)

    def _version_changed(self, _: object, version: DatastoreVersion | None) -> None:
        self._catalogue = None
        if version is None:
            return
        self._wake_where(lambda i: i.spec.datastore.type == version.spec.datastore)
        for ref, group in self.groups.items():
            if group is not None and group.spec.datastore.type == version.spec.datastore:
                self._wake_cohort(ref)

    def _flavor_changed(self, _: object, flavor: Flavor | None) -> None:
        self._catalogue = None
        if flavor is not None:
            self._wake_where(lambda i: i.spec.flavor == flavor.metadata.name)

    def _class_changed(self, _: object, found: StorageClassFact) -> None:
        self._catalogue = None
        self._wake_where(lambda i: i.spec.volume.storage_class_name in (None, found.name))

    def _node_changed(self, _: object, node: project.NodeSeen) -> None:
        for ref, seen in self._pods_by_node[node.name].items():
            if isinstance(seen.fact, PodFact):
                self._wake(Key(ref.namespace, seen.fact.labels[naming.LABEL_INSTANCE]))

    def _wake_where(self, concerned: Callable[[DatabaseInstance], bool]) -> None:
        for ref, instance in self.instances.items():
            if instance is not None and concerned(instance):
                self._wake(ref)


def _instance(obj: project.Json) -> tuple[DatabaseInstance | None, Key]:
    return project.resource(DatabaseInstance, obj), ref_of(obj)


def _operation(obj: project.Json) -> tuple[Operation | None, Key | None]:
    found = project.resource(Operation, obj)
    if found is None or found.spec.instance_ref is None:
        return found, None
    return found, Key(ref_of(obj).namespace, found.spec.instance_ref.name)


def _scratch_of(operation: Operation | None) -> Mark[Key] | None:
    """Verifications are found by their scratch instance."""
    if operation is None or operation.spec.type is not OperationType.VERIFY_BACKUP:
        return None
    return Mark(Key(operation.metadata.namespace or "", scratch_name(operation)))


def _group(obj: project.Json) -> tuple[ConfigurationGroup | None, None]:
    return project.resource(ConfigurationGroup, obj), None


def _node(obj: project.Json) -> tuple[project.NodeSeen, None]:
    return project.node(obj), None


def _node_of(seen: project.Seen) -> Mark[str] | None:
    """Pods are found by their node."""
    fact = seen.fact
    if not seen.child.ours or not isinstance(fact, PodFact) or fact.node is None:
        return None
    return Mark(fact.node)


def _version(obj: project.Json) -> tuple[DatastoreVersion | None, None]:
    return project.resource(DatastoreVersion, obj), None


def _flavor(obj: project.Json) -> tuple[Flavor | None, None]:
    return project.resource(Flavor, obj), None


def _storage_class(obj: project.Json) -> tuple[StorageClassFact, None]:
    return project.storage_class(obj), None
