"""validate_instance and validate_datastore_version: one line per error, with a way out."""

from dataclasses import replace
from typing import Any

import pytest

from coffer_operator.plan.validate import validate_datastore_version, validate_instance
from coffer_operator.plan.world import Catalogue, StorageClassFact
from op_plan_worlds import catalogue, datastore_version, instance_obj


def reasons(errors: Any) -> list[str]:
    return [error.reason for error in errors]


def check(**spec: Any) -> list[str]:
    return reasons(validate_instance(instance_obj(**spec), catalogue(), None))


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"datastore": {"type": "oracle"}}, "UnknownDatastore", "choose one of mariadb, redis"),
    (
        {"datastore": {"type": "mariadb", "version": "9"}},
        "UnknownVersion",
        "choose 10.11",
    ),
    ({"flavor": "huge"}, "UnknownFlavor", "choose one of small, tiny"),
    (
        {"volume": {"size": "1Gi", "storageClassName": "gold"}},
        "UnknownStorageClass",
        "choose one of fast, slow",
    ),
    ({"volume": {"size": "512Mi"}}, "VolumeTooSmall", "at least 1Gi"),
    ({"volume": {"size": "ten"}}, "Invalid", "spec.volume.size"),
    ({"volume": {"size": "0"}}, "Invalid", "such as 10Gi"),
    ({"scheduling": {"nodeSelector": {"a b": "c"}}}, "InvalidNodeSelector", "'a b' is no label"),
    ({"scheduling": {"nodeSelector": {"/a": "c"}}}, "InvalidNodeSelector", "'/a' is no label"),
    ({"scheduling": {"nodeSelector": {"A.b/c": "c"}}}, "InvalidNodeSelector", "a DNS name and a /"),
    ({"scheduling": {"nodeSelector": {"disk": "s d"}}}, "InvalidNodeSelector", "label 'disk'"),
    ({"scheduling": {"nodeSelector": {"disk": "-"}}}, "InvalidNodeSelector", "at both ends"),
    ({"databases": [{"name": "a"}]}, "InvalidDatabaseName", "letters, digits, _ and -"),
    ({"databases": [{"name": "a/b"}]}, "InvalidDatabaseName", "choose another name"),
    ({"databases": [{"name": "MySQL"}]}, "InvalidDatabaseName", "belongs to the engine"),
    ({"databases": [{"name": "ab"}, {"name": "ab"}]}, "Duplicate", "once"),
    ({"users": [{"name": "a;b"}]}, "InvalidUserName", "at most 80 characters"),
    ({"users": [{"name": "ROOT"}]}, "InvalidUserName", "belongs to the engine"),
    ({"users": [{"name": "app"}, {"name": "app", "host": "%"}]}, "Duplicate", "once"),
    ({"users": [{"name": "app", "host": "a b"}]}, "InvalidHost", "an address"),
    (
        {"users": [{"name": "app", "databases": ["no"]}]},
        "UnknownDatabase",
        "not in spec.databases",
    ),
    (
        {"datastore": {"type": "redis"}, "databases": [{"name": "ab"}]},
        "DatabasesNotSupported",
        "leave the list out",
    ),
    (
        {"datastore": {"type": "redis"}, "users": [{"name": "app", "host": "10.0.0.1"}]},
        "HostsNotSupported",
        "leave the field out",
    ),
]


@pytest.mark.parametrize(("spec", "reason", "text"), REFUSED)
def test_what_is_refused(spec: dict[str, Any], reason: str, text: str) -> None:
    errors = validate_instance(instance_obj(**spec), catalogue(), None)
    assert reasons(errors) == [reason]
    assert text in errors[0].message
    assert "\n" not in errors[0].message


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"datastore": {"type": "redis"}, "volume": {"size": "256Mi"}},
        {"datastore": {"type": "redis"}, "users": [{"name": "app", "host": "%"}]},
        {"volume": {"size": "1Gi", "storageClassName": "slow"}},
        {"users": [{"name": "app"}, {"name": "app", "host": "10.1.%"}]},
        {"scheduling": {"nodeSelector": {"topology.kubernetes.io/zone": "a-1.b_C", "x": ""}}},
        {"databases": [{"name": "ab"}], "users": [{"name": "app", "databases": ["ab"]}]},
    ],
)
def test_what_is_allowed(spec: dict[str, Any]) -> None:
    assert check(**spec) == []


