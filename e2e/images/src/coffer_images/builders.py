"""What builds images: docker where an engine runs, otherwise buildah; and which of them it is."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from coffer_cluster.command import succeeds

ENGINE_TIMEOUT_S = 20
BUILD_TIMEOUT_S = 1800
SAVE_TIMEOUT_S = 600
PUSH_TIMEOUT_S = 1800
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")


class Builder(Protocol):
    """One way to build. Used by one process at a time."""

    def prepare(self) -> None:
        """Bring about what building needs; clean up after a build that was killed."""

    def build(
        self, context: Path, target: str, image: str, log: Path, on_line: Callable[[str], None]
    ) -> None:
        """Make `image` from the Dockerfile in `context`."""

    def save(self, image: str, archive: Path) -> None:
        """Write an archive that containerd imports under the image's name."""

    def push(self, archive: Path, image: str, reference: str) -> None:
        """Bring an archived image to a registry."""

    def tidy(self, kept: Mapping[str, Sequence[str]]) -> None:
        """Remove our images but those of the given tags, by target; nobody else's."""


def engine_runs() -> bool:
    """A docker client without an engine is common, and builds nothing."""
    return shutil.which("docker") is not None and succeeds(
        ["docker", "info"], timeout_s=ENGINE_TIMEOUT_S
    )


def ca_secret(bundle: Path = CA_BUNDLE) -> list[str]:
    """The option that lends pip the machine's authorities; no layer keeps them."""
    return ["--secret", f"id=ca_bundle,src={bundle}"] if bundle.exists() else []


def outdated(images: Sequence[str], prefix: str, kept: Mapping[str, Sequence[str]]) -> list[str]:
    """Those of `images` (name:tag) that belong to a target of ours and have no kept tag."""
    ours = {f"{prefix}/{target}": tags for target, tags in kept.items()}
    split = (image.rpartition(":") for image in images)
    return [f"{name}:{tag}" for name, _, tag in split if name in ours and tag not in ours[name]]
