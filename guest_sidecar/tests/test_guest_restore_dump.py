"""Logical backups: databases as statements, loaded into an instance that runs."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from coffer_common.wire import RestoreTask, TaskState, TaskStatus
from guest_harness import MakePod, Pod
from guest_restores import (
    Vault,
    awaiting,
    backup,
    begin_backup,
    directory,
    ended,
    fill,
    put_task,
    restore,
    rows,
    sums,
    tools,
)

pytestmark = pytest.mark.guest


@pytest.fixture(scope="module")
def server(mariadb_seed: Path) -> Iterator[Pod]:
    tools()
    pod = Pod("mariadb", "10.11", mariadb_seed)
    try:
        pod.start().until_running()
        yield pod
    finally:
        pod.close()


@pytest.fixture
def pod(server: Pod) -> Iterator[Pod]:
    """The server with what every test begins with, and nothing that another test has left."""
    fill(server)
    yield server
    system = "'mysql', 'sys', 'information_schema', 'performance_schema'"
    for (name,) in rows(
        server,
        "SELECT CONCAT('`', REPLACE(schema_name, '`', '``'), '`') FROM information_schema.schemata"
        f" WHERE schema_name NOT IN ({system})",
    ):
        rows(server, f"DROP DATABASE {name}")
    rows(server, "DROP USER app@'%'")


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return directory(tmp_path / "vault")


def load(pod: Pod, vault: Vault, path: str, task_id: str, *databases: str) -> TaskStatus:
    task = RestoreTask(storage=vault.access, path=path, databases=databases)
    put_task(pod, task_id, "restoreDump", task.model_dump(mode="json"))
    return ended(pod, task_id)


def test_databases_come_back_as_they_were(pod: Pod, vault: Vault, mariadb_pod: MakePod) -> None:
    taken = backup(pod, vault, "all", strategy="MySQLDump")
    assert (taken.type, taken.position) == ("full", {})
    before = sums(pod)
    assert len(before) == 2
    rows(pod, "DELETE FROM shop.orders", "DROP DATABASE `odd-name`", "CREATE DATABASE mine")
    rows(pod, "CREATE TABLE mine.t (id INT)", "DROP PROCEDURE shop.p")

    data = vault.folder(taken.path) / "data"
    whole = data.read_bytes()
    data.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    task = load(pod, vault, taken.path, "flipped")
    assert (task.state, task.reason) == (TaskState.FAILED, "BackupDamaged")
    assert rows(pod, "SELECT COUNT(*) FROM shop.orders") == ((0,),), "not one statement was run"
    data.write_bytes(whole)
    task = load(pod, vault, taken.path, "whole")
    assert task.state is TaskState.COMPLETED, task
    assert task.result == {"path": taken.path, "databases": ["odd-name", "shop"]}
    assert task.bytes_done == task.bytes_total
    assert sums(pod) == before
    assert rows(pod, "CALL shop.p()") == ((1,),)
    assert rows(pod, "SELECT COUNT(*) FROM mine.t") == ((0,),), "others are not touched"

    new = awaiting(mariadb_pod(), taken.path)
    task = restore(new, vault, taken.path)
    assert (task.state, task.reason, task.permanent) == (TaskState.FAILED, "NotPhysical", True)


def test_some_databases_and_a_physical_one(pod: Pod, vault: Vault) -> None:
    taken = backup(pod, vault, "some", strategy="MySQLDump", databases=("odd-name",))
    task = load(pod, vault, taken.path, "some-load")
    assert task.result == {"path": taken.path, "databases": ["odd-name"]}
    physical = backup(pod, vault, "physical", strategy="MariaBackup")
    task = load(pod, vault, physical.path, "physical-load")
    assert (task.state, task.reason, task.permanent) == (TaskState.FAILED, "NotLogical", True)
    assert os.listdir(vault.folder(physical.path))


LURE = (
    "CREATE PROCEDURE shop.lure() BEGIN\n/* it's\n*/ SELECT 'x\n--\n-- Current Database: `odd-name`"
    "\n--\n\nCREATE DATABASE /*!32312 IF NOT EXISTS*/ `odd-name`;\n\nUSE `odd-name`;\n';\n"
    "-- isn't it\nEND"
)
ROW = "it's\n; USE `shop`;"


def test_one_database_out_of_several(pod: Pod, vault: Vault) -> None:
    rows(pod, LURE, "CREATE DATABASE `b``q`", "CREATE TABLE `b``q`.t (id INT, n TEXT)")
    rows(pod, "INSERT INTO `b``q`.t VALUES (1, 'it''s\n; USE `shop`;')")
    rows(pod, "CREATE VIEW shop.v AS SELECT id FROM shop.orders WHERE note <> ';''x'")
    taken = backup(pod, vault, "several", strategy="MySQLDump")
    before = sums(pod)
    rows(pod, "DELETE FROM `odd-name`.aria", "DELETE FROM `b``q`.t")
    rows(pod, "DROP PROCEDURE shop.lure", "DROP VIEW shop.v", "DROP TABLE shop.orders")

    task = load(pod, vault, taken.path, "none", "shop", "nothing")
    assert (task.state, task.reason, task.permanent) == (TaskState.FAILED, "DatabaseMissing", True)
    assert "no database nothing; it holds b`q, " in task.message
    task = load(pod, vault, taken.path, "one", "shop")
    assert task.state is TaskState.COMPLETED, task
    assert task.result == {"path": taken.path, "databases": ["shop"]}
    assert sums(pod)["`shop`.`orders`"] == before["`shop`.`orders`"]
    assert len(rows(pod, "CALL shop.lure()")) == 1
    assert rows(pod, "SELECT COUNT(*) FROM shop.v") == ((3000,),)
    assert rows(pod, "SELECT COUNT(*) FROM `odd-name`.aria") == ((0,),), "it was not asked for"
    assert rows(pod, "SELECT COUNT(*) FROM `b``q`.t") == ((0,),)
    task = load(pod, vault, taken.path, "two", "odd-name", "b`q")
    assert task.result == {"path": taken.path, "databases": ["b`q", "odd-name"]}
    assert sums(pod) == before
    assert rows(pod, "SELECT n FROM `b``q`.t") == ((ROW,),)


def test_a_physical_backup_of_some_databases_is_none(pod: Pod, vault: Vault) -> None:
    begin_backup(pod, vault, "half", strategy="MariaBackup", databases=("shop",))
    task = ended(pod, "half")
    assert (task.state, task.reason, task.permanent) == (TaskState.FAILED, "StrategyInvalid", True)
    assert "MySQLDump" in task.message
