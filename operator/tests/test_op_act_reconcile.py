"""From a plan to what the API server holds: applied once, repaired, never taken over, told."""

from typing import Any

import pytest

from coffer_operator.kube.api import (
    ENDPOINT_SLICE,
    INSTANCE,
    POD,
    PVC,
    SECRET,
    SERVICE,
)
from coffer_operator.plan.model import (
    Annotate,
    Apply,
    Delete,
    EmptySlice,
    FillSlice,
    IssueCertificate,
    Plan,
)
from coffer_operator.plan.world import World
from op_stage import KEY, LABELS, NS, Stage, always, service, status, told

pytestmark = [pytest.mark.looptime, pytest.mark.simulation]


@pytest.fixture
async def stage() -> Stage:
    return Stage()


# --- objects
async def test_what_is_as_wanted_causes_no_request(stage: Stage) -> None:
    async with stage.running(always(Plan(apply=(Apply(service()),)))):
        assert stage.requests.count("apply Service shop") == 1
        before = list(stage.requests)
        await stage.settle(4 * 3600)
        assert stage.requests == before
        assert len(stage.worlds) > 10


async def test_the_next_plan_knows_what_was_just_applied(stage: Stage) -> None:
    stage.faults.deaf = True
    async with stage.running(always(Plan(apply=(Apply(service()),)))):
        assert stage.requests.count("apply Service shop") == 1
        assert await stage.look() == []
        assert stage.worlds[-1].children["Service", "shop"].ours


async def test_a_hand_edited_child_is_repaired(stage: Stage) -> None:
    async with stage.running(always(Plan(apply=(Apply(service()),)))):
        patch = {"spec": {"selector": {"app": "elsewhere"}}}
        stage.server.patch(SERVICE, NS, "shop", patch, manager="kubectl")
        await stage.settle()
        assert stage.server.get(SERVICE, NS, "shop")["spec"]["selector"] == {"app": "shop"}


async def test_a_deleted_child_is_made_again(stage: Stage) -> None:
    async with stage.running(always(Plan(apply=(Apply(service()),)))):
        stage.server.delete(SERVICE, NS, "shop")
        await stage.settle()
        assert stage.server.get(SERVICE, NS, "shop")


async def test_an_object_of_another_is_never_taken_over(stage: Stage) -> None:
    theirs = service(port=80)
    theirs["metadata"]["labels"] = {"app": "theirs"}
    stage.write(SERVICE, theirs)

    def planner(world: World) -> Plan:
        return Plan(apply=(Apply(service()),), status=status(world))

    async with stage.running(planner):
        assert stage.server.get(SERVICE, NS, "shop")["spec"]["ports"][0]["port"] == 80
        assert "NameTaken: the Service shop exists and is not this instance's" in told(stage)
        child = stage.worlds[-1].children["Service", "shop"]
        assert not child.ours
        stage.server.delete(SERVICE, NS, "shop")
        await stage.settle(700)
        assert stage.server.get(SERVICE, NS, "shop")["spec"]["ports"][0]["port"] == 3306
        assert told(stage) == "fine"


async def test_one_that_is_ours_after_all_is_adopted(stage: Stage) -> None:
    """An apply of before got through, and neither its answer nor its event came."""
    wanted: list[Apply] = []
    async with stage.running(lambda _: Plan(apply=tuple(wanted))):
        stage.faults.deaf = True
        stage.server.apply(SERVICE, service())
        wanted.append(Apply(service(1)))
        requests = await stage.look()
        assert requests == ["apply Service shop", "get Service shop", "apply Service shop"]
        assert stage.server.get(SERVICE, NS, "shop")["spec"]["ports"][0]["port"] == 1


async def test_create_only_leaves_what_is_there(stage: Stage) -> None:
    stage.server.apply(SERVICE, service())
    async with stage.running(always(Plan(apply=(Apply(service(1), create_only=True),)))):
        assert stage.server.get(SERVICE, NS, "shop")["spec"]["ports"][0]["port"] == 3306


