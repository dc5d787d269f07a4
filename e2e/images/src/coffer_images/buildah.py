"""Building with buildah, as root, in a storage of our own beside the other caches.

The storage is not the machine's: the base image that is made here must not pass for the official
one elsewhere, and whatever is dangling in it is ours to remove.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from coffer_cluster import preflight
from coffer_cluster.command import run
from coffer_cluster.errors import ClusterError, UnsupportedError
from coffer_images import base, process
from coffer_images.builders import (
    BUILD_TIMEOUT_S,
    PUSH_TIMEOUT_S,
    SAVE_TIMEOUT_S,
    ca_secret,
    outdated,
)
from coffer_images.inputs import REPOSITORY
from coffer_images.process import CONFINED

PROGRAMS = {
    "buildah": "buildah",
    "mmdebstrap": "mmdebstrap",
    base.KEYRING: "debian-archive-keyring",
    "setpriv": "util-linux",
    "unshare": "util-linux",
}
RUN_ROOT = Path("/run/coffer/containers")
#: Stages that only the build they were made for can use have this label.
SCRATCH_LABEL = "coffer.dev/stage=scratch"


@dataclass(frozen=True)
class Buildah:
    """A Builder with buildah and the storage in `root`."""

    root: Path
    week: str

    def argv(self, *args: object) -> list[str]:
        """The whole command of one call of buildah."""
        storage = ("--root", self.root, "--runroot", RUN_ROOT)
        return [str(word) for word in (*CONFINED, "buildah", *storage, *args)]

    def call(self, *args: object, timeout_s: float = 120) -> str:
        return run(self.argv(*args), timeout_s=timeout_s)

    def prepare(self) -> None:
        if os.geteuid() != 0:
            raise UnsupportedError(
                "building images needs root, or a docker engine (`docker info` fails);"
                " run this as root"
            )
        preflight.install_missing(PROGRAMS)
        self.root.mkdir(parents=True, exist_ok=True)
        self.call("rm", "--all")  # containers of builds that were killed, or that failed
        base.ensure(self.call, self.week)

    def build(
        self, context: Path, target: str, image: str, log: Path, on_line: Callable[[str], None]
    ) -> None:
        # chroot: no runtime, cgroup or capability is needed that a container may lack
        options = ["--layers", "--pull-never", "--network", "host", "--isolation", "chroot"]
        argv = self.argv("build", *options, *ca_secret(), "--target", target, "--tag", image)
        try:
            process.stream(
                [*argv, str(context)], log=log, timeout_s=BUILD_TIMEOUT_S, on_line=on_line
            )
        except ClusterError:
            self.call("rm", "--all")
            raise

    def save(self, image: str, archive: Path) -> None:
        # zstd: packed as fast as gzip, unpacked several times faster
        options = ["--quiet", "--compression-format", "zstd"]
        self.call(
            "push", *options, image, f"oci-archive:{archive}:{image}", timeout_s=SAVE_TIMEOUT_S
        )

    def push(self, archive: Path, image: str, reference: str) -> None:
        found = self.call("pull", "--quiet", f"oci-archive:{archive}", timeout_s=SAVE_TIMEOUT_S)
        self.call(
            "push", "--quiet", found.split()[-1], f"docker://{reference}", timeout_s=PUSH_TIMEOUT_S
        )

    def tidy(self, kept: Mapping[str, Sequence[str]]) -> None:
        names = self.call("images", "--format", "{{.Name}}:{{.Tag}}").split()
        dangling = ("images", "--quiet", "--filter", "dangling=true", "--filter")
        old = outdated(names, REPOSITORY, kept)
        old += self.call(*dangling, f"label={SCRATCH_LABEL}").split()
        # What was made on another base cannot be of use again.
        old += self.call(*dangling, f"before={base.IMAGE}").split()
        for image in dict.fromkeys(old):
            # One by one: removing an image may take a parent along that is on the list as well.
            run(self.argv("rmi", image), ok_codes=(0, 1, 125))
