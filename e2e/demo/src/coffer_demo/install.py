"""Installs Coffer into the chosen cluster: cluster, images on its nodes, chart; and undoes it."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from coffer_cluster import binaries
from coffer_cluster.cluster import Cluster
from coffer_cluster.command import run
from coffer_cluster.errors import UnsupportedError
from coffer_cluster.target import Kind, decide
from coffer_cluster.target import Target as Wanted
from coffer_demo.progress import Steps
from coffer_demo.target import NAMESPACE, RELEASE, ROOT, Target
from coffer_images import images

#: Where the chart's values name the image of each target of the Dockerfile.
_VALUES: Final = {
    "operator": ("operator",),
    "guest-mariadb": ("guest", "mariadb"),
    "guest-redis": ("guest", "redis"),
}
IMAGE_TARGETS: Final = tuple(_VALUES)
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
        built = images.build(IMAGE_TARGETS)
    with steps.step("images on the nodes"):
        names = images.deliver(built, wanted)
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
            *image_options(names),
            *values,
            timeout_s=INSTALL_TIMEOUT_S + 30,
        )
    return Installed(names)


def push(environ: Mapping[str, str]) -> dict[str, Any]:
    """Build the images and push them to IMAGES; the chart's values for what is there."""
    registry = environ.get("IMAGES", "")
    if not registry:
        raise UnsupportedError(
            "IMAGES is not set: IMAGES=REGISTRY/PREFIX says where your cluster's nodes can pull"
            " images from"
        )
    return chart_values(images.push(images.build(IMAGE_TARGETS), registry))


def chart_values(names: Mapping[str, str]) -> dict[str, Any]:
    """The chart's values for images of these names, by target."""
    values: dict[str, Any] = {}
    for image_target, name in names.items():
        repository, _, tag = name.rpartition(":")
        within = values
        *above, last = _VALUES[image_target]
        for key in above:
            within = within.setdefault(key, {})
        within[last] = {"repository": repository, "tag": tag}
    return {"images": values}


def image_options(names: Mapping[str, str]) -> list[str]:
    """The same as options of helm."""
    return [f"--set-json={key}={json.dumps(value)}" for key, value in chart_values(names).items()]


def uninstall(target: Target, steps: Steps) -> None:
    """Remove the release; CRDs, instances and their volumes stay."""
    with steps.step(f"chart removed from {NAMESPACE}"):
        target.chart("uninstall", RELEASE, "--namespace", NAMESPACE, "--ignore-not-found", "--wait")
    steps.say("CRDs, DatabaseInstances and their volumes are left as they are")


def wanted_cluster(*, images: bool = True) -> Wanted:
    """From the environment: CLUSTER, KUBECONFIG, IMAGES (where it gets `images`), TAG."""
    return decide(os.environ, images=images)


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
