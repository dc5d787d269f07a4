"""What may follow what in a chain, what a restore needs, and what of a snapshot is out of date."""

from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from coffer_common import naming
from coffer_common.errors import UserError
from coffer_common.wire import StorageAccess
from coffer_guest.engines.redis import restored
from coffer_guest.pipeline.failures import Damaged
from coffer_guest.pipeline.manifest import DataObject, Facts, Manifest, Parent
from coffer_guest.strategies.backup.access import opened
from coffer_guest.strategies.backup.base import BackupStrategy, load_for
from coffer_guest.strategies.backup.chain import check_links, needed_bytes
from coffer_guest.strategies.backup.mariabackup import MariaBackup, lsn_fault
from coffer_guest.strategies.backup.offered import offered
from coffer_guest.strategies.backup.redis_rdb import RedisBackup

DIGEST = "0" * 64


def manifest(number: int, *, plain_bytes: int = 10, **facts: object) -> Manifest:
    """Number 0 is a full backup; the LSN of each reaches to a hundred times its number."""
    usual: dict[str, object] = {
        "type": "incremental" if number else "full",
        "strategy": "MariaBackup",
        "datastore": "mariadb",
        "engine_version": "10.11.19",
        "instance": {"uid": "i"},
        "data_id": "d",
        "created_at": "2026-01-01T00:00:00Z",
        "finished_at": "2026-01-01T00:00:01Z",
        "position": {"lsnFrom": str(number * 100), "lsnTo": str(number * 100 + 100)},
        "parent": Parent(id=f"b{number - 1}", path="p", digest=DIGEST) if number else None,
        "full_id": "b0",
        "depth": number,
    }
    return Manifest(
        id=f"b{number}",
        facts=Facts.model_validate(usual | facts),
        data=DataObject(
            size_bytes=1,
            plain_bytes=plain_bytes,
            plain_sha256=DIGEST,
            records=1,
            compression="zstd",
            header_sha256=DIGEST,
            parts=(),
        ),
        keys=(),
    )


def test_a_chain_that_fits() -> None:
    check_links([manifest(0)])
    check_links([manifest(number) for number in range(5)])


@pytest.mark.parametrize(
    ("chain", "at_fault", "words"),
    [
        ([manifest(1)], "b1", "number 1"),
        ([manifest(0, type="incremental")], "b0", "without a parent"),
        ([manifest(0), manifest(2)], "b2", "number 2"),
        ([manifest(0), manifest(1, full_id="other")], "b1", "other"),
        ([manifest(0), manifest(1, data_id="e")], "b1", "data id is e"),
        ([manifest(0, data_id=""), manifest(1, data_id="")], "b1", "data id is unknown"),
        ([manifest(0), manifest(1, instance={"uid": "j"})], "b1", "instance is j"),
        ([manifest(0), manifest(1, datastore="redis")], "b1", "datastore is redis"),
        ([manifest(0), manifest(1, position={"lsnFrom": "99"})], "b1", "LSN is 99"),
        ([manifest(0), manifest(1, position={})], "b1", "LSN is unknown"),
        ([manifest(0), manifest(1), manifest(2, position={"lsnFrom": "100"})], "b2", "LSN"),
    ],
)
def test_a_chain_that_does_not_fit(chain: Sequence[Manifest], at_fault: str, words: str) -> None:
    with pytest.raises(Damaged, match=f"^backup {at_fault} does not fit .*{words}") as caught:
        check_links(chain)
    assert caught.value.reason == "ChainBroken"


def test_room_for_a_full_backup_and_for_increments() -> None:
    sizes = [100, 30, 20]
    chain = [manifest(number, plain_bytes=size) for number, size in enumerate(sizes)]
    assert needed_bytes(chain[:1]) == 100
    assert needed_bytes(chain) == 100 + 30 + 20 + 30


def test_a_server_below_its_parent_holds_other_data() -> None:
    assert lsn_fault(manifest(0), 100) == ""
    assert "at LSN 99, its parent b0 at 100" in lsn_fault(manifest(0), 99)
    assert "does not tell" in lsn_fault(manifest(0, position={}), 99)


def test_versions_that_read_one_another() -> None:
    assert MariaBackup.can_restore("10.11.6", "10.11")
    assert not MariaBackup.can_restore("10.6.6", "10.11")
    assert not MariaBackup.can_restore("11.4.2", "10.11")
    assert RedisBackup.can_restore("6.2.1", "7.0")
    assert RedisBackup.can_restore("7.2.1", "7.0")
    assert not RedisBackup.can_restore("8.0.1", "7.0")


