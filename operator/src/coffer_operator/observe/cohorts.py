"""Who gets the same values: instances by ConfigurationGroup, or by DatastoreVersion without one.

Owns the index and what is kept of each member. A change of one member costs that member alone.
A cohort is known by a Key: of its group, or, without a namespace, of its DatastoreVersion.
"""

from collections.abc import Callable
from typing import Protocol

from coffer_common import naming
from coffer_common.resources.instance import DatabaseInstance
from coffer_common.wire import DataState
from coffer_operator.kube.api import Key
from coffer_operator.observe.store import Mark, Marks
from coffer_operator.plan.world import AgentFact, Member


class AgentFacts(Protocol):
    """The agents' words, as `observe.agents` has them."""

    def fact(self, key: Key) -> AgentFact | None: ...


class Cohorts:
    """All cohorts. `told` hears of each that has changed, with nothing said of what changed.

    `failing` says whether an instance's plans cannot be carried out. `marks` is the index of the
    store of instances; `member_changed` is to be called when an agent says something else of its
    configuration or its volume, begins or ceases to answer, and when `failing` changes.
    """

    def __init__(self, told: Callable[[Key], None], failing: Callable[[Key], bool]) -> None:
        self._told = told
        self._failing = failing
        self.marks: Marks[DatabaseInstance | None, Key] = Marks(_mark, self._moved)
        self._agents: AgentFacts | None = None
        self._members: dict[Key, Member] = {}
        self._cohorts: dict[Key, tuple[Member, ...]] = {}

    def follow(self, agents: AgentFacts) -> None:
        """Whose words count."""
        self._agents = agents

    def members(self, cohort: Key) -> tuple[Member, ...]:
        """The members of a cohort, by namespace and name."""
        known = self._cohorts.get(cohort)
        if known is None:
            found = sorted(self.marks[cohort].items())
            known = tuple(self._member(key, one) for key, one in found if one is not None)
            if known:
                self._cohorts[cohort] = known
        return known

    def cohort(self, key: Key, instance: DatabaseInstance) -> tuple[Member, ...]:
        """The members that get what the instance gets; at least itself."""
        name = cohort_of(instance)
        found = self.members(name) if name is not None else ()
        return found or (self._new_member(key, instance),)

    def member_changed(self, key: Key, instance: DatabaseInstance | None) -> None:
        """There are news of an instance that concern others."""
        self._members.pop(key, None)
        cohort = cohort_of(instance) if instance is not None else None
        if cohort is not None:
            self._cohorts.pop(cohort, None)
            self._told(cohort)

    def _moved(self, by: Key, ref: Key) -> None:
        self._members.pop(ref, None)
        self._cohorts.pop(by, None)
        self._told(by)

    def _member(self, key: Key, instance: DatabaseInstance) -> Member:
        member = self._members.get(key)
        if member is None:
            member = self._members[key] = self._new_member(key, instance)
        return member

    def _new_member(self, key: Key, instance: DatabaseInstance) -> Member:
        fact = self._agents.fact(key) if self._agents is not None else None
        if fact is not None and fact.status.instance_uid != instance.metadata.uid:
            fact = None  # a deleted namesake's
        return Member(
            namespace=key.namespace,
            name=key.name,
            role=instance.status.role,
            version_name=_version_name(instance),
            configuration=fact.status.configuration if fact is not None else None,
            reachable=fact is not None and fact.error is None,
            held=fact is not None and fact.status.data.state is not DataState.LAID_OUT,
            failing=self._failing(key),
        )


def cohort_of(instance: DatabaseInstance) -> Key | None:
    """The cohort of an instance; None for one that leaves, or whose version is not settled.

    Nor has a scratch instance any: the values of others are not tried on it, nor wait for it.
    """
    if instance.metadata.deletion_timestamp is not None:
        return None
    if instance.metadata.labels.get(naming.LABEL_SCRATCH) == "true":
        return None
    if instance.spec.configuration_ref is not None:
        return Key(instance.metadata.namespace or "", instance.spec.configuration_ref.name)
    version = _version_name(instance)
    return Key("", version) if version is not None else None


def _version_name(instance: DatabaseInstance) -> str | None:
    resolved = instance.status.datastore
    return resolved.name if resolved is not None else None


def _mark(instance: DatabaseInstance | None) -> Mark[Key] | None:
    cohort = cohort_of(instance) if instance is not None else None
    if instance is None or cohort is None:
        return None
    return Mark(cohort, (instance.metadata.uid, instance.status.role, _version_name(instance)))