def claim() -> dict[str, Any]:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {"metadata": {"name": "shop-data", "namespace": NS}, "spec": spec}


def adopt(world: World) -> Plan:
    volume = world.volume
    if volume is None or volume.ours:
        return Plan()
    annotations = {"coffer.dev/data-id": "data-1"}
    kind = "PersistentVolumeClaim"
    return Plan(annotate=(Annotate(kind, volume.name, volume.uid, annotations, labels=LABELS),))


async def test_a_claim_without_its_labels_is_not_taken_for_gone(stage: Stage) -> None:
    status = {"status": {"dataId": "data-1"}}
    stage.server.patch(INSTANCE, NS, "shop", status, subresource="status", manager="t")
    stage.write(PVC, claim())
    async with stage.running(adopt):
        assert stage.worlds[0].volume is not None
        assert not stage.worlds[0].volume.ours
        await stage.look()
        assert stage.requests.count("get PersistentVolumeClaim shop-data") == 1
        assert stage.requests.count("patch PersistentVolumeClaim shop-data") == 1, "adopted once"
        volume = stage.worlds[-1].volume
        assert volume is not None
        assert volume.ours


async def test_only_the_very_object_is_deleted(stage: Stage) -> None:
    live = stage.server.apply(SERVICE, service())
    uid = live["metadata"]["uid"]

    def planner(world: World) -> Plan:
        child = world.children.get(("Service", "shop"))
        return Plan(deletes=(Delete("Service", "shop", "another", "test"),)) if child else Plan()

    async with stage.running(planner):
        assert stage.server.get(SERVICE, NS, "shop")["metadata"]["uid"] == uid


async def test_a_certificate_is_made_without_a_question_and_known_at_once(stage: Stage) -> None:
    def planner(world: World) -> Plan:
        return Plan(certificate=None if world.certificate else IssueCertificate("shop"))

    async with stage.running(planner):
        assert stage.worlds[0].certificate_known
        assert stage.server.get(SECRET, NS, "shop-agent-tls")["type"] == "kubernetes.io/tls"
        await stage.look()
        assert stage.worlds[-1].certificate is not None
        assert stage.requests == ["apply Secret shop-agent-tls"]


async def test_a_certificate_that_is_there_is_not_made_again(stage: Stage) -> None:
    """The operator died before it could tell of anything."""

    def planner(world: World) -> Plan:
        return Plan(certificate=None if world.certificate else IssueCertificate("shop"))

    async with stage.running(planner):
        before = stage.server.get(SECRET, NS, "shop-agent-tls")["data"]
    async with stage.running(planner):
        assert stage.server.get(SECRET, NS, "shop-agent-tls")["data"] == before


async def test_a_certificate_that_a_starting_pod_misses_is_made_again(stage: Stage) -> None:
    def planner(world: World) -> Plan:
        return Plan(certificate=None if world.certificate else IssueCertificate("shop"))

    stage.make_pod()
    async with stage.running(planner):
        stage.server.delete(SECRET, NS, "shop-agent-tls")
        await stage.settle(130)
        assert stage.server.get(SECRET, NS, "shop-agent-tls")


async def test_a_deleted_namesakes_certificate_is_looked_at_until_it_is_gone(stage: Stage) -> None:
    def planner(world: World) -> Plan:
        if ("Secret", "shop-agent-tls") in world.children:
            return Plan(requeue_after_s=1.0)
        return Plan(certificate=None if world.certificate else IssueCertificate("shop"))

    stage.make_pod()
    async with stage.running(planner):
        old = stage.server.get(SECRET, NS, "shop-agent-tls")
        stage.remake_instance()
        await stage.settle(3)
        assert stage.server.get(SECRET, NS, "shop-agent-tls") == old
        stage.server.delete(SECRET, NS, "shop-agent-tls")
        await stage.settle(3)
        new = stage.server.get(SECRET, NS, "shop-agent-tls")
        assert new["metadata"]["ownerReferences"] != old["metadata"]["ownerReferences"]


