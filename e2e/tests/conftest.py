"""A cluster for each test process, Coffer installed in it by its chart, a namespace for each test.

KEEP=1 leaves the cluster up; the next run begins by taking it down.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from coffer_cluster.api import Api
from coffer_cluster.cluster import Cluster
from coffer_cluster.target import Kind
from coffer_cluster.target import Target as Wanted
from coffer_demo.install import Installed, install, reach
from coffer_demo.progress import Steps
from coffer_demo.target import Target
from e2e_configuration import patch_catalogue
from e2e_kube import Kube, Refused, Space, wait_until
from e2e_manifests import instance

TAG = f"e2e{os.environ.get('PYTEST_XDIST_WORKER', '')}"  # each process has a cluster of its own
WEBHOOK = ("webhook", "coffer", "")


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
    kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": made.name}})
    failed_before = request.session.testsfailed
    try:
        yield made
    finally:
        if request.session.testsfailed > failed_before:
            describe(made)
        if kube.get("namespace", made.name, ""):  # the test itself may have deleted it
            kube.delete("namespace", made.name)


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
            print(space.kubectl(*look))
        except Refused as error:
            print(error)
    print("--- operator")
    selector = "app.kubernetes.io/component=operator"
    print(space.kube.run("logs", "-n", "coffer-system", "-l", selector, "--tail=80"))


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
    set_in_webhooks(kube, "replace", "failurePolicy", "Fail")
    wait_until("the webhook refuses", lambda: "denied the request" in _objection(kube))
    try:
        yield
    finally:
        set_in_webhooks(kube, "replace", "failurePolicy", "Ignore")


def set_in_webhooks(kube: Kube, how: str, field: str, value: object) -> None:
    """One field of every webhook of Coffer's."""
    found = kube.get(*WEBHOOK)
    assert found is not None
    paths = [f"/webhooks/{number}/{field}" for number in range(len(found["webhooks"]))]
    kube.patch(*WEBHOOK, [{"op": how, "path": path, "value": value} for path in paths])


@pytest.fixture
def no_webhook(kube: Kube) -> Iterator[None]:
    """A webhook that is asked about no namespace: the condition has to say it all."""
    nowhere = {"matchLabels": {"coffer.dev/nowhere": "true"}}
    set_in_webhooks(kube, "add", "namespaceSelector", nowhere)
    wait_until("the API server knows", lambda: not _objection(kube))
    try:
        yield
    finally:
        set_in_webhooks(kube, "replace", "namespaceSelector", {})


def _objection(kube: Kube) -> str:
    """What is said, in a dry run, to a manifest that the webhook refuses: "" where it is taken."""
    try:
        kube.create(instance("probe", "none"), "default", dry=True)
    except Refused as error:
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
