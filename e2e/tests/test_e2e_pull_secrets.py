"""Guest images from a registry that demands a password: `images.guest.pullSecrets` of the chart."""

from collections.abc import Iterator

import pytest

from coffer_cluster.cluster import Cluster
from coffer_demo.install import Installed, image_values
from coffer_demo.target import NAMESPACE, RELEASE, ROOT, Target
from coffer_images.images import archives
from e2e_backup import Bucket, secret, storage, storage_secrets, wait_storage
from e2e_kube import Space, condition, wait_until
from e2e_manifests import instance
from e2e_registry import Registry, serving

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

REPOSITORY = "coffer/guest-redis"
PULL_SECRET = "registry-login"


def install(target: Target, images: dict[str, str], *values: str) -> None:
    target.chart(
        "upgrade",
        RELEASE,
        str(ROOT / "charts" / "coffer"),
        f"--namespace={NAMESPACE}",
        "--wait",
        "--timeout=120s",
        *image_values(images),
        *values,
        timeout_s=150,
    )


@pytest.fixture
def registry(cluster: Cluster, target: Target, installed: Installed) -> Iterator[Registry]:
    """Coffer with Redis' image from there, and the name of a Secret; as before in the end."""
    tag = installed.images["guest-redis"].rpartition(":")[2]
    archive = archives().path("guest-redis", tag)
    (node,) = cluster.nodes()
    with serving(node, archive, REPOSITORY) as found:
        theirs = {**installed.images, "guest-redis": f"{found.address}/{REPOSITORY}:{tag}"}
        install(target, theirs, f"--set=images.guest.pullSecrets={{{PULL_SECRET}}}")
        try:
            yield found
        finally:
            install(target, installed.images)


def why_not_ready(space: Space, kind: str, name: str) -> str:
    found = condition(space.get(kind, name), "Ready")
    return str(found.get("message", "")) if found.get("status") == "False" else ""


def test_images_are_pulled_with_the_secret_of_the_namespace(
    registry: Registry, space: Space, cluster: Cluster
) -> None:
    """An instance, and the short pod that probes a storage."""
    bucket = Bucket(cluster).create()
    space.apply(*storage_secrets(cluster), storage("store", bucket), instance("cache", "redis"))
    for kind, name in (("databaseinstance", "cache"), ("backupstorage", "store")):

        def says_why(kind: str = kind, name: str = name) -> bool:
            message = why_not_ready(space, kind, name)
            return "ImagePull" in message or "pull" in message

        wait_until(f"{name} tells why it is not Ready", says_why)
    assert registry.refused
    assert registry.served == []

    login = secret(PULL_SECRET, **{".dockerconfigjson": registry.login})
    space.apply({**login, "type": "kubernetes.io/dockerconfigjson"})
    space.wait_ready("cache", timeout_s=120)
    wait_storage(space, "store")
    assert any("/manifests/" in path for path in registry.served)
    containers = space.running_pod("cache")["spec"]["containers"]
    images = {one["image"].rpartition(":")[0] for one in containers}
    assert images == {f"{registry.address}/{REPOSITORY}"}
