"""The definitions in a real API server: what it takes, refuses, prunes and shows."""

from collections.abc import Iterator
from typing import Any

import pytest

from e2e_kube import Object, Refused, Space
from e2e_manifests import API_VERSION, instance, operation

pytestmark = pytest.mark.e2e

NOWHERE = {"nodeSelector": {"coffer.dev/no-such-node": "true"}}  # nothing needs to run here


def dry_run(space: Space, obj: Object) -> Object:
    """The object as the API server would store it; Refused where it would not."""
    return space.kube.create(obj, space.name, dry=True)


def dry_patch(space: Space, kind: str, name: str, patch: Any) -> None:
    space.kube.patch(kind, name, space.name, patch, dry=True)


def users(*names: str) -> list[Object]:
    return [{"name": name} for name in names]


REFUSED: dict[str, tuple[Object, str]] = {
    "name too long": (instance("a" * 41), "at most 40 characters"),
    "name ends in -ro": (instance("db-ro"), "does not end in -rw or -ro"),
    "name starts with a digit": (instance("1db"), "starts with a letter"),
    "size is no quantity": (instance("db", volume={"size": "big"}), r"spec\.volume\.size"),
    "unknown policy": (instance("db", deletionPolicy="Keep"), "deletionPolicy"),
    "misspelt field": (instance("db", flavour="tiny"), 'unknown field "spec.flavour"'),
    "misspelt field below": (
        instance("db", volume={"size": "1Gi", "class": "x"}),
        r'unknown field "spec\.volume\.class"',
    ),
    "same database twice": (
        instance("db", databases=[{"name": "a"}, {"name": "a"}], users=[]),
        "Duplicate value",
    ),
    "same user twice": (instance("db", users=users("a", "b", "a")), "same user and host twice"),
    "same user and the default host": (
        instance("db", users=[{"name": "a"}, {"name": "a", "host": "%"}]),
        "same user and host twice",
    ),
    "database that is not listed": (
        instance("db", users=[{"name": "a", "databases": ["shop", "other"]}]),
        r"may only name databases of spec\.databases: other$",
    ),
    "too many databases": (
        instance("db", databases=[{"name": f"d{i}"} for i in range(65)], users=[]),
        "must have at most 64 items",
    ),
    "unknown operation": (operation("op", "db", "Explode"), "Unsupported value"),
    "time that is none": (
        {
            **operation("op", "db", "Restart"),
            "spec": {
                "instanceRef": {"name": "db"},
                "type": "Restart",
                "notAfter": "tomorrow",
            },
        },
        "notAfter",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(space: Space, what: str) -> None:
    obj, words = REFUSED[what]
    with pytest.raises(Refused, match=words):
        dry_run(space, obj)


def test_same_user_from_two_hosts_is_taken(space: Space) -> None:
    hosts = [{"name": "a", "host": "10.%"}, {"name": "a"}]
    assert dry_run(space, instance("db", users=hosts))["spec"]["users"] == hosts


def test_the_largest_spec_is_within_the_cost_of_the_rules(space: Space) -> None:
    databases = [f"{i:064d}" for i in range(64)]
    everybody = [{"name": f"{i:080d}", "host": "10.%", "databases": databases} for i in range(64)]
    big = instance("db", databases=[{"name": name} for name in databases], users=everybody)
    dry_run(space, big)


def test_no_default_is_written_into_the_spec(space: Space) -> None:
    wanted = instance("db")
    assert dry_run(space, wanted)["spec"] == wanted["spec"]


@pytest.fixture
def stored(space: Space) -> str:
    """An instance that stays unscheduled."""
    space.apply(instance("db", scheduling=NOWHERE, datastore={"type": "mariadb"}))
    return "db"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"datastore": {"type": "redis"}}, r"spec\.datastore\.type cannot change"),
        ({"volume": {"size": "2Gi"}}, r"spec\.volume\.size cannot change"),
        ({"volume": {"storageClassName": "x"}}, r"spec\.volume\.storageClassName cannot change"),
    ],
)
def test_what_cannot_change(space: Space, stored: str, spec: Object, words: str) -> None:
    with pytest.raises(Refused, match=words):
        dry_patch(space, "databaseinstance", stored, {"spec": spec})
    dry_patch(space, "databaseinstance", stored, {"spec": {"deletionPolicy": "Delete"}})


