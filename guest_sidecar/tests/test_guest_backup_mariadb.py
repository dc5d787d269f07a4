"""Backups of a real MariaDB, and instances restored from them."""

import base64
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from coffer_common.wire import TaskState
from guest_harness import MakePod, Pod, until
from guest_restores import (
    Vault,
    backup,
    connected,
    directory,
    fill,
    restore,
    restored,
    rows,
    sums,
    tools,
)
from guest_s3 import ACCESS_KEY, BUCKET, SECRET_KEY, versitygw

pytestmark = pytest.mark.guest

FULL = "MariaBackup"
INCREMENTAL = "MariaBackupIncremental"


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    tools()
    return directory(tmp_path / "vault")


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[Vault]:
    tools()
    with versitygw(tmp_path / "s3") as port:
        settings = {
            "bucket": BUCKET,
            "endpoint": f"http://127.0.0.1:{port}",
            "access_key": ACCESS_KEY,
            "secret_key": SECRET_KEY,
        }
        yield Vault("s3", settings, tmp_path / "s3" / BUCKET)


@pytest.fixture
def source(mariadb_pod: MakePod) -> Pod:
    pod = mariadb_pod()
    pod.start().until_running()
    fill(pod)
    return pod


def test_a_full_backup_is_restored_equal(source: Pod, vault: Vault, mariadb_pod: MakePod) -> None:
    taken = backup(source, vault, "b1", strategy=FULL)
    assert (taken.type, taken.depth, taken.parent, taken.why_full) == ("full", 0, None, "")
    assert taken.path == f"{source.config.uid}/base/b1"
    assert taken.location == f"file://{vault.root}/some/prefix/{taken.path}"
    assert taken.engine_version.startswith("10.11.")
    assert taken.key_id == "k1"
    assert taken.position["lsnFrom"] == "0"
    assert int(taken.position["lsnTo"]) > 0
    ((gtid,),) = rows(source, "SELECT @@gtid_binlog_pos")
    assert taken.position["gtid"] == gtid
    assert taken.size_bytes == (vault.folder(taken.path) / "data").stat().st_size

    target = restored(mariadb_pod(), vault, taken.path)
    assert sums(target) == sums(source)
    assert rows(target, "CALL shop.p()") == ((1,),)
    ids = [rows(pod, "SELECT @@server_id") for pod in (source, target)]
    assert ids[0] != ids[1]
    assert not list((target.volume / "data").glob("xtrabackup_*"))
    assert not list((source.volume / ".coffer" / "scratch").glob("*"))
    # accounts are tables: they come back as they were, and the instance's are set after it
    request = {"password": "new", "databases": ["shop"]}
    assert target.ask("PUT", "/v1/users/app", request).status == 204
    again = restore(target, vault, taken.path, "again")
    assert again.state is TaskState.COMPLETED, "what is done is said"
    other = restore(target, vault, "other/base/b2", "other")
    assert (other.state, other.permanent) == (TaskState.FAILED, True)
    for secret in vault.secrets():
        for path in [*source.root.rglob("*"), *target.root.rglob("*")]:
            assert not path.is_file() or secret not in path.read_bytes(), path


def test_a_chain_in_a_bucket_is_restored_equal(
    source: Pod, bucket: Vault, mariadb_pod: MakePod
) -> None:
    vault = bucket
    first = backup(source, vault, "b1", strategy=INCREMENTAL)
    assert (first.type, first.strategy) == ("full", FULL)
    assert first.why_full == "there is no parent"
    rows(source, "DELETE FROM shop.orders WHERE id % 3 = 0", "CREATE TABLE shop.later (id INT)")
    second = backup(source, vault, "b2", strategy=INCREMENTAL, parent=first.path)
    assert (second.type, second.depth, second.parent) == ("incremental", 1, first.path)
    assert second.position["lsnFrom"] == first.position["lsnTo"]
    assert second.plain_bytes < first.plain_bytes
    assert int(second.position["lsnTo"]) > int(first.position["lsnTo"])
    rows(source, "INSERT INTO shop.later VALUES (1), (2)", "DROP TABLE `odd-name`.aria")
    third = backup(source, vault, "b3", strategy=INCREMENTAL, parent=second.path)
    assert third.depth == 2
    assert third.plain_bytes * 3 < first.plain_bytes, "not again what its parents hold"
    target = restored(mariadb_pod(), vault, third.path)
    assert sums(target) == sums(source)

    # an increment on another data directory would restore half of the rows, without an error
    mixed = backup(target, vault, "b4", strategy=INCREMENTAL, parent=third.path)
    assert mixed.type == "full"
    assert "another instance, or one that was restored" in mixed.why_full
    rotated = replace(vault, current="k2", keys={"k2": base64.b64encode(b"2" * 32).decode()})
    unread = backup(source, rotated, "b6", strategy=INCREMENTAL, parent=third.path)
    assert (unread.type, unread.key_id) == ("full", "k2")
    assert "encrypted with key 'k1'" in unread.why_full
    (vault.folder(second.path) / "manifest.json").unlink()
    broken = backup(source, vault, "b5", strategy=INCREMENTAL, parent=third.path)
    assert broken.type == "full"
    assert second.path in broken.why_full
    for secret in vault.secrets():
        for path in [*source.root.rglob("*"), *target.root.rglob("*")]:
            assert not path.is_file() or secret not in path.read_bytes(), path


def test_a_backup_under_load_is_the_state_at_its_gtid(
    source: Pod, vault: Vault, mariadb_pod: MakePod
) -> None:
    rows(source, "CREATE TABLE shop.log (id INT PRIMARY KEY AUTO_INCREMENT, t BLOB)")
    ((before,),) = rows(source, "SELECT @@gtid_binlog_pos")
    stop = threading.Event()

    def write() -> None:
        with connected(source) as connection, connection.cursor() as cursor:
            while not stop.is_set():
                cursor.execute("INSERT INTO shop.log (t) VALUES (REPEAT('x', 1000))")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        until("it writes", lambda: rows(source, "SELECT MAX(id) > 20 FROM shop.log")[0][0])
        taken = backup(source, vault, "b1", strategy=FULL)
        ((at_end,),) = rows(source, "SELECT MAX(id) FROM shop.log")
        until("it goes on", lambda: rows(source, "SELECT MAX(id) FROM shop.log")[0][0] > at_end)
    finally:
        stop.set()
        writer.join()
    target = restored(mariadb_pod(), vault, taken.path)
    wanted = int(taken.position["gtid"].split("-")[2]) - int(before.split("-")[2])
    assert 20 < wanted <= at_end
    checked = "SELECT COUNT(*), MAX(id), BIT_XOR(CRC32(t) + id) FROM shop.log"
    assert rows(target, checked) == rows(source, f"{checked} WHERE id <= {wanted}")
    assert rows(target, checked)[0][1] == wanted
