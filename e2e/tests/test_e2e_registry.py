"""Images from a registry: `make install` on a cluster of one's own, and pulls with a password.

The cluster is the embedded one, by an address at which its own tools do not know it.
"""

import os
import subprocess
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path

import pytest
import yaml

from coffer_cluster.cluster import Cluster
from coffer_cluster.target import Kind, decide
from coffer_cluster.target import Target as Wanted
from coffer_demo.install import Installed, image_options
from coffer_demo.target import NAMESPACE, RELEASE, ROOT, Target
from coffer_images.images import build, deliver
from e2e_backup import Bucket, secret, storage, storage_secrets, wait_storage
from e2e_kube import Space, condition, wait_until
from e2e_manifests import instance
from e2e_registry import Registry, free_port, serving

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

PULL_SECRET = "registry-login"
MAKE_TIMEOUT_S = 300


def install(target: Target, *values: str) -> None:
    target.chart(
        "upgrade",
        RELEASE,
        str(ROOT / "charts" / "coffer"),
        f"--namespace={NAMESPACE}",
        "--wait",
        "--timeout=120s",
        *values,
        timeout_s=150,
    )


@pytest.fixture
def as_before(target: Target, installed: Installed) -> Iterator[None]:
    yield
    install(target, *image_options(installed.images))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="module")
def registry(cluster: Cluster, folder: Path) -> Iterator[Registry]:
    """One that takes and gives without a password."""
    (node,) = cluster.nodes()
    with (
        serving(node, folder, free_port(), with_password=False) as found,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("CONTAINERS_REGISTRIES_CONF", str(_by_http(folder, found)))
        yield found


def _by_http(folder: Path, registry: Registry) -> Path:
    """What tells buildah that a registry has no certificate."""
    file = folder / "registries.conf"
    file.write_text(f'[[registry]]\nlocation = "{registry.address}"\ninsecure = true\n')
    return file


@pytest.fixture
def my_environ(cluster: Cluster, tmp_path: Path) -> dict[str, str]:
    """The same cluster and rights by the Service's address: to `make` a cluster of the user's."""
    content = yaml.safe_load(cluster.kubeconfig.read_text())
    content["clusters"][0]["cluster"]["server"] = f"https://{cluster.plan.api_service}"
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(content))
    inherited = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL")}
    programs = f"{cluster.kubectl.parent}:{cluster.helm.parent}:{os.environ['PATH']}"
    return {**inherited, "PATH": programs, "KUBECONFIG": str(file)}


def make(environ: Mapping[str, str], *words: str) -> str:
    """What it prints to standard output."""
    done = subprocess.run(
        ["make", *words],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=MAKE_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def operators(space: Space) -> set[str]:
    """The images of the operator's pods."""
    pods = space.kube.items("pod", NAMESPACE)
    return {one["image"] for pod in pods for one in pod["spec"]["containers"]}


def image_of(space: Space, name: str) -> str:
    """Of an instance: all of its containers have one."""
    (image,) = {one["image"] for one in space.running_pod(name)["spec"]["containers"]}
    return str(image)


def test_make_install_on_a_cluster_of_ones_own(
    my_environ: dict[str, str], registry: Registry, space: Space, as_before: None
) -> None:
    prefix = f"{registry.address}/mine"
    my_environ["IMAGES"] = prefix
    assert decide(my_environ).kind is Kind.EXTERNAL
    make(my_environ, "install")
    assert any(image.startswith(f"{prefix}/operator:") for image in operators(space))
    space.apply(instance("cache", "redis"))
    space.wait_ready("cache")
    assert image_of(space, "cache").startswith(f"{prefix}/guest-redis:")
    for name in ("operator", "guest-redis"):
        assert registry.answers(HTTPStatus.OK, f"/v2/mine/{name}/manifests/")


def test_make_push_prints_the_values_for_helm(
    target: Target,
    my_environ: dict[str, str],
    registry: Registry,
    space: Space,
    tmp_path: Path,
    as_before: None,
) -> None:
    prefix = f"{registry.address}/from/values"
    values = tmp_path / "images.yaml"
    values.write_text(make({**my_environ, "IMAGES": f"{prefix}/"}, "-s", "push"))
    install(target, f"--values={values}")
    assert any(image.startswith(f"{prefix}/operator:") for image in operators(space))
    space.apply(instance("cache", "redis"))
    space.wait_ready("cache")
    assert image_of(space, "cache").startswith(f"{prefix}/guest-redis:")


@pytest.fixture
def closed_registry(
    cluster: Cluster,
    registry: Registry,
    folder: Path,
    target: Target,
    installed: Installed,
    as_before: None,
) -> Iterator[Registry]:
    """Coffer with Redis' image from one that asks for a password, and the name of a Secret."""
    (node,) = cluster.nodes()
    # another name than in the other test: what a node has once pulled it does not ask for
    prefix = f"{registry.address}/closed"
    mine = Wanted(Kind.EXTERNAL, cluster.tag, str(cluster.kubeconfig), prefix)
    tag = deliver(build(["guest-redis"]), mine)["guest-redis"].rpartition(":")[2]
    with serving(node, folder, free_port(), with_password=True) as found:
        theirs = {**installed.images, "guest-redis": f"{found.address}/closed/guest-redis:{tag}"}
        install(target, *image_options(theirs), f"--set=images.guest.pullSecrets={{{PULL_SECRET}}}")
        yield found


def why_not_ready(space: Space, kind: str, name: str) -> str:
    found = condition(space.get(kind, name), "Ready")
    return str(found.get("message", "")) if found.get("status") == "False" else ""


def test_images_are_pulled_with_the_secret_of_the_namespace(
    closed_registry: Registry, space: Space, cluster: Cluster
) -> None:
    """`images.guest.pullSecrets` of the chart: an instance, and the pod that probes a storage."""
    bucket = Bucket(cluster).create()
    space.apply(*storage_secrets(cluster), storage("store", bucket), instance("cache", "redis"))
    for kind, name in (("databaseinstance", "cache"), ("backupstorage", "store")):

        def says_why(kind: str = kind, name: str = name) -> bool:
            message = why_not_ready(space, kind, name)
            return "ImagePull" in message or "pull" in message

        wait_until(f"{name} tells why it is not Ready", says_why)
    assert closed_registry.answers(HTTPStatus.UNAUTHORIZED)
    assert not closed_registry.answers(HTTPStatus.OK)

    login = secret(PULL_SECRET, **{".dockerconfigjson": closed_registry.login})
    space.apply({**login, "type": "kubernetes.io/dockerconfigjson"})
    space.wait_ready("cache", timeout_s=120)
    wait_storage(space, "store")
    assert closed_registry.answers(HTTPStatus.OK, "/manifests/")
    assert image_of(space, "cache").startswith(f"{closed_registry.address}/closed/guest-redis:")
