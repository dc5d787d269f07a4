"""The task `verify` of real engines: sound data are counted, damaged ones named."""

import uuid
from pathlib import Path

import pytest

from coffer_common.proof import NoteTask, Proof
from coffer_common.wire import TaskState, TaskStatus
from coffer_guest.engines.redis.acl import ADMINISTRATOR
from coffer_guest.pipeline import archive, proofs
from coffer_guest.pipeline.stop import Stop
from coffer_guest.strategies.backup.access import opened
from guest_engines import Redis
from guest_harness import MakePod, Pod, until
from guest_restores import (
    Vault,
    awaiting,
    backup,
    begin_restore,
    directory,
    ended,
    fill,
    put_task,
    rows,
)

pytestmark = pytest.mark.guest


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return directory(tmp_path / "vault")


def verify(pod: Pod) -> TaskStatus:
    task_id = f"verify-{uuid.uuid4()}"
    put_task(pod, task_id, "verify", {})
    return ended(pod, task_id)


def restored_whole(pod: Pod, vault: Vault, path: str) -> Pod:
    """With the checksum of the whole stream compared, as for a test restore."""
    begin_restore(awaiting(pod, path), vault, path, whole=True)
    task = ended(pod, "restore")
    assert task.state is TaskState.COMPLETED, (task, pod.tail())
    pod.until_running()
    return pod


def last_leaf(data: bytes) -> int:
    """Where the rows of the last filled leaf of an InnoDB table are.

    A page has its type at 24, its number of records at 54 and its level in the tree at 64.
    """
    pages = range(0, len(data), 16384)
    leaves = [
        at
        for at in pages
        if data[at + 24 : at + 26] == b"\x45\xbf"
        and data[at + 64 : at + 66] == b"\0\0"
        and data[at + 54 : at + 56] > b"\0\x02"
    ]
    return leaves[-1] + 8000


def damage(pod: Pod, name: str) -> None:
    """Overwrite some bytes of a table's file while the engine is stopped."""
    pod.ask("POST", "/v1/engine/stop", {"token": f"stop-{name}"})
    until("the engine has ended", lambda: pod.ask_launcher("status")["state"] == "stopped")
    path = pod.volume / "data" / name
    data = bytearray(path.read_bytes())
    at = (
        last_leaf(bytes(data)) if path.suffix == ".ibd" else 8192 + 100
    )  # Aria's first page of rows
    data[at : at + 64] = bytes(byte ^ 0xFF for byte in data[at : at + 64])
    path.write_bytes(data)
    pod.ask("POST", "/v1/engine/start", {"token": f"start-{name}"})
    pod.until_running()


def test_tables_of_a_restored_mariadb(mariadb_pod: MakePod, vault: Vault) -> None:
    source = mariadb_pod()
    source.start().until_running()
    fill(source)
    taken = backup(source, vault, "b1", strategy="MariaBackup")
    pod = restored_whole(mariadb_pod(), vault, taken.path)
    sound = verify(pod)
    assert sound.state is TaskState.COMPLETED, sound
    assert sound.message.startswith("found sound: 2 tables in 2 databases, ")
    assert sound.result == {"tables": 2, "databases": 2}
    rows(pod, "CREATE VIEW shop.v AS SELECT * FROM shop.orders", "DROP TABLE `odd-name`.aria")
    assert verify(pod).result == {"tables": 1, "databases": 1}, "a view holds no data"


@pytest.mark.parametrize(
    ("name", "table"),
    [("odd@002dname/aria.MAD", "`odd-name`.`aria`"), ("shop/orders.ibd", "`shop`.`orders`")],
)
def test_a_damaged_table_is_named(mariadb_pod: MakePod, name: str, table: str) -> None:
    pod = mariadb_pod()
    pod.start().until_running()
    fill(pod)
    damage(pod, name)
    found = verify(pod)
    assert found.state is TaskState.FAILED, found
    assert (found.reason, found.permanent) == ("DataDamaged", True)
    assert table in found.message


def note(pod: Pod, vault: Vault, path: str, proof: Proof) -> TaskStatus:
    task_id = f"note-{uuid.uuid4()}"
    task = NoteTask(storage=vault.access, path=path, proof=proof)
    put_task(pod, task_id, "noteVerified", task.model_dump(mode="json"))
    return ended(pod, task_id)


def kept(vault: Vault, path: str) -> Proof | None:
    with opened(vault.access) as access, Stop() as stop:
        where = access.location(path)
        manifest, _ = archive.open_manifest(access.store, where, access.ring, stop)
        return proofs.recall(access.store, where, manifest, access.ring, stop)


def test_what_was_found_out_is_kept_by_the_agent_that_found_it(
    mariadb_pod: MakePod, vault: Vault
) -> None:
    source = mariadb_pod()
    source.start().until_running()
    taken = backup(source, vault, "b1", strategy="MariaBackup")
    passed = Proof(time="2026-01-01T00:00:00Z", result="Passed", duration_s=9, recovery_s=8)
    assert note(source, vault, taken.path, passed).state is TaskState.COMPLETED
    assert kept(vault, taken.path) == passed

    (vault.folder(taken.path) / "data").write_bytes(b"damaged")
    pod = awaiting(mariadb_pod(), taken.path)
    begin_restore(pod, vault, taken.path)
    assert ended(pod, "restore").reason == "BackupDamaged"
    failed = Proof(time="2026-01-02T00:00:00Z", result="Failed")
    task = note(pod, vault, taken.path, failed)
    assert task.state is TaskState.COMPLETED, (task, "there are no data, and still an agent")
    assert kept(vault, taken.path) == failed

    folder = vault.folder(taken.path)
    (folder / "verified.json").unlink()
    (folder / "verified.json").mkdir()  # what nobody can write to
    found = note(pod, vault, taken.path, failed)
    assert found.state is TaskState.FAILED, found
    assert not any(secret in found.model_dump_json().encode() for secret in vault.secrets())


def test_keys_of_a_restored_redis(redis_pod: MakePod, vault: Vault) -> None:
    source = redis_pod()
    source.start().until_running()
    assert verify(source).result == {"keys": 0, "databases": 0}
    secret = (source.run / "redis-administrator").read_text()
    with Redis(source.run / "redis.sock", ADMINISTRATOR, secret) as redis:
        for number in range(40):
            redis.ask("SET", f"key{number}", "v" * 100)
        redis.ask("SELECT", 3)
        redis.ask("SET", "there", "x", "EX", 100_000)
    taken = backup(source, vault, "b1", strategy="RedisBackup")
    pod = restored_whole(redis_pod(), vault, taken.path)
    found = verify(pod)
    assert found.state is TaskState.COMPLETED, found
    assert found.result == {"keys": 41, "databases": 2}
    assert found.message == "the snapshot was loaded: 41 keys in 2 databases"
