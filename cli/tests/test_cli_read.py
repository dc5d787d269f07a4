"""list, show, datastores, flavors, version: what they print, in every format."""

import json

import pytest
import yaml

from cli_fake_api import FakeApi, status
from cli_objects import (
    DATASTORES,
    DEPLOYMENTS,
    EVENTS,
    FLAVORS,
    INSTANCES,
    OPERATIONS,
    Run,
    building_status,
    instance,
)


@pytest.fixture
def three(api: FakeApi) -> None:
    for name in ("orders", "blog", "cache"):
        api.put(f"{INSTANCES}/{name}", instance(name))
    api.put(f"{INSTANCES}/cache", instance("cache") | {"status": {}})
    elsewhere = INSTANCES.replace("/shop/", "/other/")
    api.put(f"{elsewhere}/orders", instance(namespace="other"))


@pytest.mark.usefixtures("three")
def test_list_as_kubectl_prints(run: Run) -> None:
    done = run("list")
    assert done.exit_code == 0
    lines = [line.rsplit("   ", 1)[0].rstrip() for line in done.stdout.splitlines()]  # ages go on
    assert lines == [
        "NAME     DATASTORE       FLAVOR   PHASE     READY     ROLE         VOLUME   USED",
        "blog     mariadb:10.11   small    Active    True      standalone   10Gi     15%",
        "cache    mariadb         small    Pending   Unknown   <none>       10Gi     <none>",
        "orders   mariadb:10.11   small    Active    True      standalone   10Gi     15%",
    ]
    assert done.stdout.splitlines()[0].endswith("   AGE")


@pytest.mark.usefixtures("three")
def test_list_of_all_namespaces(run: Run) -> None:
    done = run("list", "-A", "-o", "wide")
    assert done.exit_code == 0
    header, *rows = done.stdout.splitlines()
    assert header.startswith("NAMESPACE   NAME")
    assert header.split()[-3:] == ["AGE", "HOST", "STATUS"]
    assert [row.split()[:2] for row in rows] == [
        ["other", "orders"],
        ["shop", "blog"],
        ["shop", "cache"],
        ["shop", "orders"],
    ]


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    "arguments",
    [("list", "-n", "other"), ("-n", "other", "list"), ("-n", "x", "list", "-n", "other")],
)
def test_options_of_the_cluster_stand_anywhere(run: Run, arguments: tuple[str, ...]) -> None:
    done = run(*arguments, "-o", "name")
    assert done.stdout == "databaseinstance.coffer.dev/orders\n"


@pytest.mark.usefixtures("three")
def test_lists_as_documents(run: Run) -> None:
    as_json, as_yaml = run("list", "-o", "json").stdout, run("list", "-o", "yaml").stdout
    document = json.loads(as_json)
    assert document == yaml.safe_load(as_yaml)
    assert document["kind"] == "List"
    assert [item["kind"] for item in document["items"]] == ["DatabaseInstance"] * 3
    assert "managedFields" not in as_json


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("list",), "No resources found in shop namespace.\n"),
        (("list", "-n", "x"), "No resources found in x namespace.\n"),
        (("list", "-A"), "No resources found.\n"),
        (("datastores",), "No resources found.\n"),
    ],
)
def test_nothing_to_list(run: Run, arguments: tuple[str, ...], text: str) -> None:
    done = run(*arguments)
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", text)


def test_show_tells_all_there_is(run: Run, api: FakeApi) -> None:
    made = api.put(f"{INSTANCES}/orders", instance())
    operation = {
        "metadata": {"name": "orders-restart-1"},
        "spec": {"instanceRef": {"name": "orders"}, "type": "Restart"},
        "status": {"phase": "Failed", "message": "engine did not stop"},
    }
    api.put(f"{OPERATIONS}/orders-restart-1", operation)
    other = operation | {"spec": {"instanceRef": {"name": "blog"}, "type": "Restart"}}
    api.put(f"{OPERATIONS}/other", other | {"metadata": {"name": "other"}})
    event = {
        "involvedObject": {"uid": made["metadata"]["uid"]},
        "metadata": {"name": "e"},
        "type": "Warning",
        "reason": "EngineDied",
        "message": "signal 9",
    }
    api.put(f"{EVENTS}/e", event)
    text = run("show", "orders").stdout
    for part in (
        "Name:                 orders\n",
        "Datastore:            mariadb:10.11\n",
        "Ready:                True, serving\n",
        "Host:                 orders-rw.shop.svc:3306\n",
        "Volume:               10Gi, 1.5GiB used (15%)\n",
        "Deletion policy:      Retain\n",
        "  app    %      shop        orders-app\n",
        "  Available   True     Because",
        "  orders-restart-1   Restart   Failed",
        "  Warning   EngineDied",
    ):
        assert part in text
    assert "other" not in text