@pytest.mark.parametrize(
    "name", ["", "-a", "1a", "a" * 41, "a-rw", "a-ro", "A", "a.b", "a_b", "a-"]
)
def test_names_that_are_refused(name: str) -> None:
    errors = validate_instance(instance_obj(name), catalogue(), None)
    assert reasons(errors) == ["InvalidName"]


def test_all_errors_are_told_at_once() -> None:
    assert check(flavor="huge", volume={"size": "1Mi"}, users=[{"name": "root"}]) == [
        "UnknownFlavor",
        "VolumeTooSmall",
        "InvalidUserName",
    ]


def test_a_spec_that_is_no_spec_is_one_line() -> None:
    obj = instance_obj()
    del obj["spec"]["flavor"]
    (error,) = validate_instance(obj, catalogue(), None)
    assert error.reason == "Invalid"
    assert "flavor" in error.message
    assert "\n" not in error.message


# --- the catalogue's say -------------------------------------------------------------------------
def test_allowed_flavors_and_storage_classes() -> None:
    narrow = catalogue(datastore_version(flavors=["small"], storageClasses=["slow"]))
    errors = validate_instance(instance_obj(), narrow, None)
    assert reasons(errors) == ["FlavorNotAllowed", "StorageClassNotAllowed"]
    assert "choose small" in errors[0].message
    assert "fast" in errors[1].message, "the default class is the one that would be used"
    good = instance_obj(flavor="small", volume={"size": "1Gi", "storageClassName": "slow"})
    assert validate_instance(good, narrow, None) == []


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (None, []),
        ({}, ["UnknownStorageClass"]),
        ({"slow": StorageClassFact("slow", default=False)}, ["UnknownStorageClass"]),
        ({"fast": StorageClassFact("fast", default=True)}, []),
    ],
)
def test_no_storage_class_named(
    classes: dict[str, StorageClassFact] | None, expected: list[str]
) -> None:
    known = replace(catalogue(), storage_classes=classes)
    assert reasons(validate_instance(instance_obj(), known, None)) == expected


def test_a_named_storage_class_is_no_error_where_classes_cannot_be_read() -> None:
    obj = instance_obj(volume={"size": "1Gi", "storageClassName": "gold"})
    assert validate_instance(obj, replace(catalogue(), storage_classes=None), None) == []


def test_versions_that_are_not_active_or_not_default() -> None:
    none_active = catalogue(datastore_version(active=False))
    named = instance_obj(datastore={"type": "mariadb", "version": "10.11"})
    assert reasons(validate_instance(named, none_active, None)) == ["InactiveVersion"]
    assert reasons(validate_instance(instance_obj(), none_active, None)) == ["NoDefaultVersion"]
    two = catalogue(datastore_version(), datastore_version("mariadb-11.8"))
    (error,) = validate_instance(instance_obj(), two, None)
    assert error.reason == "AmbiguousVersion"
    assert "mariadb-10.11, mariadb-11.8" in error.message
    assert validate_instance(named, two, None) == []


def test_a_rule_that_is_no_expression_is_the_administrators_fault() -> None:
    broken = datastore_version(
        databaseNames={"pattern": "(", "allowed": "x", "maxLength": 64, "reserved": []}
    )
    obj = instance_obj(databases=[{"name": "ab"}])
    assert reasons(validate_instance(obj, catalogue(broken), None)) == ["InvalidCatalogue"]


