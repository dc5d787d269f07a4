"""Engines from Debian where they are missing, an empty data directory of each, and pods."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from guest_harness import MakePod, Pod, as_user, give_away

# pytest-asyncio asks for the current event loop before each test; where none was ever set, asyncio
# makes one that nobody closes, and warnings are errors here.
asyncio.set_event_loop(None)

PACKAGES = {
    "mariadbd": ("mariadb-server-core", "mariadb-client-core"),
    "redis-server": ("redis-server",),
}


def install(program: str) -> None:
    """Make sure that an engine is there. Its service packages would start it, so not those."""
    if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin") is None:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (
            ["apt-get", "update", "-qq"],
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *PACKAGES[program]],
        ):
            subprocess.run(
                command, check=True, env=environment, timeout=600, stdout=subprocess.DEVNULL
            )


def make_seed(manager: str, folder: Path) -> Path:
    """What an image holds in /usr/share/coffer/<manager>/data."""
    folder.chmod(0o755)
    for parent in folder.parents[:3]:
        parent.chmod(parent.stat().st_mode | 0o011)
    give_away(folder)
    program = (
        "import pathlib, sys; from coffer_guest.engines.base import load;"
        " load(sys.argv[1]).initialise(pathlib.Path(sys.argv[2]))"
    )
    subprocess.run(
        as_user([sys.executable, "-c", program, manager, str(folder)]), check=True, timeout=300
    )
    return folder


@pytest.fixture(scope="session")
def mariadb_seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    install("mariadbd")
    return make_seed("mariadb", tmp_path_factory.mktemp("mariadb"))


@pytest.fixture
def mariadb_pod(mariadb_seed: Path) -> Iterator[MakePod]:
    """Makes pods with a MariaDB; they end with the test."""
    pods: list[Pod] = []

    def make(version: str = "10.11", volume: Path | None = None) -> Pod:
        pods.append(Pod("mariadb", version, mariadb_seed, volume=volume))
        return pods[-1]

    yield make
    for pod in pods:
        pod.close()
