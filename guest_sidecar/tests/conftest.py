"""An empty data directory of each engine, and pods."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from guest_engines import folder as private
from guest_engines import program
from guest_harness import MakePod, Pod, as_user, give_away


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
    with private() as scratch:  # a server removes the temporary files of others from a shared one
        subprocess.run(
            as_user([sys.executable, "-c", program, manager, str(folder)]),
            check=True,
            timeout=300,
            env={**os.environ, "TMPDIR": str(scratch)},
        )
    return folder


@pytest.fixture(scope="session")
def mariadb_seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program("mariadbd")
    return make_seed("mariadb", tmp_path_factory.mktemp("mariadb"))


@pytest.fixture(scope="session")
def redis_seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program("redis-server")
    return make_seed("redis", tmp_path_factory.mktemp("redis"))


@pytest.fixture
def mariadb_pod(mariadb_seed: Path) -> Iterator[MakePod]:
    """Makes pods with a MariaDB; they end with the test."""
    yield from _pods("mariadb", "10.11", mariadb_seed)


@pytest.fixture
def redis_pod(redis_seed: Path) -> Iterator[MakePod]:
    """Makes pods with a Redis; they end with the test."""
    yield from _pods("redis", "7.0", redis_seed)


def _pods(manager: str, usual: str, seed: Path) -> Iterator[MakePod]:
    pods: list[Pod] = []

    def make(version: str = usual, volume: Path | None = None) -> Pod:
        pods.append(Pod(manager, version, seed, volume=volume))
        return pods[-1]

    yield make
    for pod in pods:
        pod.close()
