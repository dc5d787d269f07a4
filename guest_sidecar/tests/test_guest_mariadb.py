"""An instance of MariaDB from an empty volume on: data, databases, users, logs."""

import itertools
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pymysql
import pytest
from pymysql.connections import Connection

from coffer_common.wire import DataState, EngineState, GuestStatus
from guest_harness import Pod, until, user_name

pytestmark = pytest.mark.guest

SECRET = "s3cret-'\"\\%-in-nothing-but-the-server"


@pytest.fixture(scope="module")
def pod(mariadb_seed: Path) -> Iterator[Pod]:
    """One running instance for all tests of this module that harm nothing."""
    pod = Pod("mariadb", "10.11", mariadb_seed)
    try:
        pod.start().until_running()
        yield pod
    finally:
        pod.close()


def connect(pod: Pod, user: str, password: str, database: str | None = None) -> Connection:
    return pymysql.connect(
        host="127.0.0.1",
        port=pod.config.port,
        user=user,
        password=password,
        database=database,
        connect_timeout=5,
    )


def query(connection: Connection, statement: str) -> tuple[tuple[object, ...], ...]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return tuple(cursor.fetchall())


def test_a_new_instance_says_what_it_is(pod: Pod) -> None:
    status = pod.until_running()
    assert status.instance_uid == "instance-uid"
    assert status.pod_uid == pod.uid
    assert status.data.state is DataState.LAID_OUT
    assert status.data.data_id is not None
    assert status.data.size_bytes is not None
    assert status.data.used_bytes is not None
    assert status.engine.version is not None
    assert status.engine.version.startswith("10.11.")
    assert status.engine.restarts == 0
    assert pod.probe("/livez").status == 200
    assert pod.probe("/readyz").status == 200


def test_it_tells_which_backups_it_can_take(pod: Pod) -> None:
    status = pod.until_status("they are told", lambda s: s.backup_strategies is not None)
    assert [offer.name for offer in status.backup_strategies or ()] == [
        "MariaBackup",
        "MariaBackupIncremental",
        "MySQLDump",
    ]


def test_metrics_tell_engine_volume_and_version(pod: Pod) -> None:
    text = pod.probe("/metrics").body
    assert "coffer_engine_up 1.0" in text
    assert "coffer_engine_restarts_total 0.0" in text
    assert "coffer_volume_size_bytes" in text
    assert 'coffer_guest_info{engine_version="10.11.' in text


def test_configuration_is_one_file_per_layer_the_system_last(pod: Pod) -> None:
    main = (pod.etc / "my.cnf").read_text().splitlines()
    assert [line.rpartition("/")[2] for line in main] == [
        "10-template.cnf",
        "20-defaults.cnf",
        "30-group.cnf",
        "90-system.cnf",
    ]
    assert "innodb_buffer_pool_size" in (pod.etc / "10-template.cnf").read_text()
    defaults = pod.ask("GET", "/v1/configuration/defaults").body["values"]
    assert defaults["innodb_buffer_pool_size"].endswith("M")


def test_status_waits_for_a_change(pod: Pod) -> None:
    before = pod.until_status("the inventory is there", lambda status: status.databases is not None)
    seen = [before]

    def follow() -> None:
        """One long poll after the other: each answer but the first is another than the one before.

        What another test changed a moment ago may come before what is awaited here.
        """
        while "awaited" not in (seen[-1].databases or ()):
            answer = pod.ask("GET", f"/v1/status?seen={seen[-1].etag}&wait=30")
            seen.append(GuestStatus.model_validate(answer.body))

    waiting = threading.Thread(target=follow, daemon=True)
    waiting.start()
    assert pod.ask("PUT", "/v1/databases/awaited", {}).status == 204
    waiting.join(20)
    assert not waiting.is_alive()
    assert all(one.etag != other.etag for one, other in itertools.pairwise(seen))


