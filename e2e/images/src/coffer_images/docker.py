"""Building with docker. Its layers and their cache are the engine's business."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from coffer_cluster.command import run
from coffer_images import process
from coffer_images.builders import (
    BUILD_TIMEOUT_S,
    PUSH_TIMEOUT_S,
    SAVE_TIMEOUT_S,
    ca_secret,
    outdated,
)
from coffer_images.inputs import REPOSITORY


class Docker:
    """A Builder with the docker engine that `docker info` shows."""

    def prepare(self) -> None:
        """The engine is there already."""

    def build(
        self, context: Path, target: str, image: str, log: Path, on_line: Callable[[str], None]
    ) -> None:
        argv = ["docker", "build", "--progress=plain", *ca_secret()]
        argv += ["--target", target, "--tag", image, str(context)]
        process.stream(argv, log=log, timeout_s=BUILD_TIMEOUT_S, on_line=on_line)

    def save(self, image: str, archive: Path) -> None:
        run(["docker", "save", "--output", archive, image], timeout_s=SAVE_TIMEOUT_S)

    def push(self, archive: Path, image: str, reference: str) -> None:
        run(["docker", "load", "--quiet", "--input", archive], timeout_s=SAVE_TIMEOUT_S)
        run(["docker", "tag", image, reference])
        run(["docker", "push", "--quiet", reference], timeout_s=PUSH_TIMEOUT_S)

    def tidy(self, kept: Mapping[str, Sequence[str]]) -> None:
        listing = run(["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}"])
        if old := outdated(listing.split(), REPOSITORY, kept):
            # One that a container uses stays, and is asked for again the next time.
            run(["docker", "image", "rm", *old], ok_codes=(0, 1))
