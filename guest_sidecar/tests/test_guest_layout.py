"""What a new data directory is made of: the seed's copy, the redo log, the rendered template."""

from collections.abc import Callable
from pathlib import Path

import pytest

from coffer_common.errors import Permanent, Transient
from coffer_common.wire import DataState, FlavorSize, GuestConfig
from coffer_guest.engines.mariadb import MariaDB, configuration, redo_log
from coffer_guest.layout import copy_tree
from coffer_guest.template import Template, render
from guest_harness import MIB, MakePod

HEADER = 12288
CONFIG = GuestConfig(
    namespace="tests",
    instance="one",
    uid="u",
    group="one",
    datastore="mariadb",
    version="10.11",
    manager="mariadb",
    port=3306,
    flavor=FlavorSize(ram_bytes=512 * MIB, vcpus=0.25),
    volume_size_bytes=1024 * MIB,
)


# --- the copy -----------------------------------------------------------------------------------
@pytest.mark.guest
def test_a_copy_is_the_engines_alone_and_has_holes(tmp_path: Path) -> None:
    seed, copy = tmp_path / "seed", tmp_path / "copy"
    (seed / "db").mkdir(parents=True)
    zeros, text = seed / "zeros", seed / "db" / "file"
    zeros.write_bytes(bytes(4 * MIB))
    text.write_bytes(b"x" * 5000)
    text.chmod(0o666)
    copy_tree(seed, copy)
    assert (copy / "zeros").read_bytes() == zeros.read_bytes()
    assert (copy / "db" / "file").read_bytes() == text.read_bytes()
    assert (copy / "zeros").stat().st_blocks * 512 < MIB
    assert (copy / "db" / "file").stat().st_mode & 0o777 == 0o600
    for folder in (copy, copy / "db"):
        assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.guest
def test_a_copy_that_fails_says_why_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "seed").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(Transient, match=r"file.*Not a directory"):
        copy_tree(tmp_path / "seed", tmp_path / "file" / "copy")


# --- the redo log -------------------------------------------------------------------------------
def log(path: Path, *, first: int = HEADER, ends: tuple[int, int] = (50_000, 49_000)) -> Path:
    """A log of 1 MiB with nothing but its header."""
    header = bytearray(HEADER)
    header[:4] = b"Phys"
    header[8:16] = first.to_bytes(8, "big")
    for start, end in zip((4096, 8192), ends, strict=True):
        header[start + 8 : start + 16] = end.to_bytes(8, "big")
    path.write_bytes(bytes(header) + bytes(MIB - HEADER))
    return path


def test_a_log_grows_to_its_size_and_keeps_what_it_holds(tmp_path: Path) -> None:
    path = log(tmp_path / "log")
    before = path.read_bytes()
    assert redo_log.grow(path, 3 * MIB)
    assert path.read_bytes() == before + bytes(2 * MIB)
    assert not redo_log.grow(path, 3 * MIB), "it has its size"


@pytest.mark.parametrize(
    ("make", "size_bytes"),
    [
        (log, MIB // 2),
        (log, 3 * MIB + 1),
        (lambda path: log(path, ends=(HEADER + MIB, 0)), 3 * MIB),  # it has come round
        (lambda path: log(path, ends=(HEADER + MIB - HEADER - 1, 0)), 3 * MIB),  # it is about to
        (lambda path: log(path, first=99_999), 3 * MIB),  # no such log can be
        (lambda path: write(path, b"Phys"), 3 * MIB),
        (lambda path: write(path, bytes(MIB)), 3 * MIB),  # another format
    ],
)
def test_a_log_that_is_not_understood_is_left_to_the_server(
    tmp_path: Path, make: Callable[[Path], Path], size_bytes: int
) -> None:
    path = make(tmp_path / "log")
    before = path.read_bytes()
    assert not redo_log.grow(path, size_bytes)
    assert path.read_bytes() == before


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_a_copy_is_fitted_to_the_template(tmp_path: Path) -> None:
    path = log(tmp_path / "ib_logfile0")
    MariaDB.fit(tmp_path, {"max_connections": 1})
    assert path.stat().st_size == MIB
    MariaDB.fit(tmp_path, {"innodb_log_file_size": "2M"})
    assert path.stat().st_size == 2 * MIB


@pytest.mark.parametrize(
    ("text", "size"), [("4096", 4096), ("96M", 96 * MIB), ("1g", 1024 * MIB), ("64k", 65536)]
)
def test_sizes_as_option_files_write_them(text: str, size: int) -> None:
    assert configuration.size_bytes(text) == size


@pytest.mark.guest
def test_no_server_makes_its_log_anew(mariadb_pod: MakePod) -> None:
    pod = mariadb_pod().start()
    pod.until_running()
    assert "Resizing" not in pod.log("launcher")
    assert (pod.volume / "data" / redo_log.FILE).stat().st_size == 96 * MIB


# --- the template -------------------------------------------------------------------------------
@pytest.mark.guest
async def test_a_template_is_rendered_once_and_again_when_it_could_not_be() -> None:
    template = Template()
    text = await template.text(CONFIG)
    assert "[mariadbd]" in text
    assert template.begin(CONFIG) is template.begin(CONFIG.model_copy(update={"port": 1}))
    larger = CONFIG.model_copy(update={"flavor": FlavorSize(ram_bytes=1024 * MIB, vcpus=1)})
    assert await template.text(larger) != text

    unknown = CONFIG.model_copy(update={"datastore": "nosuch"})
    failed = template.begin(unknown)
    with pytest.raises(Permanent, match=r"^there is no config.template for nosuch 10.11$"):
        await template.text(unknown)
    assert template.begin(unknown) is not failed


@pytest.mark.guest
def test_a_child_that_dies_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = ("/bin/sh", "-c", "echo first >&2; echo why >&2; exit 3")
    monkeypatch.setattr("coffer_guest.template._CHILD", broken)
    with pytest.raises(Permanent, match=r"^why$"):
        render(CONFIG)


@pytest.mark.guest
def test_a_datastore_without_a_template_is_said_and_mended(redis_pod: MakePod) -> None:
    pod = redis_pod()
    pod.configure(datastore="nosuch")
    pod.start()
    status = pod.until_status("it is said", lambda status: "nosuch" in status.data.message)
    assert status.data.state is not DataState.LAID_OUT
    pod.configure(datastore="redis")
    pod.until_running()
