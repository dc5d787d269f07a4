"""The binary log takes its share of the volume, and no more."""

from pathlib import Path

import pytest

from coffer_guest.engines.mariadb import binary_log
from guest_harness import MakePod, until
from guest_restores import rows

MIB = 1 << 20
# 20 MB of rows
WRITE = "INSERT INTO shop.big (body) SELECT REPEAT(UUID(), 28000) FROM shop.seq_1_to_20"


def logs(folder: Path, *sizes_mib: int) -> None:
    names = [f"binlog.{number:06}" for number in range(1, len(sizes_mib) + 1)]
    for name, size_mib in zip(names, sizes_mib, strict=True):
        with (folder / name).open("wb") as file:
            file.truncate(size_mib * MIB)
    (folder / "binlog.index").write_text("".join(f"./{name}\n" for name in names))


@pytest.mark.parametrize(
    ("sizes_mib", "oldest"),
    [
        ((1,), None),
        ((200,), None),  # the one that is written to always stays
        ((32, 32), None),
        ((32, 32, 1), "binlog.000002"),
        ((32, 200), "binlog.000002"),
        ((32, 32, 32, 32, 32), "binlog.000004"),
    ],
)
def test_the_oldest_go_first(
    tmp_path: Path, sizes_mib: tuple[int, ...], oldest: str | None
) -> None:
    logs(tmp_path, *sizes_mib)
    assert binary_log.oldest_kept(tmp_path, 64 * MIB) == oldest


def test_a_log_that_goes_meanwhile_counts_nothing(tmp_path: Path) -> None:
    logs(tmp_path, 40, 40, 40)
    (tmp_path / "binlog.000002").unlink()
    assert binary_log.oldest_kept(tmp_path, 64 * MIB) == "binlog.000002"
    assert binary_log.oldest_kept(tmp_path, 100 * MIB) is None


def test_without_a_binary_log_nothing_goes(tmp_path: Path) -> None:
    assert binary_log.oldest_kept(tmp_path, 1) is None


@pytest.mark.parametrize(("volume_gib", "share_mib"), [(1, 64), (10, 512), (1000, 4096)])
def test_a_twentieth_of_the_volume_within_bounds(volume_gib: int, share_mib: int) -> None:
    assert binary_log.share_bytes(volume_gib << 30) == share_mib * MIB


@pytest.mark.guest
def test_a_burst_of_writes_leaves_room(mariadb_pod: MakePod) -> None:
    pod = mariadb_pod()
    pod.configure(volume_size_bytes=1 << 30)
    pod.start().until_running()
    rows(pod, "CREATE DATABASE shop", "CREATE TABLE shop.big (body LONGTEXT)")
    for _ in range(6):
        rows(pod, WRITE, "TRUNCATE shop.big")
    until(
        "the oldest are gone",
        lambda: sum(p.stat().st_size for p in (pod.volume / "data").glob("binlog.0*")) <= 64 * MIB,
    )
    assert not (pod.volume / "data" / "binlog.000001").exists()
    # functions and triggers are made by whoever may, as without a binary log
    assert rows(pod, "SELECT @@log_bin, @@log_bin_trust_function_creators") == ((1, 1),)
