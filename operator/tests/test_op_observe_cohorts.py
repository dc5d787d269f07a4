"""Who shares values: found by an index, told once for each change, and paid for by one member."""

import tracemalloc
from typing import Any

import pytest

from coffer_common import naming
from coffer_common.wire import (
    ConfigurationStatus,
    DataState,
    DataStatus,
    EngineState,
    EngineStatus,
    GuestStatus,
)
from coffer_operator.kube.api import INSTANCE, Key
from coffer_operator.observe.cache import Cache
from coffer_operator.plan.world import AgentFact
from op_plan_worlds import instance_obj

VERSION = {"type": "mariadb", "version": "10.11", "name": "mariadb-10.11"}


class Words:
    """What agents say."""

    def __init__(self) -> None:
        self.facts: dict[Key, AgentFact] = {}

    def fact(self, key: Key) -> AgentFact | None:
        return self.facts.get(key)

    def says(self, key: Key, accepted: str, state: DataState = DataState.LAID_OUT) -> None:
        status = GuestStatus(
            etag=accepted,
            agent_version="1",
            boot_id="b",
            instance_uid=f"uid-{key.name}",
            pod_uid="p",
            data=DataStatus(state=state),
            engine=EngineStatus(state=EngineState.RUNNING),
            configuration=ConfigurationStatus(accepted=accepted, live=accepted),
        )
        self.facts[key] = AgentFact(status, "p", 0.0)


class Subject:
    """A cache of instances, and which cohorts were told of."""

    def __init__(self) -> None:
        self.told: list[Key] = []
        self.woken: list[Key] = []
        self.cache = Cache(
            wake=self.woken.append,
            wake_cohort=self.told.append,
            pod_changed=lambda *_: None,
            clock=lambda: 0.0,
        )
        self.words = Words()
        self.cache.cohorts.follow(self.words)
        self._version = 0

    def saw(self, name: str, group: str | None = None, *, ours: bool = False, **more: Any) -> None:
        self._version += 1
        reference = {"configurationRef": {"name": group}} if group else {}
        obj = instance_obj(name, **reference)
        obj["metadata"] |= {"uid": f"uid-{name}", "resourceVersion": str(self._version)}
        obj["metadata"] |= more.pop("metadata", {})
        obj |= {"status": {"datastore": VERSION}} | more
        store = self.cache.store(INSTANCE)
        store.wrote(obj) if ours else store.saw(obj)

    def names(self, cohort: Key) -> list[str]:
        return [member.name for member in self.cache.cohorts.members(cohort)]


@pytest.fixture
def subject() -> Subject:
    return Subject()


GROUP = Key("prod", "tuned")
ALONE = Key("", "mariadb-10.11")


def test_a_cohort_is_those_that_name_a_group_or_a_versions_that_name_none(
    subject: Subject,
) -> None:
    for name, group in (("b", "tuned"), ("a", "tuned"), ("c", None), ("d", "other")):
        subject.saw(name, group)
    assert subject.names(GROUP) == ["a", "b"]
    assert subject.names(ALONE) == ["c"]
    subject.saw("e", status={})
    assert subject.names(ALONE) == ["c"], "its version is not settled"


def test_both_hear_of_one_that_changes_over(subject: Subject) -> None:
    subject.saw("a", "tuned")
    subject.told.clear()
    subject.saw("a", "other")
    assert set(subject.told) == {GROUP, Key("prod", "other")}
    assert subject.names(GROUP) == []


def test_what_changes_nothing_for_others_is_not_told(subject: Subject) -> None:
    subject.saw("a", "tuned")
    subject.told.clear()
    subject.saw("a", "tuned", metadata={"labels": {"x": "y"}})
    assert subject.told == []


def test_our_own_writes_are_told_too(subject: Subject) -> None:
    """Their effect on others is known to nobody else."""
    subject.saw("a", "tuned", status={})
    subject.told.clear()
    subject.saw("a", "tuned", ours=True)
    assert subject.told == [GROUP]
    [member] = subject.cache.cohorts.members(GROUP)
    assert member.version_name == "mariadb-10.11"


def test_news_of_one_member_leave_the_others_as_they_are(subject: Subject) -> None:
    names = [f"db-{number:03}" for number in range(50)]
    for name in names:
        subject.saw(name, "tuned")
    before = subject.cache.cohorts.members(GROUP)
    assert subject.cache.cohorts.members(GROUP) is before
    key = Key("prod", names[7])
    subject.words.says(key, "h")
    subject.told.clear()
    subject.cache.member_changed(key)
    after = subject.cache.cohorts.members(GROUP)
    assert subject.told == [GROUP]
    changed = [new.name for old, new in zip(before, after, strict=True) if new is not old]
    assert changed == [names[7]]


def test_one_that_is_laid_out_no_more_is_not_waited_for(subject: Subject) -> None:
    subject.saw("a", "tuned")
    key = Key("prod", "a")
    for state, held in ((DataState.LAID_OUT, False), (DataState.LOST, True)):
        subject.words.says(key, "h", state)
        subject.cache.member_changed(key)
        [member] = subject.cache.cohorts.members(GROUP)
        assert member.held is held


def test_a_new_instance_under_the_name_has_no_former_words(subject: Subject) -> None:
    subject.saw("a", "tuned")
    subject.words.says(Key("prod", "a"), "h")
    subject.cache.member_changed(Key("prod", "a"))
    subject.saw("a", "tuned", metadata={"uid": "another"})
    [member] = subject.cache.cohorts.members(GROUP)
    assert (member.configuration, member.reachable) == (None, False)


def test_a_thousand_instances_share_one_cohort(subject: Subject) -> None:
    for number in range(1000):
        subject.saw(f"db-{number:04}")
    known = subject.cache.cohorts.members(ALONE)
    tracemalloc.start()
    instances = [subject.cache.instance(Key("prod", f"db-{n:04}")) for n in range(1000)]
    found = [
        subject.cache.cohorts.cohort(Key("prod", f"db-{n:04}"), instance)
        for n, instance in enumerate(instances)
        if instance is not None
    ]
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert all(cohort is known for cohort in found)
    assert most_bytes < 100_000, "nobody has a copy of his own"


def test_a_scratch_instance_gets_values_alone(subject: Subject) -> None:
    subject.saw("a")
    subject.saw("verify-monday", metadata={"labels": {naming.LABEL_SCRATCH: "true"}})
    assert subject.names(ALONE) == ["a"]
    key = Key("prod", "verify-monday")
    scratch = subject.cache.instance(key)
    assert scratch is not None
    [member] = subject.cache.cohorts.cohort(key, scratch)
    assert member.name == "verify-monday"
