"""What is refused or worked out before anything is made."""

import os
import platform
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from coffer_cluster import cgroups, kernellimits, layout, locks, oci, preflight
from coffer_cluster.addresses import plan_for
from coffer_cluster.errors import StuckError, UnsupportedError
from coffer_cluster.layout import MARKER, Layout
from coffer_cluster.nodeconfig import reserved_memory_bytes
from coffer_cluster.waiting import wait_for

GROUPS = ["cpu,cpuacct", "cpuset", "memory", "pids", "freezer", "devices"]


@pytest.fixture
def good_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(cgroups, "hierarchies", lambda: [Path("/c", name) for name in GROUPS])
    monkeypatch.setattr(preflight, "STATE_ROOT", tmp_path / "state")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=26 * 10**9))
    return monkeypatch


@pytest.mark.usefixtures("good_machine")
def test_good_machine_is_accepted() -> None:
    preflight.check()


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda m: m.setattr(platform, "system", lambda: "Darwin"), "runs on Linux/amd64"),
        (lambda m: m.setattr(platform, "machine", lambda: "aarch64"), "runs on Linux/amd64"),
        (lambda m: m.setattr(os, "geteuid", lambda: 1000), "needs root"),
        (lambda m: m.setattr(cgroups, "hierarchies", list), "control groups of version 1"),
        (
            lambda m: m.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=24 * 10**9)),
            "24 GB free, and 25 GB are needed",
        ),
    ],
)
def test_each_fault_of_the_machine_has_its_line(
    good_machine: pytest.MonkeyPatch, spoil: Callable[[pytest.MonkeyPatch], None], line: str
) -> None:
    spoil(good_machine)
    with pytest.raises(UnsupportedError, match=line) as refused:
        preflight.check()
    assert "\n" not in str(refused.value)


def test_nothing_is_installed_where_nothing_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: list[str]) -> None:
        raise AssertionError("it would install packages")

    monkeypatch.setattr(preflight, "PROGRAMS", {"sh": "dash", "/etc/passwd": "base-passwd"})
    monkeypatch.setattr(preflight, "_install", refuse)
    preflight.install_missing()


def test_only_what_is_missing_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    appears = tmp_path / "tool"
    wanted = {"sh": "dash", str(appears): "package"}
    installed: list[str] = []

    def install(packages: list[str]) -> None:
        installed.extend(packages)
        appears.touch()

    monkeypatch.setattr(preflight, "STATE_ROOT", tmp_path)
    monkeypatch.setattr(preflight, "PROGRAMS", wanted)
    monkeypatch.setattr(preflight, "_install", install)
    monkeypatch.setattr(shutil, "which", lambda name, path=None: f"/bin/{name}")
    preflight.install_missing()
    assert installed == ["package"]


def test_what_cannot_be_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "STATE_ROOT", tmp_path)
    monkeypatch.setattr(preflight, "PROGRAMS", {"no-such-program": "no-such-package"})
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    with pytest.raises(UnsupportedError, match="missing no-such-package"):
        preflight.install_missing()


# --- the state folder ---


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setattr(layout, "state_dir", lambda tag: tmp_path / f"cluster-{tag}")
    return Layout(plan_for("unit"))


def test_folder_is_claimed_and_removed(state: Layout) -> None:
    assert not state.claimed()
    state.claim()
    assert state.claimed()
    (state.root / "n1" / "deep").mkdir(parents=True)
    (state.root / "link").symlink_to("/etc")
    state.remove()
    assert not state.root.exists()
    assert Path("/etc/passwd").exists()


def test_empty_folder_may_be_taken(state: Layout) -> None:
    state.root.mkdir()
    assert not state.claimed()


@pytest.mark.parametrize("marker", [None, "", "[]", '{"tag": "other"}'])
def test_foreign_folder_is_refused(state: Layout, marker: str | None) -> None:
    state.root.mkdir()
    (state.root / "precious").write_text("data")
    if marker is not None:
        (state.root / MARKER).write_text(marker)
    with pytest.raises(UnsupportedError, match="not a state folder of ours"):
        assert state.claimed()
    assert (state.root / "precious").read_text() == "data"


def test_nodes_are_found_by_their_folders(state: Layout) -> None:
    state.claim()
    for name in ("n2", "n10", "n1", "nothing", "cp"):
        (state.root / name).mkdir()
    assert state.node_numbers() == [1, 2, 10]


# --- the limit of file watchers ---


@pytest.fixture
def setting(tmp_path: Path) -> Path:
    file = tmp_path / "max_user_instances"
    file.write_text("128\n")
    return file


def test_watchers_are_raised_and_put_back_by_the_last(tmp_path: Path, setting: Path) -> None:
    for tag in ("one", "two"):
        (tmp_path / f"cluster-{tag}").mkdir()
        (tmp_path / f"cluster-{tag}.lock").touch()
        kernellimits.raise_watchers(tmp_path, setting)
        assert setting.read_text() == str(kernellimits.NEEDED)
    (tmp_path / "cluster-one").rmdir()
    kernellimits.restore_watchers(tmp_path, setting)
    assert setting.read_text() == str(kernellimits.NEEDED)
    (tmp_path / "cluster-two").rmdir()
    kernellimits.restore_watchers(tmp_path, setting)
    assert setting.read_text() == "128"
    kernellimits.restore_watchers(tmp_path, setting)
    assert setting.read_text() == "128"


def test_watchers_that_are_enough_stay(tmp_path: Path, setting: Path) -> None:
    setting.write_text("8192")
    kernellimits.raise_watchers(tmp_path, setting)
    kernellimits.restore_watchers(tmp_path, setting)
    assert setting.read_text() == "8192"


def test_watchers_changed_by_someone_else_stay(tmp_path: Path, setting: Path) -> None:
    kernellimits.raise_watchers(tmp_path, setting)
    setting.write_text("4096")
    kernellimits.restore_watchers(tmp_path, setting)
    assert setting.read_text() == "4096"


# --- small things ---


@pytest.mark.parametrize(("nodes", "left"), [(1, 24), (2, 12), (3, 8)])
def test_nodes_share_the_memory(nodes: int, left: int) -> None:
    total = 24 * 2**30
    assert total - reserved_memory_bytes(total, nodes) == left * 2**30


def test_wait_returns_what_it_waited_for() -> None:
    answers = iter([None, "", "there"])
    assert wait_for("it", lambda: next(answers), timeout_s=5, every_s=0) == "there"


def test_wait_says_what_it_waited_for() -> None:
    with pytest.raises(StuckError, match=r"waited 0\.01 s for the moon in vain: it is day"):
        wait_for("the moon", lambda: None, timeout_s=0.01, every_s=0, detail=lambda: "it is day")


def test_lock_is_held_by_one(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with (
        locks.exclusive(lock, timeout_s=0),
        pytest.raises(StuckError, match="another process has held"),
        locks.exclusive(lock, timeout_s=0),
    ):
        pass
    with locks.exclusive(lock, timeout_s=0):
        pass


def test_archive_is_the_same_each_time(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    archives = [tmp_path / "one.tar", tmp_path / "two.tar"]
    for archive in archives:
        oci.write(archive, "localhost/x:1", {"/program": program}, ["/program"])
    assert archives[0].read_bytes() == archives[1].read_bytes()
    configs = oci.config_digests(archives[0])
    assert list(configs) == ["localhost/x:1"]
    program.write_text("#!/bin/sh\nexit 1\n")
    oci.write(archives[1], "localhost/x:1", {"/program": program}, ["/program"])
    assert oci.config_digests(archives[1])["localhost/x:1"] != configs["localhost/x:1"]
