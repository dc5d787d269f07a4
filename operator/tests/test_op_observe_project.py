"""What is kept of each object."""

from datetime import UTC, datetime
from typing import Any

import pytest

from coffer_common.resources.instance import DatabaseInstance
from coffer_operator.kube.api import Key
from coffer_operator.observe import project
from coffer_operator.plan.world import (
    ContainerFact,
    PodFact,
    SliceFact,
    StatefulSetFact,
    VolumeFact,
)

LABELS = {"app.kubernetes.io/managed-by": "coffer", "coffer.dev/instance": "shop"}


def metadata(**fields: Any) -> dict[str, Any]:
    return {
        "name": "x",
        "namespace": "prod",
        "uid": "u",
        "resourceVersion": "7",
        "labels": LABELS,
    } | fields


def fact(kind: str, obj: dict[str, Any]) -> Any:
    return project.child(kind, obj)[0].fact


def test_a_child_is_its_instances() -> None:
    seen, owner = project.child("Service", {"metadata": metadata()})
    assert owner == Key("prod", "shop")
    assert seen.child.ours
    assert (seen.child.kind, seen.child.name, seen.child.uid) == ("Service", "x", "u")


@pytest.mark.parametrize("labels", [None, {}, {"coffer.dev/instance": "shop"}, {"a": "b"}])
def test_without_our_labels_it_is_nobodys(labels: dict[str, str] | None) -> None:
    seen, owner = project.child("Service", {"metadata": metadata(labels=labels)})
    assert owner is None
    assert not seen.child.ours


def test_only_our_annotations_and_the_controller_are_kept() -> None:
    owners = [{"uid": "other"}, {"uid": "mine", "controller": True}]
    seen, _ = project.child(
        "Service",
        {
            "metadata": metadata(
                annotations={"coffer.dev/data-id": "d", "kubectl.kubernetes.io/x": "y"},
                ownerReferences=owners,
                deletionTimestamp="2026-01-01T00:00:00Z",
            )
        },
    )
    assert seen.child.annotations == {"coffer.dev/data-id": "d"}
    assert seen.child.owner_uid == "mine"
    assert seen.child.deleting


def test_a_stateful_set() -> None:
    obj = {
        "metadata": metadata(generation=3),
        "spec": {
            "replicas": 1,
            "template": {"metadata": {"annotations": {"coffer.dev/template-hash": "h"}}},
        },
        "status": {"observedGeneration": 2},
    }
    assert fact("StatefulSet", obj) == StatefulSetFact(3, 2, 1, "h")


def pod(**status: Any) -> dict[str, Any]:
    return {
        "metadata": metadata(creationTimestamp="2026-01-01T00:00:00Z"),
        "spec": {"nodeName": "n1"},
        "status": {"phase": "Running", "podIP": "10.0.0.9"} | status,
    }


def test_a_pod() -> None:
    found: PodFact = fact(
        "Pod",
        pod(
            conditions=[{"type": "Ready", "status": "True"}],
            containerStatuses=[{"name": "database", "ready": True, "state": {"running": {}}}],
            initContainerStatuses=[
                {
                    "name": "guest",
                    "ready": False,
                    "restartCount": 2,
                    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
                    "lastState": {"terminated": {"exitCode": 137}},
                }
            ],
        ),
    )
    assert (found.ip, found.node, found.ready, found.phase) == ("10.0.0.9", "n1", True, "Running")
    assert found.created_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert found.database == ContainerFact("database", running=True, ready=True, restarts=0)
    assert found.guest == ContainerFact(
        "guest",
        running=False,
        ready=False,
        restarts=2,
        waiting_reason="CrashLoopBackOff",
        waiting_message="back-off",
        last_exit="signal 9",
    )


@pytest.mark.parametrize(
    ("terminated", "text"),
    [
        ({"exitCode": 1, "reason": "Error"}, "exit 1"),
        ({"exitCode": 139}, "signal 11"),
        ({"exitCode": 137, "reason": "OOMKilled"}, "OOMKilled"),
        ({"exitCode": 0, "signal": 15}, "signal 15"),
        ({"exitCode": 0}, "exit 0"),
    ],
)
def test_how_a_container_ended(terminated: dict[str, Any], text: str) -> None:
    state = {"terminated": terminated}
    found = fact("Pod", pod(containerStatuses=[{"name": "database", "state": state}]))
    assert found.database.last_exit == text


def test_a_pod_that_no_node_takes() -> None:
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/1 nodes are available",
    }
    assert fact("Pod", pod(conditions=[condition])).unschedulable == "0/1 nodes are available"
    assert fact("Pod", pod()).unschedulable is None


def test_a_volume() -> None:
    obj = {
        "metadata": metadata(
            annotations={
                "coffer.dev/data-id": "d",
                "coffer.dev/datastore-version": "mariadb-10.11",
                "coffer.dev/group": "shop",
                "coffer.dev/role": "standalone",
            },
            ownerReferences=[{"uid": "o"}],
        ),
        "spec": {"storageClassName": "fast"},
        "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}},
    }
    assert fact("PersistentVolumeClaim", obj) == VolumeFact(
        name="x",
        uid="u",
        bound=True,
        deleting=False,
        lost=False,
        size_bytes=1024**3,
        storage_class="fast",
        data_id="d",
        datastore_version="mariadb-10.11",
        group="shop",
        role="standalone",
        ours=True,
        owner_uids=("o",),
    )


def test_a_slice_with_and_without_endpoints() -> None:
    empty = {"metadata": metadata(), "endpoints": None}
    assert fact("EndpointSlice", empty) == SliceFact((), None, 0, "7")
    full = {
        "metadata": metadata(annotations={"coffer.dev/epoch": "4"}),
        "endpoints": [{"addresses": ["10.0.0.9"], "targetRef": {"uid": "p"}}],
    }
    assert fact("EndpointSlice", full) == SliceFact(("10.0.0.9",), "p", 4, "7")


def test_an_unreadable_object_is_left_out_and_named(caplog: pytest.LogCaptureFixture) -> None:
    assert project.resource(DatabaseInstance, {"metadata": {"name": "odd"}, "spec": {}}) is None
    assert "odd is not readable: spec.datastore" in caplog.text


def test_the_default_storage_class() -> None:
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"}
    assert project.storage_class({"metadata": {"name": "a", "annotations": annotations}}).default
    assert not project.storage_class({"metadata": {"name": "b"}}).default
