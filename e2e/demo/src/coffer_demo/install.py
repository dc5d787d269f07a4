"""Installs Coffer into the chosen cluster: cluster, images on its nodes, chart; and undoes it."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from coffer_cluster import binaries
from coffer_cluster.cluster import Cluster
from coffer_cluster.command import run
from coffer_cluster.errors import UnsupportedError
from coffer_cluster.target import Kind, decide
from coffer_cluster.target import Target as Wanted
from coffer_demo.progress import Steps
from coffer_demo.target import NAMESPACE, RELEASE, ROOT, Target
from coffer_images.images import build, deliver

IMAGE_TARGETS = ("operator", "guest-mariadb", "guest-redis")
INSTALL_TIMEOUT_S = 180


@dataclass(frozen=True)
class Installed:
    """What was installed: the name of each image, by its target in the Dockerfile."""

    images: dict[str, str]


def reach(wanted: Wanted, steps: Steps, nodes: int = 1) -> tuple[Target, Cluster | None]:
    """The cluster that is meant, up; the embedded one where it is that."""
    if wanted.kind is Kind.EMBEDDED:
        cluster = Cluster(wanted.tag)
        with steps.step("embedded Kubernetes up"):
            cluster.up(nodes)
        binaries.ensure([binaries.HELM])
        return Target(cluster.kubectl, cluster.helm, cluster.kubeconfig), cluster
    kubectl, helm = _program("kubectl"), _program("helm")
    if wanted.kind is Kind.KIND:
        return Target(kubectl, helm, _kind_up(wanted, steps)), None
    return Target(kubectl, helm, Path(wanted.kubeconfig or "")), None


def install(target: Target, wanted: Wanted, steps: Steps, values: Sequence[str] = ()) -> Installed:
    """Build the images, bring them to the nodes, install or upgrade the chart, wait for it."""
    with steps.step("images built"):
        built = build(IMAGE_TARGETS)
    with steps.step("images on the nodes"):
        names = deliver(built, wanted)
    with steps.step(f"chart installed in {NAMESPACE}"):
        target.chart(
            "upgrade",
            "--install",
            RELEASE,
            str(ROOT / "charts" / "coffer"),
            "--namespace",
            NAMESPACE,
            "--create-namespace",
            "--wait",
            f"--timeout={INSTALL_TIMEOUT_S}s",
            *image_values(names),
            *values,
            timeout_s=INSTALL_TIMEOUT_S + 30,
        )
    return Installed(names)


def image_values(names: dict[str, str]) -> list[str]:
    """The chart's values for these images."""
    keys = {
        "operator": "images.operator",
        "guest-mariadb": "images.guest.mariadb",
        "guest-redis": "images.guest.redis",
    }
    args = []
    for image_target, name in names.items():
        repository, _, tag = name.rpartition(":")
        key = keys[image_target]
        args += [f"--set-string={key}.repository={repository}", f"--set-string={key}.tag={tag}"]
    return args


def uninstall(target: Target, steps: Steps) -> None:
    """Remove the release; CRDs, instances and their volumes stay."""
    with steps.step(f"chart removed from {NAMESPACE}"):
        target.chart("uninstall", RELEASE, "--namespace", NAMESPACE, "--ignore-not-found", "--wait")
    steps.say("CRDs, DatabaseInstances and their volumes are left as they are")


def wanted_cluster() -> Wanted:
    """From the environment: CLUSTER, KUBECONFIG, IMAGES, TAG."""
    return decide(os.environ)


def _kind_up(wanted: Wanted, steps: Steps) -> Path:
    with steps.step("kind cluster up"):
        if wanted.kind_name not in run(["kind", "get", "clusters"]).split():
            run(["kind", "create", "cluster", f"--name={wanted.kind_name}"], timeout_s=600)
    path = Path.home() / ".kube" / f"{wanted.kind_name}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(run(["kind", "get", "kubeconfig", f"--name={wanted.kind_name}"]))
    path.chmod(0o600)
    return path


def _program(name: str) -> Path:
    found = shutil.which(name)
    if found is None:
        raise UnsupportedError(f"{name} is not on PATH; it is needed for a cluster of yours")
    return Path(found)
