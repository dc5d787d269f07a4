"""The images as they are built: they run, as nobody special, and have what they need."""

import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from coffer_cluster import locks
from coffer_cluster.command import run
from coffer_cluster.errors import ClusterError
from coffer_cluster.paths import cache_dir
from coffer_images import images, process
from coffer_images.buildah import Buildah
from coffer_images.images import LOCK_TIMEOUT_S, Image

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

#: Loads what an image starts, and names modules of ours or of a package without bytecode.
CHECK_PROGRAMS = """
import os, sys
from importlib.metadata import entry_points
here = "/opt/coffer/bin/"
loaded = [one.load() for one in entry_points(group="console_scripts")
          if one.value.startswith("coffer_") and os.path.exists(here + one.name)]
assert loaded
slow = [name for name, module in sys.modules.items()
        if (getattr(module, "__file__", None) or "").startswith("/opt/coffer/")
        and module.__file__.endswith(".py") and not os.path.exists(module.__cached__ or "")]
print(len(loaded), *slow)
"""
LEFTOVERS = ("/usr/bin/pip3", "/opt/build", "/src", "/usr/bin/gcc", "/usr/share/man/man1")


@dataclass(frozen=True)
class Container:
    """A way to run programs in an image."""

    image: Image
    argv: tuple[str, ...]

    def run(self, *command: str) -> str:
        return run([*self.argv, *command], timeout_s=120).strip()


@pytest.fixture(scope="module")
def built() -> Iterator[dict[str, Image]]:
    made = {image.target: image for image in images.build()}
    # whoever builds meanwhile would clear our containers away
    with locks.exclusive(cache_dir() / "images.lock", LOCK_TIMEOUT_S):
        yield made


def _container(image: Image) -> Iterator[Container]:
    builder = images.choose()
    if not isinstance(builder, Buildah):
        docker = ("docker", "run", "--rm", "--network", "none", image.name)
        yield Container(image, docker)
        return
    name = f"check-{uuid.uuid4().hex[:8]}"
    builder.call("from", "--pull-never", "--name", name, image.name)
    try:
        yield Container(image, tuple(builder.argv("run", "--isolation", "chroot", name, "--")))
    finally:
        builder.call("rm", name)


@pytest.fixture(scope="module", params=["operator", "guest-mariadb", "guest-redis"])
def any_image(request: pytest.FixtureRequest, built: dict[str, Image]) -> Iterator[Container]:
    yield from _container(built[request.param])


@pytest.fixture(scope="module")
def mariadb(built: dict[str, Image]) -> Iterator[Container]:
    yield from _container(built["guest-mariadb"])


@pytest.fixture(scope="module")
def redis(built: dict[str, Image]) -> Iterator[Container]:
    yield from _container(built["guest-redis"])


def test_it_runs_as_nobody_special(any_image: Container) -> None:
    uid = "65532" if any_image.image.target == "operator" else "999"
    assert any_image.run("id", "-u") == uid
    assert any_image.run("id", "-g") == uid


def test_its_programs_load_from_bytecode(any_image: Container) -> None:
    programs = "1" if any_image.image.target == "operator" else "2"
    assert any_image.run("python", "-c", CHECK_PROGRAMS) == programs


def test_it_has_only_the_programs_that_it_runs(any_image: Container) -> None:
    programs = set(any_image.run("ls", "/opt/coffer/bin").split())
    ours = {name for name in programs if "coffer" in name}
    guest = {"coffer-guest", "coffer-launcher"}
    assert ours == ({"coffer-operator"} if any_image.image.target == "operator" else guest)


def test_nothing_that_builds_is_left(any_image: Container) -> None:
    found = any_image.run("find", "/usr", "/opt", "/var/lib/apt/lists", "-maxdepth", "3")
    assert not set(LEFTOVERS) & set(found.splitlines())
    assert "_Packages" not in found


def test_mariadb_starts_from_its_data_directory(mariadb: Container) -> None:
    """A copy of it is served; root comes in by the socket alone, nobody else comes in."""
    # a password that no text hashes to, or the socket
    ways = "json_value(priv, '$.authentication_string'), json_value(priv, '$.auth_or[1].plugin')"
    query = f"SELECT CONCAT_WS(' ', CONCAT(user, '@', host), {ways})"
    script = f"""
        cp -r /usr/share/coffer/mariadb/data /tmp/data
        echo "{query} INTO OUTFILE '/tmp/accounts' FROM mysql.global_priv ORDER BY 1;" |
        mariadbd --no-defaults --bootstrap --datadir=/tmp/data >/tmp/log 2>&1 || cat /tmp/log
        echo 'SHUTDOWN;' >/tmp/init.sql
        mariadbd --no-defaults --datadir=/tmp/data --socket=/tmp/sock --skip-networking \\
            --init-file=/tmp/init.sql >>/tmp/log 2>&1 || cat /tmp/log
        cat /tmp/accounts; ls /tmp/data
    """
    lines = mariadb.run("sh", "-c", script).splitlines()
    accounts = [line.strip() for line in lines if "@" in line]
    assert accounts == ["mariadb.sys@localhost", "root@localhost invalid unix_socket"]
    assert "mysql" in lines
    assert "test" not in lines


def test_the_backup_tool_is_of_the_engine_version(mariadb: Container) -> None:
    version = "10.11"
    assert version in mariadb.run("mariadbd", "--version")
    assert version in mariadb.run("sh", "-c", "mariadb-backup --version 2>&1")


def test_redis_has_its_server(redis: Container) -> None:
    assert redis.run("redis-server", "--version").startswith("Redis server v=7.0")
    assert redis.run("find", "/usr/share/coffer/redis/data") == "/usr/share/coffer/redis/data"


# --- what runs the builders ---


def test_output_is_shown_and_logged_as_it_comes(tmp_path: Path) -> None:
    lines: list[str] = []
    log = tmp_path / "log"
    process.stream(
        [*process.CONFINED, "sh", "-c", "echo one; echo two >&2"],
        log=log,
        timeout_s=20,
        on_line=lines.append,
    )
    assert lines == ["one\n", "two\n"]
    assert log.read_text() == "one\ntwo\n"


def test_a_failure_shows_the_last_lines(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"exit code 3[^!]*because!"):
        process.stream(
            ["sh", "-c", "echo because!; exit 3"],
            log=tmp_path / "log",
            timeout_s=20,
            on_line=lambda _: None,
        )


def test_a_builder_that_takes_too_long_ends_with_its_children(tmp_path: Path) -> None:
    mark = f"86400.{uuid.uuid4().int % 10**9}"  # a time to sleep that nobody else asks for
    begin_s = time.monotonic()
    with pytest.raises(ClusterError, match="not done after 1 s"):
        process.stream(
            [*process.CONFINED, "sh", "-c", f"sleep {mark} & sleep {mark}"],
            log=tmp_path / "log",
            timeout_s=1,
            on_line=lambda _: None,
        )
    assert time.monotonic() - begin_s < 60
    left = subprocess.run(["pgrep", "-f", f"sleep {mark}"], capture_output=True, check=False)
    assert left.returncode == 1