async def test_nothing_is_written_for_an_instance_that_is_gone_unseen(stage: Stage) -> None:
    wanted: list[Apply] = []
    async with stage.running(lambda _: Plan(apply=tuple(wanted))):
        stage.faults.deaf = True
        stage.server.delete(INSTANCE, NS, "shop")
        await stage.settle(100)
        wanted.append(Apply(service()))
        requests = await stage.look()
        assert requests == ["get DatabaseInstance shop"]
        assert stage.engine.cache.instance(KEY) is None


async def test_nothing_is_written_while_another_may_be_active(stage: Stage) -> None:
    wanted: list[Apply] = []
    async with stage.running(lambda _: Plan(apply=tuple(wanted))):
        stage.engine.active.clear()
        wanted.append(Apply(service()))
        assert await stage.look(60) == []
        stage.engine.active.set()
        await stage.settle()
        assert stage.server.get(SERVICE, NS, "shop")


# --- endpoints
def make_slice(stage: Stage) -> str:
    obj = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "shop-rw",
            "namespace": NS,
            "labels": LABELS | {"endpointslice.kubernetes.io/managed-by": "coffer.dev"},
        },
        "addressType": "IPv4",
    }
    return str(stage.server.apply(ENDPOINT_SLICE, obj)["metadata"]["resourceVersion"])


async def test_a_slice_is_filled_and_emptied_on_its_very_version(stage: Stage) -> None:
    version = make_slice(stage)
    steps: list[FillSlice | EmptySlice] = [
        FillSlice("shop-rw", version, "10.0.0.9", "shop-0", "pod-uid", "n1", 3306),
        EmptySlice("shop-rw", version),  # too old by then
    ]

    def planner(_: World) -> Plan:
        return Plan(slices=(steps.pop(0),) if steps else ())

    async with stage.running(planner):
        await stage.look(2)
        found = stage.server.get(ENDPOINT_SLICE, NS, "shop-rw")
        assert found["endpoints"][0]["addresses"] == ["10.0.0.9"]
        assert found["endpoints"][0]["targetRef"]["uid"] == "pod-uid"
        fact = stage.worlds[-1].read_write
        assert fact is not None
        assert fact.target_pod_uid == "pod-uid"
        steps.append(EmptySlice("shop-rw", fact.resource_version))
        await stage.look()
        assert not stage.server.get(ENDPOINT_SLICE, NS, "shop-rw").get("endpoints")


async def test_a_slice_is_not_emptied_while_its_pod_is_there(stage: Stage) -> None:
    """The cache of pods may be behind: the pod itself is asked for."""
    version = make_slice(stage)
    stage.server.create(
        POD,
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "shop-0", "namespace": NS},
            "spec": {"containers": [{"name": "database", "image": "x"}]},
        },
    )
    found = stage.server.get(POD, NS, "shop-0")
    uid = found["metadata"]["uid"]
    stage.server.replace(
        POD, {**found, "status": {**found["status"], "phase": "Running", "podIP": "10.0.0.9"}}
    )
    steps: list[FillSlice | EmptySlice] = [
        FillSlice("shop-rw", version, "10.0.0.9", "shop-0", uid, "n1", 3306)
    ]

    def planner(_: World) -> Plan:
        return Plan(slices=(steps.pop(0),) if steps else ())

    async with stage.running(planner):
        await stage.look(2)
        fact = stage.worlds[-1].read_write
        assert fact is not None
        steps.append(EmptySlice("shop-rw", fact.resource_version))
        await stage.look()
        found = stage.server.get(ENDPOINT_SLICE, NS, "shop-rw")
        assert found["endpoints"][0]["addresses"] == ["10.0.0.9"]
