"""Bad input: one clear line at kubectl apply, and the same line in the condition without it."""

from typing import Any

import pytest

from e2e_kube import Object, Refused, Space, condition, wait_until
from e2e_manifests import instance

pytestmark = pytest.mark.e2e

BAD: dict[str, tuple[Object, str]] = {
    "datastore": (instance("db", datastore={"type": "oracle"}), "oracle"),
    "version": (instance("db", datastore={"type": "mariadb", "version": "5.5"}), r"5\.5"),
    "flavor": (instance("db", flavor="huge"), "huge"),
    "storage class": (
        instance("db", volume={"size": "1Gi", "storageClassName": "gold"}),
        "gold",
    ),
    "volume size": (instance("db", volume={"size": "10Mi"}), "1Gi"),
    "database name": (instance("db", databases=[{"name": "mysql"}], users=[]), "mysql"),
    "user name": (instance("db", users=[{"name": "root"}]), "root"),
    "redis databases": (instance("db", "redis", databases=[{"name": "shop"}]), "database"),
    "user's database": (
        instance("db", users=[{"name": "app", "databases": ["other"]}]),
        "other",
    ),
    "instance name": (instance("db-rw"), "-rw"),
}


@pytest.mark.parametrize("what", BAD)
def test_apply_says_what_is_wrong(space: Space, strict_webhook: None, what: str) -> None:
    manifest, words = BAD[what]
    with pytest.raises(Refused, match=words) as refused:
        space.kubectl_apply(manifest)
    lines = [line for line in str(refused.value).splitlines() if line.strip()]
    assert len(lines) == 1 or "is invalid" in lines[0], lines
    assert space.instance("db") is None


@pytest.mark.parametrize(
    "what", ["datastore", "version", "flavor", "storage class", "volume size", "user name"]
)
def test_condition_says_it_without_the_webhook(space: Space, no_webhook: None, what: str) -> None:
    manifest, words = BAD[what]
    space.apply(manifest)
    stalled = wait_until(
        "Stalled",
        lambda: (
            condition(space.instance("db"), "Stalled").get("status") == "True"
            and condition(space.instance("db"), "Stalled")
        ),
    )
    assert words.replace("\\", "") in stalled["message"]
    assert "\n" not in stalled["message"]
    for kind in ("pod", "statefulset", "persistentvolumeclaim"):
        assert space.kube.items(kind, space.name) == [], kind


def test_datastore_of_an_instance_cannot_change(space: Space) -> None:
    space.kubectl_apply(instance("db"))
    with pytest.raises(Refused, match="datastore"):
        space.kubectl_apply(instance("db", datastore={"type": "redis"}, databases=[], users=[]))


def taken(kind: str, name: str, spec: dict[str, Any]) -> Object:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def test_service_of_somebody_else_is_not_taken_over(space: Space, no_webhook: None) -> None:
    space.apply(taken("Service", "db-rw", {"ports": [{"port": 80}], "selector": {"a": "b"}}))
    space.apply(instance("db"))
    message = space.wait_stalled("db", "NameTaken")
    assert "db-rw" in message
    assert space.kube.items("pod", space.name) == []
    found = space.get("service", "db-rw")
    assert found is not None
    assert found["spec"]["selector"] == {"a": "b"}

    space.delete_wait("service", "db-rw")
    space.wait_ready("db", timeout_s=120)


def test_a_name_that_is_taken_is_refused_at_apply(space: Space, strict_webhook: None) -> None:
    space.apply(taken("Service", "db-ro", {"ports": [{"port": 80}]}))
    with pytest.raises(Refused, match="the Service db-ro exists") as refused:
        space.kubectl_apply(instance("db"))
    assert len([line for line in str(refused.value).splitlines() if line.strip()]) == 1
    assert space.instance("db") is None


def test_invalid_edit_leaves_the_instance_running(space: Space, no_webhook: None) -> None:
    space.kubectl_apply(instance("db"))
    ready = space.wait_ready("db")
    space.kubectl_apply(instance("db", users=[{"name": "root"}]))
    message = space.wait_stalled("db", "InvalidUserName")
    assert "root" in message
    obj = space.instance("db")
    assert obj is not None
    assert obj["status"]["phase"] == "Active"
    assert condition(obj, "Available")["status"] == "True"
    assert condition(obj, "Ready")["status"] == "False"
    assert obj["status"]["observedGeneration"] > ready["status"]["observedGeneration"]


def test_unschedulable_pod_starts_when_its_flavor_is_corrected(space: Space) -> None:
    space.kube.apply(
        {
            "apiVersion": "coffer.dev/v1alpha1",
            "kind": "Flavor",
            "metadata": {"name": "monster"},
            "spec": {"vcpus": "1", "ram": "900Gi"},
        }
    )
    space.apply(instance("db", flavor="monster"))
    wait_until(
        "the reason is shown",
        lambda: "memory" in condition(space.instance("db"), "Ready").get("message", ""),
    )
    space.apply(instance("db"))
    space.wait_ready("db", timeout_s=120)
