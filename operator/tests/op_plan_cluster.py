"""A pure stand-in for cluster, kubelet and agent.

`advance` carries a plan out on a World at once and without faults; `kubelet` moves the pod one step
further. What can go wrong in between is the simulation's matter.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any

from coffer_common import naming
from coffer_common.resources.operation import Operation
from coffer_common.wire import (
    ConfigurationRequest,
    ConfigurationStatus,
    DataState,
    DataStatus,
    EngineAction,
    EngineState,
    EngineStatus,
    GuestStatus,
)
from coffer_operator.build.digest import digest
from coffer_operator.plan.instance import plan_instance
from coffer_operator.plan.model import (
    Call,
    EmptySlice,
    EngineCall,
    EnsureDatabase,
    EnsureUser,
    FillSlice,
    Plan,
    PutConfiguration,
)
from coffer_operator.plan.values import wanted_port
from coffer_operator.plan.world import (
    AgentFact,
    CertificateFact,
    Child,
    ContainerFact,
    PodFact,
    SliceFact,
    StatefulSetFact,
    VolumeFact,
    World,
)
from op_plan_worlds import GIB, datastore_version, instance, with_status, world

Planner = Callable[[World], Plan]


def advance(before: World, plan: Plan) -> World:
    """The World after the plan was carried out, and the pod after kubelet's next step."""
    after = _delete(before, plan)
    if plan.certificate is not None:
        after = replace(
            after,
            certificate=CertificateFact(
                not_before=after.now,
                not_after=after.now + timedelta(days=30),
                ca_fingerprint=after.ca_fingerprint,
                checksum="c",
            ),
        )
    for item in plan.apply:
        after = _apply(after, dict(item.obj))
    for note in plan.annotate:
        after = _annotate(after, note.annotations, note.owner_references, bool(note.labels))
    for patch in plan.slices:
        after = _slice(after, patch)
    for call in plan.calls:
        after = _call(after, call)
    if plan.status is not None:
        after = with_status(after, plan.status)
    statuses = {patch.name: patch.status for patch in plan.operations}
    kept = [o for o in after.operations if o.metadata.name not in plan.expired_operations]
    operations = [
        Operation.model_validate(
            o.model_dump(by_alias=True, mode="json") | {"status": statuses[o.metadata.name]}
        )
        if o.metadata.name in statuses
        else o
        for o in kept
    ]
    return replace(after, operations=tuple(operations))


def kubelet(before: World) -> World:
    """Pod and agent one step further: made, running, laid out, serving, ready."""
    pod = before.pod
    if pod is None:
        return _new_pod(before) if before.stateful_set and before.volume else before
    if pod.phase == "Pending" and pod.unschedulable is None and before.volume:
        return _start_pod(before, pod)
    agent = before.agent
    if agent is None or agent.pod_uid != pod.uid:
        return _first_answer(before, pod)
    if agent.status.engine.state is EngineState.STARTING:
        engine = agent.status.engine.model_copy(update={"state": EngineState.RUNNING})
        status = agent.status
        return with_agent(
            before, engine=engine, databases=status.databases or (), users=status.users or ()
        )
    return replace(before, pod=replace(pod, ready=True))


def settle_down(before: World, planner: Planner, steps: int = 8) -> World:
    """Plans, cluster and kubelet in turn until nothing is written any more."""
    after = before
    for _ in range(steps):
        plan = planner(after)
        after = kubelet(advance(after, plan))
    return after


def with_agent(before: World, **fields: Any) -> World:
    """The agent's status with other fields."""
    agent = before.agent
    assert agent is not None
    etag = str(int(agent.status.etag) + 1)
    status = agent.status.model_copy(update=fields | {"etag": etag})
    return replace(before, agent=replace(agent, status=status))


def with_engine(before: World, state: EngineState, **fields: Any) -> World:
    assert before.agent is not None
    engine = before.agent.status.engine.model_copy(update={"state": state} | fields)
    return with_agent(before, engine=engine)


def with_data(before: World, state: DataState, **fields: Any) -> World:
    assert before.agent is not None
    data = before.agent.status.data.model_copy(update={"state": state} | fields)
    return with_agent(before, data=data)


def silent(before: World, error: str = "connection refused") -> World:
    assert before.agent is not None
    return replace(before, agent=replace(before.agent, error=error, age_s=60.0))