def test_an_operation_cannot_change(space: Space) -> None:
    space.apply(operation("op", "nobody", "Restart"))
    with pytest.raises(Refused, match="spec of an Operation cannot change"):
        dry_patch(space, "operation", "op", {"spec": {"type": "ResetStatus"}})


TAKEN: Object = {"instanceRef": {"name": "nobody"}}
ADOPTED: Object = {"path": "no-such/base/backup"}


@pytest.mark.parametrize(
    ("made", "change", "field"),
    [
        (TAKEN, {"type": "incremental"}, "type"),
        (TAKEN, {"strategy": "MySQLDump"}, "strategy"),
        (TAKEN, {"type": "incremental", "parentRef": {"name": "other"}}, "parentRef"),
        (TAKEN | {"strategy": "MySQLDump"}, {"databases": ["shop"]}, "databases"),
        (TAKEN | {"strategy": "MySQLDump"}, {"strategy": None}, "strategy"),
        (TAKEN, {"instanceRef": None, **ADOPTED}, "instanceRef"),
        (ADOPTED, {"path": "no-such/base/other"}, "path"),
        (ADOPTED, {"storageRef": {"name": "other"}}, "storageRef"),
    ],
)
def test_a_backup_cannot_become_another(
    space: Space, made: Object, change: Object, field: str
) -> None:
    spec = {"storageRef": {"name": "nowhere"}, **made}
    kind = {"apiVersion": API_VERSION, "kind": "Backup"}
    space.apply({**kind, "metadata": {"name": "made"}, "spec": spec})
    with pytest.raises(Refused, match=rf"spec\.{field} cannot change"):
        dry_patch(space, "backup", "made", {"spec": change})
    dry_patch(space, "backup", "made", {"spec": {"keep": True, "type": "full", "databases": []}})


@pytest.fixture
def version(space: Space) -> Iterator[str]:
    """A DatastoreVersion that nobody uses."""
    name = f"crd-{space.name}"
    space.kube.apply(
        {
            "apiVersion": API_VERSION,
            "kind": "DatastoreVersion",
            "metadata": {"name": name},
            "spec": {
                "datastore": "crd-test",
                "version": "1.0",
                "manager": "mariadb",
                "image": "example.test/none:1",
                "port": 1234,
                "active": False,
                "minVolumeSize": "1Gi",
            },
        }
    )
    yield name
    space.kube.delete("datastoreversion", name)


@pytest.mark.parametrize("field", ["datastore", "version", "manager"])
def test_identity_of_a_version_cannot_change(space: Space, version: str, field: str) -> None:
    with pytest.raises(Refused, match=rf"spec\.{field} cannot change"):
        dry_patch(space, "datastoreversion", version, {"spec": {field: "other"}})
    dry_patch(space, "datastoreversion", version, {"spec": {"image": "example.test/none:2"}})


@pytest.mark.parametrize(
    ("vcpus", "ram", "words"),
    [
        ("0", "1Gi", r"spec\.vcpus"),
        ("0.000", "1Gi", r"spec\.vcpus"),
        ("1.2345", "1Gi", r"spec\.vcpus"),
        ("1", "64Mi", r"spec\.ram must be at least 128Mi"),
        ("1", "lots", r"spec\.ram"),
    ],
)
def test_flavors_have_a_size(space: Space, vcpus: str, ram: str, words: str) -> None:
    flavor: Object = {
        "apiVersion": API_VERSION,
        "kind": "Flavor",
        "metadata": {"name": "crd-test"},
        "spec": {"vcpus": vcpus, "ram": ram},
    }
    with pytest.raises(Refused, match=words):
        dry_run(space, flavor)
    flavor["spec"] = {"vcpus": "0.05", "ram": "128Mi"}
    dry_run(space, flavor)


def test_the_category_shows_all_kinds(space: Space, stored: str) -> None:
    shown = space.kubectl("get", "coffer", "-o", "name")
    for kind in ("databaseinstance", "datastoreversion", "flavor"):
        assert f"{kind}.coffer.dev/" in shown
    table = space.kubectl("get", "dbi")
    for column in ("PHASE", "READY", "STATUS", "ROLE", "USED%", "AGE"):
        assert column in table.splitlines()[0]


def test_fields_are_explained(space: Space) -> None:
    text = space.kubectl("explain", "dbi.spec.volume.size")
    assert "Size of the data volume" in text
