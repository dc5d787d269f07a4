"""Strategies for Worlds: facts that fit together, and facts that do not."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from coffer_common.wire import DataState, DataStatus, EngineState, EngineStatus, GuestStatus
from coffer_operator.plan.world import (
    ActFailure,
    AgentFact,
    Child,
    ContainerFact,
    PodFact,
    SliceFact,
    StatefulSetFact,
    World,
)
from op_plan_cluster import ready_world, retained_volume
from op_plan_groups import MEMBERS, SAID, groups
from op_plan_worlds import (
    NOW,
    RULES,
    UID,
    catalogue,
    datastore_version,
    edited,
    operation,
    with_status,
)

MAYBE = st.booleans()


def present_pod() -> PodFact:
    pod = ready_world().pod
    assert pod is not None
    return pod


PRESENT_POD = present_pod()
HASHES = st.sampled_from([None, "old", PRESENT_POD.template_hash])
DATA_IDS = st.sampled_from([None, "data-1", "data-2"])
TIMES = st.sampled_from([None, NOW, NOW - timedelta(hours=2), NOW + timedelta(hours=2)])
TEXTS = st.sampled_from(
    [None, "", "2026-11-22T11:00:00Z", "9999-12-31T23:59:59Z", "soon", "0001-01-01T00:00:00+14:00"]
)
PHASES = st.sampled_from(["Pending", "Running", "Succeeded", "Failed", "Unknown"])

CONTAINERS = st.none() | st.builds(
    ContainerFact,
    name=st.just("database"),
    running=MAYBE,
    ready=MAYBE,
    restarts=st.integers(0, 3),
    waiting_reason=st.sampled_from([None, "CrashLoopBackOff", "ImagePullBackOff", "Creating"]),
    waiting_message=st.sampled_from([None, "a\nb"]),
    last_exit=st.sampled_from([None, "signal 9"]),
)
PODS = st.none() | st.builds(
    PodFact,
    name=st.just("shop-0"),
    uid=st.sampled_from(["pod-1", "pod-2"]),
    phase=PHASES,
    ip=st.sampled_from([None, "10.0.0.7", "10.0.0.8"]),
    node=st.sampled_from([None, "node-1"]),
    ready=MAYBE,
    deleting=MAYBE,
    template_hash=HASHES,
    unschedulable=st.sampled_from([None, "no node"]),
    guest=CONTAINERS,
    database=CONTAINERS,
    created_at=TIMES,
)
VOLUMES = st.none() | st.builds(
    retained_volume,
    bound=MAYBE,
    deleting=MAYBE,
    lost=MAYBE,
    size_bytes=st.sampled_from([None, 1024**3]),
    data_id=DATA_IDS,
    datastore_version=st.sampled_from([None, "mariadb-10.11", "redis-7.0", "gone-1"]),
    group=st.sampled_from([None, "shop", "other"]),
    role=st.sampled_from([None, "standalone", "nonsense"]),
    ours=MAYBE,
    owner_uids=st.sampled_from([(), (UID,), ("stranger",)]),
)
STATUSES = st.builds(
    GuestStatus,
    etag=st.just("1"),
    agent_version=st.just("1"),
    boot_id=st.just("b"),
    instance_uid=st.sampled_from([UID, "before"]),
    pod_uid=st.sampled_from(["pod-1", "pod-2"]),
    data=st.builds(
        DataStatus,
        state=st.sampled_from(DataState),
        data_id=DATA_IDS,
        size_bytes=st.sampled_from([None, 0, 1000]),
        used_bytes=st.sampled_from([None, 0, 999, 10**6]),
    ),
    engine=st.builds(
        EngineStatus,
        state=st.sampled_from(EngineState),
        restarts=st.integers(0, 3),
        last_exit=st.sampled_from([None, "signal 9"]),
        restarted_for=st.sampled_from([None, "uid-op"]),
    ),
    configuration=st.none() | SAID,
    databases=st.sampled_from([None, (), ("shop",)]),
    users=st.sampled_from([None, (), ("app@%",)]),
)
AGENTS = st.none() | st.builds(
    AgentFact,
    status=STATUSES,
    pod_uid=st.sampled_from(["pod-1", "pod-2"]),
    age_s=st.floats(0, 10**6),
    error=st.sampled_from([None, "refused"]),
)
OPERATIONS = st.lists(
    st.builds(
        lambda kind, phase, step, started, deadline, finished, late, ttl: operation(
            kind=kind,
            status={
                "phase": phase,
                "step": step,
                "startedAt": started,
                "deadline": deadline,
                "finishedAt": finished,
            },
            notAfter=late,
            ttlSecondsAfterFinished=ttl,
        ),
        st.sampled_from(["Restart", "ResetStatus"]),
        st.sampled_from([None, "New", "Running", "Completed", "Failed", "Expired"]),
        st.sampled_from([None, "RestartEngine", "ReplacePod", "Reset", "Unheard"]),
        TEXTS,
        TEXTS,
        TEXTS,
        TEXTS,
        st.sampled_from([None, 0, 60, 10**12]),
    ),
    max_size=2,
)
SPECS = st.fixed_dictionaries(
    {},
    optional={
        "flavor": st.sampled_from(["tiny", "small", "huge"]),
        "datastore": st.sampled_from([{"type": "redis"}, {"type": "mariadb", "version": "9"}]),
        "databases": st.sampled_from([[{"name": "shop"}], [{"name": "mysql"}]]),
        "users": st.sampled_from([[{"name": "app"}], [{"name": "root"}]]),
        "volume": st.sampled_from([{"size": "1Gi"}, {"size": "1"}, {"size": "0"}]),
        "deletionPolicy": st.sampled_from(["Retain", "Delete"]),
        "configurationRef": st.just({"name": "conf"}),
        "maintenance": st.builds(
            lambda zone, start, length, auto: {
                "window": {"start": start, "duration": length, "timeZone": zone},
                "autoRestart": auto,
            },
            st.sampled_from(["UTC", "Asia/Tokyo", "Nowhere"]),
            st.sampled_from(["00:00", "13:30"]),
            st.sampled_from(["24h", "5m", "99h"]),
            st.booleans(),
        ),
    },
)
GOOD_SPECS = st.fixed_dictionaries(
    {},
    optional={
        "flavor": st.sampled_from(["tiny", "small"]),
        "databases": st.just([{"name": "shop"}, {"name": "logs"}]),
        "users": st.just([{"name": "app"}, {"name": "app", "host": "10.%"}]),
        "deletionPolicy": st.sampled_from(["Retain", "Delete"]),
    },
)
FORMER: st.SearchStrategy[dict[str, Any] | None] = st.none() | st.builds(
    lambda phase, data_id, ready, since, group, name, report: {
        "phase": phase,
        "dataId": data_id,
        "group": group,
        "datastore": {"type": "mariadb", "version": "10.11", "name": name} if name else None,
        "conditions": [
            {
                "type": kind,
                "status": ready,
                "reason": "X",
                "message": "x",
                "lastTransitionTime": since or "",
            }
            for kind in (
                *("Ready", "Available", "VolumeHealthy", "RestartRequired"),
                "ConfigurationApplied",
            )
        ],
        "volume": {"size": "1Gi", "usedPercent": 3},
        "configuration": report,
    },
    st.sampled_from([None, "Building", "Active", "Error", "RestartRequired", "Restarting"]),
    DATA_IDS,
    st.sampled_from(["True", "False", "Unknown"]),
    TEXTS,
    st.sampled_from([None, "shop", "other"]),
    st.sampled_from([None, "mariadb-10.11", "gone-1"]),
    st.sampled_from([None, {"hash": "h1", "group": "conf", "pendingRestart": ["port"]}]),
)
CATALOGUES = st.sampled_from(
    [
        catalogue(),
        catalogue(datastore_version(active=False, default=False)),
        catalogue(
            datastore_version(
                databaseNames={**{"pattern": "(", "allowed": "x"}, "maxLength": 9, "reserved": []}
            )
        ),
        replace(catalogue(), flavors={}, storage_classes=None),
        replace(catalogue(datastore_version(defaultValues={"wait_timeout": 9})), rules={}),
        replace(
            catalogue(datastore_version(defaultValues={"wait_timeout": 9, "port": 3311})),
            rules={"mariadb-10.11": RULES},
        ),
    ]
)


def service(**fields: Any) -> dict[tuple[str, str], Child]:
    plain = Child("Service", "shop", "u", "1", "d", ours=True)
    return {("Service", "shop"): replace(plain, **fields)}


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Any World at all: facts that fit together, and facts that do not."""
    base = edited(ready_world(), **draw(SPECS))
    subject = with_status(base, draw(FORMER)) if draw(MAYBE) else base
    facts: dict[str, Any] = {
        "pod": PODS,
        "volume": VOLUMES,
        "agent": AGENTS,
        "catalogue": CATALOGUES,
        "children": st.sampled_from(
            [
                {},
                subject.children,
                service(ours=False),
                service(deleting=True),
                service(owner_uid="stranger"),
            ]
        ),
        "stateful_set": st.none()
        | st.builds(StatefulSetFact, st.integers(1, 2), st.integers(0, 2), st.just(1), HASHES),
        "read_write": st.none()
        | st.builds(
            SliceFact,
            st.sampled_from([(), ("10.0.0.7",), ("10.0.0.8", "10.0.0.7")]),
            st.sampled_from([None, "pod-1", "pod-2"]),
            st.just(1),
            st.just("5"),
        ),
        "certificate": st.sampled_from([None, subject.certificate]),
        "certificate_known": MAYBE,
        "ca_fingerprint": st.sampled_from(["", "ca1", "ca2"]),
        "node_ready": st.sampled_from([None, True, False]),
        "operations": OPERATIONS.map(tuple),
        "failure": st.none()
        | st.builds(ActFailure, st.just("s"), st.just("R"), st.just("m"), MAYBE, st.just(NOW)),
        "ensured_users": st.just(frozenset()),
        "configuration_group": st.none() | groups(),
        "cohort": MEMBERS,
        "namespace_terminating": st.sampled_from([False, False, False, True]),
    }
    chosen = draw(st.sets(st.sampled_from(sorted(facts)), min_size=1))
    return replace(subject, **{name: draw(facts[name]) for name in sorted(chosen)})


def volume_was_there(subject: World) -> bool:
    """Any sign in the World that data have been laid out for this very instance."""
    agent, pod = subject.agent, subject.pod
    told = (
        agent is not None
        and pod is not None
        and agent.pod_uid == pod.uid == agent.status.pod_uid
        and agent.status.instance_uid == UID
        and agent.status.data.state is DataState.LAID_OUT
    )
    return subject.instance.status.data_id is not None or subject.volume is not None or told
