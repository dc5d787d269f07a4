"""A cluster for each test process, Coffer installed in it by its chart, a namespace for each test.

KEEP=1 leaves the cluster up; the next run begins by taking it down.
"""

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest

from coffer_cluster.api import Api
from coffer_cluster.cluster import Cluster
from coffer_cluster.target import Kind
from coffer_cluster.target import Target as Wanted
from coffer_demo.install import Installed, install, reach
from coffer_demo.progress import Steps
from coffer_demo.target import Target
from e2e_kube import Kube, KubectlError, Space, wait_until

TAG = f"e2e{os.environ.get('PYTEST_XDIST_WORKER', '')}"  # each process has a cluster of its own
WEBHOOK = ("validatingwebhookconfiguration", "coffer")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The embedded cluster of the tests, new."""
    made = Cluster(TAG)
    made.down()
    made.up()
    try:
        yield made
    finally:
        if os.environ.get("KEEP") != "1":
            made.down()


@pytest.fixture(scope="session")
def target(cluster: Cluster) -> Target:
    return reach(Wanted(Kind.EMBEDDED, TAG, str(cluster.kubeconfig)), Steps())[0]


@pytest.fixture(scope="session")
def installed(cluster: Cluster, target: Target) -> Installed:
    """Coffer, from this tree's images and chart, with the chart's own ServiceAccount."""
    wanted = Wanted(Kind.EMBEDDED, TAG, str(cluster.kubeconfig))
    return install(target, wanted, Steps())


@pytest.fixture(scope="session")
def kube(cluster: Cluster, target: Target, installed: Installed) -> Kube:
    return Kube(target.kubectl, target.kubeconfig, Api.direct(cluster.layout))


@pytest.fixture
def space(kube: Kube, request: pytest.FixtureRequest) -> Iterator[Space]:
    """A namespace of the test's own; what is in it is printed when the test fails."""
    with own_namespace(kube, request) as made:
        yield made


@pytest.fixture(scope="module")
def shared_space(kube: Kube, request: pytest.FixtureRequest) -> Iterator[Space]:
    """A namespace of all tests of a module, for what is too slow to be made for each."""
    with own_namespace(kube, request) as made:
        yield made


@contextmanager
def own_namespace(kube: Kube, request: pytest.FixtureRequest) -> Iterator[Space]:
    made = Space(kube, f"t-{secrets.token_hex(4)}")
    kube.run("create", "namespace", made.name)
    failed_before = request.session.testsfailed
    try:
        yield made
    finally:
        if request.session.testsfailed > failed_before:
            describe(made)
        kube.run("delete", "namespace", made.name, "--ignore-not-found", "--wait=false")


def describe(space: Space) -> None:
    """Print the story of a namespace: objects, events, logs."""
    looks = [
        ("get", "dbi,dbop,dbs,dbb,sts,pods,pvc,services,endpointslices", "-o", "wide"),
        ("get", "dbi,dbop,dbs,dbb", "-o", "yaml"),
        ("get", "events", "--sort-by=.lastTimestamp"),
        ("logs", "-l", "coffer.dev/instance", "--all-containers", "--prefix", "--tail=60"),
    ]
    for look in looks:
        print(f"--- kubectl {' '.join(look)}")
        try:
            print(space.kube.run(*look, "-n", space.name))
        except KubectlError as error:
            print(error)
    print("--- operator")
    selector = "app.kubernetes.io/component=operator"
    print(space.kube.run("logs", "-n", "coffer-system", "-l", selector, "--tail=80"))


def patch_webhook(kube: Kube, patch: str) -> None:
    kube.run("patch", *WEBHOOK, "--type=json", f"-p={patch}")


@pytest.fixture
def strict_webhook(kube: Kube) -> Iterator[None]:
    """failurePolicy Fail, so that a refusal cannot be missed, and an answer cannot be skipped."""
    with webhook_must_answer(kube):
        yield


@pytest.fixture(scope="module")
def module_strict_webhook(kube: Kube) -> Iterator[None]:
    """The same for all tests of a module that come after the first that asks for it."""
    with webhook_must_answer(kube):
        yield


@contextmanager
def webhook_must_answer(kube: Kube) -> Iterator[None]:
    set_policy = '[{{"op":"replace","path":"/webhooks/{}/failurePolicy","value":"{}"}}]'
    count = len(kube.get("webhook", WEBHOOK[1], "")["webhooks"])  # type: ignore[index] # it is installed
    for i in range(count):
        patch_webhook(kube, set_policy.format(i, "Fail"))
    wait_until("the webhook refuses", lambda: "denied the request" in _objection(kube))
    try:
        yield
    finally:
        for i in range(count):
            patch_webhook(kube, set_policy.format(i, "Ignore"))


@pytest.fixture
def no_webhook(kube: Kube) -> Iterator[None]:
    """A webhook that is asked about no namespace: the condition has to say it all."""
    found = kube.get("webhook", WEBHOOK[1], "")
    assert found is not None
    nowhere = '{"matchLabels":{"coffer.dev/nowhere":"true"}}'
    paths = [f"/webhooks/{i}/namespaceSelector" for i in range(len(found["webhooks"]))]
    patches = ",".join(f'{{"op":"add","path":"{p}","value":{nowhere}}}' for p in paths)
    patch_webhook(kube, f"[{patches}]")
    wait_until("the API server knows", lambda: not _objection(kube))
    try:
        yield
    finally:
        clears = ",".join(f'{{"op":"replace","path":"{p}","value":{{}}}}' for p in paths)
        patch_webhook(kube, f"[{clears}]")


def _objection(kube: Kube) -> str:
    """What is said, in a dry run, to a manifest that the webhook refuses: "" where it is taken."""
    probe = (
        '{"apiVersion":"coffer.dev/v1alpha1","kind":"DatabaseInstance",'
        '"metadata":{"name":"probe","namespace":"default"},"spec":{"datastore":'
        '{"type":"none"},"flavor":"none","volume":{"size":"1Gi"}}}'
    )
    try:
        kube.run("apply", "--dry-run=server", "-f", "-", stdin=probe)
    except KubectlError as error:
        return str(error)
    return ""


@pytest.fixture
def fatal_parameter(kube: Kube) -> Iterator[str]:
    """A parameter that the administrator allows by mistake: the server does not start with it."""
    name = "no_such_option"
    patch_catalogue(kube, {"parameters": [{"name": name, "type": "string"}]})
    try:
        yield name
    finally:
        patch_catalogue(kube, {"parameters": None})


def patch_catalogue(kube: Kube, spec: Mapping[str, object]) -> None:
    """A merge patch of the default MariaDB's entry."""
    patch = json.dumps({"spec": spec})
    kube.run("patch", "datastoreversion", "mariadb-10.11", "--type=merge", f"-p={patch}")