def test_status_that_does_not_change_is_answered_when_time_is_up(pod: Pod) -> None:
    status = pod.until_running()
    same = pod.ask("GET", f"/v1/status?seen={status.etag}&wait=0.1")
    assert same.status == 200


def test_nobody_gets_in_who_should_not(pod: Pod) -> None:
    for user in ("root", "", "mysql", user_name()):
        with pytest.raises(pymysql.err.OperationalError):
            connect(pod, user, "")
    users = {(user["name"], user["host"]) for user in pod.ask("GET", "/v1/users").body["users"]}
    assert not {name for name, _ in users} & {"root", "", "mysql", "mariadb.sys", user_name()}
    databases = [one["name"] for one in pod.ask("GET", "/v1/databases").body["databases"]]
    assert "test" not in databases
    assert "mysql" not in databases


def test_databases_are_made_changed_and_dropped_repeatably(pod: Pod) -> None:
    wanted = {"character_set": "utf8mb4", "collate": "utf8mb4_bin"}
    for _ in range(2):
        assert pod.ask("PUT", "/v1/databases/shop%20one", wanted).status == 204
    found = pod.ask("GET", "/v1/databases").body["databases"]
    assert {"name": "shop one", **wanted} in found
    changed = {"character_set": "latin1", "collate": "latin1_bin"}
    assert pod.ask("PUT", "/v1/databases/shop%20one", changed).status == 204
    assert {"name": "shop one", **changed} in pod.ask("GET", "/v1/databases").body["databases"]
    for _ in range(2):
        assert pod.ask("DELETE", "/v1/databases/shop%20one").status == 204
    names = [one["name"] for one in pod.ask("GET", "/v1/databases").body["databases"]]
    assert "shop one" not in names


@pytest.mark.parametrize(
    ("path", "body", "status", "word"),
    [
        ("/v1/databases/mysql", {}, 422, "belongs to the server"),
        ("/v1/databases/a%2Fb", {}, 422, "letters, digits"),
        ("/v1/databases/ok", {"character_set": "klingon"}, 422, "klingon"),
        ("/v1/databases/ok", {"character_set": "latin1", "collate": "utf8mb4_bin"}, 422, "one of"),
        ("/v1/databases/ok", {"collate": "x; DROP DATABASE mysql"}, 422, "no collation"),
        ("/v1/users/root", {"password": "x"}, 422, "belongs to the server"),
        ("/v1/users/a%27b", {"password": "x"}, 422, "characters"),
        ("/v1/users/ok", {"password": "x", "host": "10.0.0.0/8"}, 422, "netmask"),
        ("/v1/users/ok", {"password": "x", "host": "db.example.com"}, 422, "host"),
        ("/v1/users/ok", {"password": {"secret": SECRET}}, 400, "password: string_type"),
        ("/v1/users/ok", {}, 400, "password: missing"),
        ("/v1/nothing", {}, 404, "/v1/nothing"),
    ],
)
def test_refusals_are_one_line_and_change_nothing(
    pod: Pod, path: str, body: object, status: int, word: str
) -> None:
    answer = pod.ask("PUT", path, body)
    assert answer.status == status
    assert word in answer.body["message"]
    assert "\n" not in answer.body["message"]
    assert SECRET not in str(answer.body)