def _delete(before: World, plan: Plan) -> World:
    after = before
    for item in plan.deletes:
        if item.kind == "Pod":
            after = replace(after, pod=None)
        else:
            rest = {k: v for k, v in after.children.items() if k != (item.kind, item.name)}
            after = replace(after, children=rest, stateful_set=None, pod=None)
    return after


def _apply(before: World, obj: dict[str, Any]) -> World:
    kind, metadata = obj["kind"], obj["metadata"]
    key = (kind, metadata["name"])
    old = before.children.get(key)
    owners = metadata.get("ownerReferences", [])
    child = Child(
        kind=kind,
        name=metadata["name"],
        uid=old.uid if old else f"uid-{kind}-{metadata['name']}",
        resource_version=str(int(old.resource_version) + 1 if old else 10),
        digest=digest(obj),
        ours=True,
        annotations=metadata.get("annotations", {}) | _mounted(obj),
        owner_uid=owners[0]["uid"] if owners else None,
    )
    after = replace(before, children={**before.children, key: child})
    if kind == "StatefulSet":
        template_hash = obj["spec"]["template"]["metadata"]["annotations"][
            naming.ANNOTATION_TEMPLATE_HASH
        ]
        generation = before.stateful_set.generation + 1 if before.stateful_set else 1
        after = replace(
            after, stateful_set=StatefulSetFact(generation, generation, 1, template_hash)
        )
    if kind == "EndpointSlice" and before.read_write is None:
        after = replace(after, read_write=SliceFact((), None, 0, "1"))
    if kind == "PersistentVolumeClaim" and before.volume is None:
        after = replace(after, volume=_volume(obj))
    return after


_MOUNTED = "configuration"  # stands for the contents of the ConfigMap, which a Child has not


def _mounted(obj: dict[str, Any]) -> dict[str, str]:
    if obj["kind"] != "ConfigMap":
        return {}
    request = json.loads(obj["data"]["instance.json"]).get("configuration")
    return {_MOUNTED: json.dumps(request)} if request else {}


def _volume(obj: dict[str, Any]) -> VolumeFact:
    metadata = obj["metadata"]
    annotations = metadata.get("annotations", {})
    return VolumeFact(
        name=metadata["name"],
        uid="uid-pvc",
        bound=False,
        deleting=False,
        lost=False,
        size_bytes=None,
        storage_class="fast",
        data_id=annotations.get(naming.ANNOTATION_DATA_ID),
        datastore_version=annotations.get(naming.ANNOTATION_RESOLVED),
        group=annotations.get(naming.ANNOTATION_GROUP),
        role=annotations.get(naming.ANNOTATION_ROLE),
        ours=True,
        owner_uids=tuple(o["uid"] for o in metadata.get("ownerReferences", [])),
    )


def _annotate(before: World, annotations: Mapping[str, str], owners: Any, adopts: bool) -> World:
    assert before.volume is not None
    volume = replace(
        before.volume,
        data_id=annotations.get(naming.ANNOTATION_DATA_ID, before.volume.data_id),
        group=annotations.get(naming.ANNOTATION_GROUP, before.volume.group),
        role=annotations.get(naming.ANNOTATION_ROLE, before.volume.role),
        datastore_version=annotations.get(
            naming.ANNOTATION_RESOLVED, before.volume.datastore_version
        ),
        ours=before.volume.ours or adopts,
        owner_uids=(
            tuple(o["uid"] for o in owners) if owners is not None else before.volume.owner_uids
        ),
    )
    return replace(before, volume=volume)


def _slice(before: World, patch: EmptySlice | FillSlice) -> World:
    assert before.read_write is not None
    version = str(int(before.read_write.resource_version) + 1)
    if isinstance(patch, EmptySlice):
        return replace(before, read_write=SliceFact((), None, 1, version))
    return replace(before, read_write=SliceFact((patch.address,), patch.pod_uid, 1, version))


def take(before: World, request: ConfigurationRequest) -> World:
    """The agent and its engine work off a request at once; the static values are left pending."""
    assert before.agent is not None
    port = before.agent.status.configuration.port if before.agent.status.configuration else None
    changed = set(request.restart_required) if port is not None else set()
    return with_agent(
        before,
        configuration=ConfigurationStatus(
            accepted=request.hash,
            live=request.hash,
            pending_restart=tuple(sorted(changed)),
            port=port or wanted_port(request, datastore_version()),
        ),
    )


def restarted(before: World, port: int | None = None) -> World:
    """The engine runs with what was pending."""
    assert before.agent is not None
    said = before.agent.status.configuration
    if said is None:
        return before
    changes = {"pending_restart": ()} | ({"port": port} if port else {})
    return with_agent(before, configuration=said.model_copy(update=changes))


