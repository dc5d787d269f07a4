"""Which cluster a command is meant for: the embedded one, kind, or one that the user brings.

It only decides, from the environment; nothing is made or changed here. A cluster of the user's is
never changed beyond what he asked to install: its images come from a registry that he names.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from coffer_cluster.addresses import DEFAULT_TAG, TAG_PATTERN, plan_for
from coffer_cluster.command import succeeds
from coffer_cluster.errors import UnsupportedError
from coffer_cluster.kubeconfig import server_of
from coffer_cluster.paths import STATE_PREFIX, STATE_ROOT, state_dir

ENGINE_TIMEOUT_S = 20


class Kind(StrEnum):
    """The sorts of clusters there are."""

    EMBEDDED = "embedded"
    KIND = "kind"
    EXTERNAL = "external"


@dataclass(frozen=True)
class Target:
    """The cluster that is meant."""

    kind: Kind
    tag: str
    #: The embedded cluster's own, or the user's; None for kind, which writes one itself.
    kubeconfig: str | None
    #: Where images are pushed to; None where they are loaded onto the nodes.
    registry: str | None = None

    @property
    def kind_name(self) -> str:
        """The name of the cluster in kind."""
        return f"coffer-{self.tag}"


def decide(environ: Mapping[str, str], *, images: bool = True) -> Target:
    """Read CLUSTER, KUBECONFIG, IMAGES and TAG; one line for what cannot be.

    Without `images`, none are to be brought there, and a cluster of the user's needs no IMAGES.
    """
    tag = environ.get("TAG") or DEFAULT_TAG
    plan_for(tag)  # refuses what is no tag
    wanted = environ.get("CLUSTER", "")
    kubeconfig = environ.get("KUBECONFIG", "")
    embedded = Target(Kind.EMBEDDED, tag, str(state_dir(tag) / "kubeconfig"))
    if wanted == Kind.KIND:
        _require_kind()
        return Target(Kind.KIND, tag, None)
    if wanted == Kind.EMBEDDED or (not wanted and _means_embedded(kubeconfig, tag)):
        return embedded
    if wanted and wanted != Kind.EXTERNAL:
        known = ", ".join(Kind)
        raise UnsupportedError(f"CLUSTER={wanted} is none of {known}")
    return _external(tag, kubeconfig, environ.get("IMAGES", ""), images)


def _external(tag: str, kubeconfig: str, registry: str, images: bool) -> Target:
    files = _files(kubeconfig)
    if server_of(files) is None:
        raise UnsupportedError(
            f"KUBECONFIG={kubeconfig} names no cluster: no file there has a current context;"
            " unset it to use the embedded cluster"
        )
    if images and not registry:
        raise UnsupportedError(
            f"KUBECONFIG={kubeconfig} is a cluster of yours: set IMAGES=REGISTRY/PREFIX to where"
            " its nodes can pull our images from, or unset KUBECONFIG to use the embedded cluster"
        )
    return Target(Kind.EXTERNAL, tag, kubeconfig, registry.rstrip("/") or None)


def _files(kubeconfig: str) -> list[Path]:
    return [Path(name) for name in kubeconfig.split(":") if name]


def _means_embedded(kubeconfig: str, tag: str) -> bool:
    """No KUBECONFIG, or one of an embedded cluster: people export what is printed for them.

    The file of a cluster that is down does not exist; its place tells as well.
    """
    files = _files(kubeconfig)
    if not files:
        return True
    if all(_is_ours(path) for path in files):
        return True
    tags = {tag, DEFAULT_TAG, *_present_tags()}
    return server_of(files) in {plan_for(name).api_url for name in tags}


def _is_ours(path: Path) -> bool:
    folder = path.absolute().parent
    return folder.parent == STATE_ROOT and folder.name.startswith(STATE_PREFIX)


def _present_tags() -> list[str]:
    names = (path.name.removeprefix(STATE_PREFIX) for path in STATE_ROOT.glob(f"{STATE_PREFIX}*"))
    return [name for name in names if TAG_PATTERN.fullmatch(name)]


def _require_kind() -> None:
    """A docker client without an engine is common, and no use."""
    if not shutil.which("kind"):
        raise UnsupportedError("CLUSTER=kind needs the program kind, which is not on PATH")
    if not shutil.which("docker") or not succeeds(["docker", "info"], timeout_s=ENGINE_TIMEOUT_S):
        raise UnsupportedError(
            "CLUSTER=kind needs a container engine, and `docker info` fails;"
            " unset CLUSTER to use the embedded cluster"
        )