def test_users_reach_their_databases_and_no_others(pod: Pod) -> None:
    for name in ("a_b", "axb", "other"):
        assert pod.ask("PUT", f"/v1/databases/{name}", {}).status == 204
    for _ in range(2):
        request = {"password": SECRET, "databases": ["a_b", "other"]}
        assert pod.ask("PUT", "/v1/users/app", request).status == 204
    with connect(pod, "app", SECRET) as connection:
        visible = {row[0] for row in query(connection, "SHOW DATABASES")}
        assert visible & {"a_b", "axb", "other"} == {"a_b", "other"}
        query(connection, "CREATE TABLE a_b.t (n INT)")
        with pytest.raises(pymysql.err.OperationalError):
            query(connection, "CREATE TABLE axb.t (n INT)")
        with pytest.raises(pymysql.err.OperationalError):
            query(connection, "SET GLOBAL read_only = ON")

    changed = {"password": "another", "databases": ["other"]}
    assert pod.ask("PUT", "/v1/users/app", changed).status == 204
    with pytest.raises(pymysql.err.OperationalError):
        connect(pod, "app", SECRET)
    with connect(pod, "app", "another") as connection:
        visible = {row[0] for row in query(connection, "SHOW DATABASES")}
        assert visible & {"a_b", "axb", "other"} == {"other"}
    listed = pod.ask("GET", "/v1/users").body["users"]
    assert {"name": "app", "host": "%", "databases": ["other"]} in listed

    for _ in range(2):
        assert pod.ask("DELETE", "/v1/users/app?host=%25").status == 204
    with pytest.raises(pymysql.err.OperationalError):
        connect(pod, "app", "another")


@pytest.mark.parametrize("name", ["a b", "ünïcode", "%", "_", "a@b", "-- x", "#", "x" * 80, "`"])
def test_any_allowed_name_of_a_user_works(pod: Pod, name: str) -> None:
    path = f"/v1/users/{quote(name, safe='')}"
    answer = pod.ask("PUT", path, {"password": SECRET, "host": "127.0.0.1"})
    if name == "`":
        assert answer.status == 422
        return
    assert answer.status == 204
    with connect(pod, name, SECRET) as connection:
        assert query(connection, "SELECT 1") == ((1,),)
    assert pod.ask("DELETE", f"{path}?host=127.0.0.1").status == 204


def test_no_password_is_written_anywhere(pod: Pod) -> None:
    assert pod.ask("PUT", "/v1/users/quiet", {"password": SECRET}).status == 204
    connect(pod, "quiet", SECRET).close()
    texts = [path.read_bytes() for path in pod.root.rglob("*") if path.is_file()]
    assert texts
    assert not any(SECRET.encode() in text for text in texts)


def test_the_log_is_read_whole_and_by_range(pod: Pod) -> None:
    whole = pod.ask("GET", "/v1/logs/engine")
    assert whole.status == 200
    assert "ready for connections" in whole.body
    part = pod.ask("GET", "/v1/logs/engine", headers={"Range": "bytes=10-29"})
    assert part.status == 206
    assert part.body == whole.body[10:30]
    assert pod.ask("GET", "/v1/logs/..%2Fmarker.json").status == 404


def test_verify_checks_every_table(pod: Pod) -> None:
    for _ in range(2):  # the same id is the same task
        assert pod.ask("PUT", "/v1/tasks/verify-1", {"kind": "verify"}).status == 202
    done = until(
        "the task ends",
        lambda: (
            answer.body
            if (answer := pod.ask("GET", "/v1/tasks/verify-1")).body["state"] != "Running"
            else None
        ),
    )
    assert done["state"] == "Completed", done
    assert "sound" in done["message"]
    assert done["bytes_done"] == done["bytes_total"] > 0
    refused = pod.ask("PUT", "/v1/tasks/other", {"kind": "nonsense"})
    assert refused.status == 422
    assert "verify" in refused.body["message"]


def test_the_engine_listens_where_it_was_told(pod: Pod) -> None:
    with socket.create_connection(("127.0.0.1", pod.config.port), 5) as sock:
        assert sock.recv(1)


def test_stop_and_start(pod: Pod) -> None:
    assert pod.ask("POST", "/v1/engine/stop", {"token": "stop-1"}).status == 202
    pod.until_status("it stops", lambda status: status.engine.state is EngineState.STOPPED)
    assert pod.probe("/readyz").status == 503
    assert pod.ask("PUT", "/v1/databases/late", {}).status == 503
    assert pod.ask("POST", "/v1/engine/start", {"token": "start-1"}).status == 202
    pod.until_running()
    # a late duplicate of the first request changes nothing
    assert pod.ask("POST", "/v1/engine/stop", {"token": "stop-1"}).status == 202
    assert pod.until_running().engine.restarts == 0