def _call(before: World, call: Call) -> World:
    assert before.agent is not None
    status = before.agent.status
    match call:
        case PutConfiguration(request):
            return take(before, request)
        case EngineCall(EngineAction.RESTART, token):
            return with_engine(restarted(before), EngineState.STARTING, restarted_for=token)
        case EngineCall():
            crashed = status.engine.state is EngineState.CRASH_LOOP
            state = EngineState.STARTING if crashed else status.engine.state
            return with_engine(before, state, restarts=0, last_exit=None)
        case EnsureDatabase(name):
            return with_agent(before, databases=(*(status.databases or ()), name))
        case EnsureUser(name, host):
            known = status.users or ()
            listed = known if f"{name}@{host}" in known else (*known, f"{name}@{host}")
            after = with_agent(before, users=listed)
            return replace(after, ensured_users=after.ensured_users | {call.key})
    raise AssertionError(call)


def _new_pod(before: World) -> World:
    assert before.stateful_set is not None
    number = int(before.now.timestamp())
    pod = PodFact(
        name=naming.pod(before.instance.metadata.name),
        uid=f"pod-{number}",
        phase="Pending",
        ip=None,
        node=None,
        ready=False,
        deleting=False,
        template_hash=before.stateful_set.template_hash,
        unschedulable=None,
        guest=None,
        database=None,
        created_at=before.now,
    )
    return replace(before, pod=pod)


def _start_pod(before: World, pod: PodFact) -> World:
    assert before.volume is not None
    running = replace(
        pod,
        phase="Running",
        ip="10.0.0.7",
        node="node-1",
        guest=ContainerFact("guest", running=True, ready=True, restarts=0),
        database=ContainerFact("database", running=True, ready=False, restarts=0),
    )
    volume = replace(before.volume, bound=True, size_bytes=GIB)
    return replace(before, pod=running, volume=volume, node_ready=True)


def _first_answer(before: World, pod: PodFact) -> World:
    assert before.volume is not None
    status = GuestStatus(
        etag="1",
        agent_version="0.1.0",
        boot_id="boot",
        instance_uid=before.instance.metadata.uid,
        pod_uid=pod.uid,
        data=DataStatus(
            state=DataState.LAID_OUT,
            data_id=before.volume.data_id or "data-1",
            size_bytes=GIB,
            used_bytes=GIB * 105 // 1000,
        ),
        engine=EngineStatus(state=EngineState.STARTING, version="10.11.6", pid=7),
        databases=before.agent.status.databases if before.agent else None,
        users=before.agent.status.users if before.agent else None,
        configuration=_first_configuration(before),
    )
    after = replace(before, agent=AgentFact(status=status, pod_uid=pod.uid, age_s=0.1))
    # The agent writes its address at its start.
    slice_fact = SliceFact((pod.ip or "",), pod.uid, 1, "2")
    return replace(after, read_write=slice_fact if before.read_write else None)


def _first_configuration(before: World) -> ConfigurationStatus:
    """What the volume has, else what is mounted, else nothing: then the template counts."""
    kept = before.agent.status.configuration if before.agent else None
    if kept is not None:
        return kept.model_copy(update={"pending_restart": ()})
    child = before.children.get(("ConfigMap", "shop-agent"))
    mounted = child.annotations.get(_MOUNTED) if child is not None else None
    if mounted is None:
        return ConfigurationStatus(port=3306)
    request = ConfigurationRequest.model_validate_json(mounted)
    port = wanted_port(request, datastore_version())
    return ConfigurationStatus(accepted=request.hash, live=request.hash, port=port)


APP: dict[str, Any] = {
    "databases": [{"name": "shop", "characterSet": "utf8mb4"}],
    "users": [{"name": "app", "databases": ["shop"]}],
}


@cache
def ready_world() -> World:
    """A converged instance with a database and a user; immutable, so made once."""
    return settle_down(world(instance(**APP)), plan_instance, 8)


def retained_volume(**fields: Any) -> VolumeFact:
    plain = VolumeFact(
        name="shop-data",
        uid="uid-pvc",
        bound=True,
        deleting=False,
        lost=False,
        size_bytes=1024**3,
        storage_class="fast",
        data_id="data-old",
        datastore_version="mariadb-10.11",
        group="shop",
        role="standalone",
        ours=True,
    )
    return replace(plain, **fields)
