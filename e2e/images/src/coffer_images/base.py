"""The base image where there is no registry: Debian's packages, put together by mmdebstrap.

It goes by the official image's name, in our storage alone, so that the Dockerfile is the same
everywhere. It is made anew each week, for Debian's security updates.
"""

import datetime
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from coffer_cluster import console
from coffer_cluster.command import run
from coffer_cluster.errors import ClusterError
from coffer_cluster.paths import STATE_ROOT
from coffer_images.process import CONFINED

IMAGE = "docker.io/library/debian:bookworm-slim"
WEEKLY = "localhost/coffer/base"
SUITE = "bookworm"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
TIMEOUT_S = 900
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: As the official image: no documentation, no translations, nothing that is only recommended.
OPTIONS = (
    "--variant=minbase",
    "--include=usr-is-merged",
    "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
    '--aptopt=Acquire::Languages "none"',
    '--aptopt=Acquire::Retries "1"',
    '--aptopt=Apt::Install-Recommends "false"',
    "--dpkgopt=force-unsafe-io",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/info/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
)

Call = Callable[..., str]


def week_of(day: datetime.date) -> str:
    """The ISO week, as a tag."""
    year, week, _ = day.isocalendar()
    return f"{year}-w{week:02d}"


def ensure(buildah: Call, week: str) -> None:
    """Have IMAGE as of this week; if that cannot be, the one of an earlier week will do."""
    listing = buildah("images", "--format", "{{.Name}}:{{.Tag}}").split()
    made = sorted(name for name in listing if name.startswith(f"{WEEKLY}:"))
    wanted = f"{WEEKLY}:{week}"
    if wanted not in made:
        try:
            with console.step(f"making the base image, Debian {SUITE} as of {week} (about 1 min)"):
                _make(buildah, wanted)
        except ClusterError as error:
            if not made:
                raise
            console.say(f"{error}; going on with {made[-1]}")
            wanted = made[-1]
    buildah("tag", wanted, IMAGE)
    for name in made:
        if name != wanted:
            buildah("rmi", name)


def _make(buildah: Call, image: str) -> None:
    # Not under a home directory: apt downloads as a user of its own, who cannot look into one.
    folder = STATE_ROOT / "base.unfinished"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        archive = folder / "base.tar"
        try:
            _bootstrap(archive)
        except ClusterError as error:
            console.say(f"{error}; once more")
            _bootstrap(archive)
        container = buildah("from", "scratch").strip()
        buildah("add", "--quiet", container, archive, "/")
        buildah("config", "--env", f"PATH={PATH}", "--cmd", '["bash"]', container)
        buildah("commit", "--quiet", "--rm", container, image)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _bootstrap(archive: Path) -> None:
    env = os.environ | {"TMPDIR": str(archive.parent), "DEBIAN_FRONTEND": "noninteractive"}
    run([*CONFINED, "mmdebstrap", *OPTIONS, SUITE, archive], timeout_s=TIMEOUT_S, env=env)