def test_an_empty_catalogue_says_so() -> None:
    errors = validate_instance(instance_obj(), Catalogue({}, {}), None)
    assert reasons(errors) == ["UnknownDatastore", "UnknownFlavor"]
    assert "ask the administrator" in errors[0].message


# --- edits ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "edit",
    [
        {"datastore": {"type": "redis"}},
        {"datastore": {"type": "mariadb", "version": "10.6"}},
        {"volume": {"size": "2Gi"}},
        {"volume": {"size": "1Gi", "storageClassName": "slow"}},
    ],
)
def test_what_cannot_change(edit: dict[str, Any]) -> None:
    old = instance_obj(datastore={"type": "mariadb", "version": "10.11"})
    new = instance_obj(**({"datastore": {"type": "mariadb", "version": "10.11"}} | edit))
    known = catalogue(
        datastore_version(),
        datastore_version("mariadb-10.6", default=False),
        datastore_version("redis-7.0"),
    )
    assert reasons(validate_instance(new, known, old))[0] == "Immutable"


def test_the_same_size_in_other_words_is_no_change() -> None:
    new = instance_obj(volume={"size": "1024Mi"})
    assert validate_instance(new, catalogue(), instance_obj()) == []


def test_a_version_is_settled_by_status() -> None:
    old = instance_obj()
    old["status"] = {"datastore": {"type": "mariadb", "version": "10.11", "name": "mariadb-10.11"}}
    known = catalogue(datastore_version(active=False), datastore_version("mariadb-11.8"))
    assert validate_instance(instance_obj(flavor="small"), known, old) == []
    named = instance_obj(datastore={"type": "mariadb", "version": "11.8"})
    assert "Immutable" in reasons(validate_instance(named, known, old))


def test_a_flavor_may_stay_and_labels_are_never_held_back() -> None:
    narrow = catalogue(datastore_version(flavors=["small"]))
    changed = instance_obj(deletionPolicy="Delete")
    assert validate_instance(changed, narrow, instance_obj()) == []
    gone = replace(catalogue(), flavors={})
    labelled = instance_obj()
    labelled["metadata"]["labels"] = {"a": "b"}
    assert validate_instance(labelled, gone, instance_obj()) == []


def test_an_old_object_that_cannot_be_read_counts_as_none() -> None:
    assert validate_instance(instance_obj(), catalogue(), {"spec": 7}) == []


# --- DatastoreVersions ---------------------------------------------------------------------------
def version_obj(name: str, **spec: Any) -> dict[str, Any]:
    return datastore_version(name, **spec).model_dump(by_alias=True, mode="json")


def test_a_second_default_is_refused() -> None:
    (error,) = validate_datastore_version(version_obj("mariadb-11.8"), catalogue())
    assert error.reason == "SecondDefaultVersion"
    assert "mariadb-10.11" in error.message
    other = version_obj("mariadb-11.8", default=False)
    assert validate_datastore_version(other, catalogue()) == []
    assert validate_datastore_version(version_obj("mysql-9"), catalogue()) == []


def test_a_default_may_be_edited() -> None:
    same = version_obj("mariadb-10.11", image="new:2")
    assert validate_datastore_version(same, catalogue(), version_obj("mariadb-10.11")) == []
    two = catalogue(datastore_version(), datastore_version("mariadb-11.8"))
    assert validate_datastore_version(same, two, version_obj("mariadb-10.11")) == []


def test_a_version_is_there_once() -> None:
    twin = version_obj("mariadb-10.11", default=False)
    twin["metadata"]["name"] = "twin"
    assert reasons(validate_datastore_version(twin, catalogue())) == ["AmbiguousVersion"]


def test_a_datastore_version_that_is_none_is_one_line() -> None:
    (error,) = validate_datastore_version({"metadata": {"name": "x"}, "spec": {}}, catalogue())
    assert error.reason == "Invalid"
