"""Keys of what is built: the same inputs give the same key, any change another one."""

import contextlib
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from coffer_cluster import binaries, images, oci
from coffer_cluster.binaries import ALL, Binary
from coffer_cluster.errors import ClusterError

OURS = Binary(name="tool", module="mod", package=".", check=())


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "go" / "mod"
    folder.mkdir(parents=True)
    (folder / "go.mod").write_text("module example\n\ngo 1.26.0\n")
    (folder / "main.go").write_text("package main\n\nfunc main() {}\n")
    monkeypatch.setattr(binaries, "GO_SOURCES", tmp_path / "go")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def test_all_keys_differ() -> None:
    assert len({binary.key() for binary in ALL}) == len(ALL)
    assert len({binary.name for binary in ALL}) == len(ALL)


def test_key_follows_the_sources(sources: Path) -> None:
    before = OURS.key()
    assert OURS.key() == before
    (sources / "README").write_text("not an input")
    assert OURS.key() == before
    (sources / "main.go").write_text("package main\n\nfunc main() { println() }\n")
    changed = OURS.key()
    assert changed != before
    (sources / "go.sum").write_text("")
    assert OURS.key() not in {before, changed}


@pytest.mark.parametrize(
    "change", [{"tags": "a"}, {"ldflags": "-s"}, {"cgo": True}, {"links": ("b",)}, {"package": "x"}]
)
@pytest.mark.usefixtures("sources")
def test_key_follows_the_recipe(change: dict[str, object]) -> None:
    assert replace(OURS, **change).key() != OURS.key()  # type: ignore[arg-type]


def test_version_of_a_foreign_program_counts() -> None:
    one = Binary(name="x", package="example.org/x", version="v1.0.0")
    assert one.key() != replace(one, version="v1.0.1").key()


@pytest.mark.usefixtures("sources")
def test_built_once_and_only_then_named(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[Path] = []

    def compile_to(_: Binary, target: Path) -> None:
        assert not OURS.built
        built.append(target)
        shutil.copy("/bin/true", target)

    monkeypatch.setattr(binaries, "_compile", compile_to)
    binaries.ensure([OURS])
    binaries.ensure([OURS])
    assert OURS.built
    assert len(built) == 1
    assert not built[0].exists()


@pytest.mark.usefixtures("sources")
def test_what_does_not_run_gets_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = replace(OURS, check=("--version",))

    def compile_to(_: Binary, target: Path) -> None:
        shutil.copy("/bin/false", target)

    monkeypatch.setattr(binaries, "_compile", compile_to)
    with pytest.raises(ClusterError, match="exit code 1"):
        binaries.ensure([broken])
    assert not broken.built


@pytest.mark.usefixtures("sources")
def test_failed_build_is_tried_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[Path] = []

    def compile_to(_: Binary, target: Path) -> None:
        tries.append(target)
        if len(tries) == 1:
            raise ClusterError("the network was gone")
        shutil.copy("/bin/true", target)

    monkeypatch.setattr(binaries, "_compile", compile_to)
    binaries.ensure([OURS])
    assert OURS.built
    assert len(tries) == 2


def test_two_clusters_at_once_make_each_archive_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for binary in (binaries.PAUSE, binaries.PROBE):
        binary.folder.mkdir(parents=True)
        binary.path.write_bytes(b"\x7fELF")
    made: list[str] = []
    another = threading.Barrier(2)
    write = oci.write

    def slowly(path: Path, *args: object) -> None:
        made.append(path.name)
        with contextlib.suppress(threading.BrokenBarrierError):
            another.wait(0.1)  # that would be here now, too
        write(path, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(oci, "write", slowly)
    with ThreadPoolExecutor(2) as pool:
        found = [pool.submit(images.ensure_own_archives) for _ in range(2)]
        archives = [one.result() for one in found]
    assert archives[0] == archives[1]
    assert sorted(made) == ["pause.tar", "probe.tar"]