def test_show_of_an_instance_on_its_way(run: Run, api: FakeApi) -> None:
    going = building_status("waits for the volume") | {
        "operation": {
            "type": "Restart",
            "name": "r",
            "step": "StopEngine",
            "startedAt": "2026-01-01T00:00:00Z",
            "deadline": "2026-01-01T00:05:00Z",
        }
    }
    api.put(f"{INSTANCES}/orders", instance() | {"status": going})
    text = run("show", "orders").stdout
    assert "Ready:                False, waits for the volume\n" in text
    assert "Operation:            Restart (r): StopEngine, given up at 2026-01-01T00:05:00Z" in text


def test_show_goes_on_where_the_surroundings_may_not_be_read(run: Run, api: FakeApi) -> None:
    api.put(f"{INSTANCES}/orders", instance())
    for path in (EVENTS, OPERATIONS):
        api.refuse("GET", path, status(403, "Forbidden", "not you"))
    done = run("show", "orders")
    assert done.exit_code == 0
    assert done.stdout.count("(not permitted to read them)") == 2


@pytest.mark.parametrize("form", ["json", "yaml", "name"])
def test_show_as_a_document(run: Run, api: FakeApi, form: str) -> None:
    api.put(f"{INSTANCES}/orders", instance())
    text = run("show", "orders", "-o", form).stdout
    if form == "name":
        assert text == "databaseinstance.coffer.dev/orders\n"
    else:
        document = json.loads(text) if form == "json" else yaml.safe_load(text)
        assert document["spec"]["flavor"] == "small"
        assert "managedFields" not in document["metadata"]


def test_the_catalogue(run: Run, api: FakeApi) -> None:
    spec = {"datastore": "redis", "version": "7.0", "default": True, "image": "img", "port": 6379}
    api.put(f"{DATASTORES}/redis-7.0", {"metadata": {"name": "redis-7.0"}, "spec": spec})
    old = {**spec, "version": "6.0", "default": False, "active": False, "flavors": ["tiny"]}
    api.put(f"{DATASTORES}/redis-6.0", {"metadata": {"name": "redis-6.0"}, "spec": old})
    header, *rows = run("datastores").stdout.splitlines()
    assert header.split()[:5] == ["NAME", "DATASTORE", "VERSION", "DEFAULT", "ACTIVE"]
    assert rows[0].split()[:5] == ["redis-6.0", "redis", "6.0", "false", "false"]
    assert rows[1].split()[:5] == ["redis-7.0", "redis", "7.0", "true", "true"]
    wide = run("datastores", "-o", "wide").stdout.splitlines()
    assert [row.split()[-2:] for row in wide[1:]] == [["tiny", "img"], ["<all>", "img"]]


def test_flavors_grow(run: Run, api: FakeApi) -> None:
    for name, ram in (("tiny", "512Mi"), ("large", "8Gi"), ("small", "1Gi"), ("odd", "?")):
        api.put(
            f"{FLAVORS}/{name}", {"metadata": {"name": name}, "spec": {"vcpus": "1", "ram": ram}}
        )
    rows = run("flavors").stdout.splitlines()[1:]
    assert [row.split()[0] for row in rows] == ["odd", "tiny", "small", "large"]


def _serve_versions(api: FakeApi) -> None:
    api.objects["/version"] = {"gitVersion": "v1.34.4"}
    api.objects["/apis/coffer.dev"] = {"versions": [{"groupVersion": "coffer.dev/v1alpha1"}]}
    labels = {
        "app.kubernetes.io/name": "coffer",
        "app.kubernetes.io/component": "operator",
        "app.kubernetes.io/version": "0.1.0",
    }
    deployment = {
        "metadata": {"name": "coffer", "namespace": "coffer-system", "labels": labels},
        "spec": {"replicas": 2, "template": {"spec": {"containers": [{"image": "op:1"}]}}},
        "status": {"readyReplicas": 1},
    }
    api.put(f"{DEPLOYMENTS}/coffer", deployment)


def test_version_of_everything(run: Run, api: FakeApi) -> None:
    _serve_versions(api)
    text = run("version").stdout
    assert "Client:      0.1.0 (coffer.dev/v1alpha1)" in text
    assert "Operator:    0.1.0 (image op:1, 1/2 ready in namespace coffer-system)" in text
    assert "API:         coffer.dev/v1alpha1" in text
    assert "Kubernetes:  v1.34.4" in text
    document = json.loads(run("version", "-o", "json").stdout)
    assert document["operator"][0]["image"] == "op:1"


def test_version_where_coffer_is_not_installed(run: Run, api: FakeApi) -> None:
    api.objects["/version"] = {"gitVersion": "v1.34.4"}
    api.refuse("GET", "/apis/apps/v1/deployments", status(403, "Forbidden", "no"))
    done = run("version")
    assert done.exit_code == 0
    assert "unknown: not permitted to list deployments" in done.stdout
    assert "coffer.dev is not served: Coffer is not installed" in done.stdout


def test_version_of_the_client_asks_nobody(run: Run, api: FakeApi) -> None:
    assert run("version", "--client").exit_code == 0
    assert api.requests == []