@pytest.mark.parametrize(("prefix", "whole"), [("", "i/base/b"), ("/a/b/", "a/b/i/base/b")])
def test_paths_are_below_the_prefix(tmp_path: Path, prefix: str, whole: str) -> None:
    request = StorageAccess(
        strategy="filesystem",
        settings={"root": str(tmp_path)},
        prefix=prefix,
        current_key="k",
        keys={"k": "MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTE="},
    )
    with opened(request) as access:
        location = access.location("i/base/b/")
        assert location.path == whole
        assert access.path(location) == "i/base/b"
        assert access.url(location) == f"file://{tmp_path}/{whole}"
        for path in ("../i/base/b", "base/b", "i/other/b", ""):
            with pytest.raises(UserError, match="is no backup's location"):
                access.location(path)
    bad = request.model_copy(update={"keys": {"k": "secret", "current": "x"}})
    with pytest.raises(UserError, match="can have the id"), opened(bad):
        pass


# --- a snapshot under two names -------------------------------------------------------------------
@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "dump.rdb").write_bytes(b"snapshot")
    restored.lay(tmp_path)
    return tmp_path


def names(data: Path) -> set[str]:
    return {str(path.relative_to(data)) for path in data.rglob("*") if path.is_file()}


BASE = "appendonlydir/appendonly.aof.1.base.rdb"
MANIFEST = "appendonlydir/appendonly.aof.manifest"
INCREMENT = "appendonlydir/appendonly.aof.1.incr.aof"


def test_before_the_first_start_both_stay(data: Path) -> None:
    for _ in range(2):
        restored.tidy(data)
        assert names(data) == {"dump.rdb", BASE, MANIFEST}
    assert (data / BASE).samefile(data / "dump.rdb"), "it takes its room once"


def test_a_server_that_appends_leaves_the_snapshot_behind(data: Path) -> None:
    with (data / MANIFEST).open("a") as file:
        file.write("file appendonly.aof.1.incr.aof seq 1 type i\n")
    (data / INCREMENT).touch()
    for _ in range(2):
        restored.tidy(data)
        assert names(data) == {BASE, MANIFEST, INCREMENT}


def test_a_server_that_saves_leaves_the_append_only_file_behind(data: Path) -> None:
    scratch = data / "temp.rdb"
    scratch.write_bytes(b"newer")
    scratch.rename(data / "dump.rdb")
    for _ in range(2):
        restored.tidy(data)
        assert names(data) == {"dump.rdb"}


def test_what_was_never_restored_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "dump.rdb").write_bytes(b"x")
    (tmp_path / "appendonlydir").mkdir()
    (tmp_path / MANIFEST).write_text("file appendonly.aof.4.base.rdb seq 4 type b\n")
    restored.tidy(tmp_path)
    assert names(tmp_path) == {"dump.rdb", MANIFEST}


def test_the_operator_knows_which_strategies_make_dumps() -> None:
    found = entry_points(group="coffer.backup")
    logical = {one.name for one in found if one.load().logical}
    assert found
    assert logical == naming.LOGICAL_STRATEGIES


def test_an_image_offers_what_a_task_would_take() -> None:
    found = {offer.name: offer for offer in offered("mariadb")}
    assert set(found) == {"MariaBackup", "MariaBackupIncremental", "MySQLDump"}
    assert [name for name, offer in found.items() if offer.incremental] == [
        "MariaBackupIncremental"
    ]
    assert {name for name, offer in found.items() if offer.logical} == naming.LOGICAL_STRATEGIES
    assert [offer.name for offer in offered("redis")] == ["RedisBackup"]
    assert offered("none") == ()
    for name in entry_points(group="coffer.backup").names:
        taken = [manager for manager in ("mariadb", "redis") if _is_taken(name, manager)]
        there = [m for m in ("mariadb", "redis") if name in [offer.name for offer in offered(m)]]
        assert taken == there


def _is_taken(name: str, manager: str) -> bool:
    try:
        load_for(name, manager)
    except UserError:
        return False
    return True


def test_what_cannot_be_loaded_is_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str, manager: str) -> type[BackupStrategy]:
        if name == "MySQLDump":
            raise ImportError(name)
        return load_for(name, manager)

    monkeypatch.setattr("coffer_guest.strategies.backup.offered.load_for", broken)
    assert "MySQLDump" not in [offer.name for offer in offered("mariadb")]
    assert len(offered("mariadb")) == 2
