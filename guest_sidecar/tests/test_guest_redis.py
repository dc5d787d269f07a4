"""An instance of Redis from an empty volume on: users, and what it does not have."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import hiredis
import pytest

from coffer_common.wire import DataState, EngineState
from guest_engines import Redis
from guest_harness import Pod

pytestmark = pytest.mark.guest

SECRET = "s3cret-'\"\\% in nothing but the server"
ADMINISTRATOR = "coffer-agent"


@pytest.fixture(scope="module")
def pod(redis_seed: Path) -> Iterator[Pod]:
    """One running instance for all tests of this module that harm nothing."""
    pod = Pod("redis", "7.0", redis_seed)
    try:
        pod.start().until_running()
        yield pod
    finally:
        pod.close()


def refused(pod: Pod, user: str | None, password: str = "") -> str:
    """What the server says to one who may not get in."""
    with (
        pytest.raises(hiredis.ReplyError) as error,
        Redis(pod.config.port, user, password) as client,
    ):
        client.ask("PING")
    return str(error.value)


def test_a_new_instance_says_what_it_is(pod: Pod) -> None:
    status = pod.until_status("the inventory is there", lambda status: status.users is not None)
    assert status.data.state is DataState.LAID_OUT
    assert status.data.data_id is not None
    assert status.engine.version is not None
    assert status.engine.version.startswith("7.0.")
    assert status.engine.restarts == 0
    assert status.databases == ()
    assert pod.probe("/livez").status == 200
    assert pod.probe("/readyz").status == 200
    assert "coffer_engine_up 1.0" in pod.probe("/metrics").body


def test_it_tells_which_backups_it_can_take(pod: Pod) -> None:
    status = pod.until_status("they are told", lambda s: s.backup_strategies is not None)
    assert [offer.name for offer in status.backup_strategies or ()] == ["RedisBackup"]


def test_configuration_is_one_file_per_layer_the_system_last(pod: Pod) -> None:
    main = (pod.etc / "redis.conf").read_text().splitlines()
    files = [line.strip('"').rpartition("/")[2] for line in main]
    assert files == [
        "10-template.conf",
        "20-defaults.conf",
        "30-group.conf",
        "80-merged.conf",
        "90-system.conf",
    ]
    defaults = pod.ask("GET", "/v1/configuration/defaults").body["values"]
    assert defaults["appendonly"] == "yes"
    assert defaults["maxmemory"].endswith("mb")


def test_nobody_gets_in_who_should_not(pod: Pod) -> None:
    assert "NOAUTH" in refused(pod, None)
    for user in ("default", ADMINISTRATOR, "nobody"):
        for password in ("", "x"):
            assert "WRONGPASS" in refused(pod, user, password)
    names = {user["name"] for user in pod.ask("GET", "/v1/users").body["users"]}
    assert not names & {"default", ADMINISTRATOR}


def test_the_administrators_password_is_the_pods_alone(pod: Pod) -> None:
    secret = pod.run / "redis-administrator"
    assert secret.stat().st_mode & 0o777 == 0o600
    with Redis(pod.config.port, ADMINISTRATOR, secret.read_text()) as client:
        assert client.ask("ACL", "WHOAMI") == ADMINISTRATOR
    others = [path for path in pod.root.rglob("*") if path.is_file() and path != secret]
    assert others
    assert not any(secret.read_bytes() in path.read_bytes() for path in others)


def test_a_user_works_with_data_and_with_nothing_else(pod: Pod) -> None:
    for _ in range(2):
        assert pod.ask("PUT", "/v1/users/app", {"password": SECRET}).status == 204
    assert {"name": "app", "host": "%", "databases": []} in pod.ask("GET", "/v1/users").body[
        "users"
    ]
    with Redis(pod.config.port, "app", SECRET) as client:
        assert client.ask("SET", "k", "v") == "OK"
        assert client.ask("EVAL", "return redis.call('GET', KEYS[1])", 1, "k") == "v"
        assert client.ask("PUBLISH", "channel", "x") == 0
        assert client.ask("SELECT", 1) == "OK"
        for words in (
            ("CONFIG", "GET", "*"),
            ("CONFIG", "SET", "dir", "/tmp"),
            ("ACL", "LIST"),
            ("SHUTDOWN", "NOSAVE"),
            ("REPLICAOF", "NO", "ONE"),
            ("KEYS", "*"),
            ("FLUSHALL",),
            ("MONITOR",),
            ("MODULE", "LIST"),
        ):
            with pytest.raises(hiredis.ReplyError, match="NOPERM"):
                client.ask(*words)
    assert "WRONGPASS" in refused(pod, "app", "wrong")


def test_another_password_replaces_the_first_and_a_dropped_user_is_out(pod: Pod) -> None:
    assert pod.ask("PUT", "/v1/users/other", {"password": "one"}).status == 204
    assert pod.ask("PUT", "/v1/users/other", {"password": "two"}).status == 204
    assert "WRONGPASS" in refused(pod, "other", "one")
    with Redis(pod.config.port, "other", "two") as client:
        for _ in range(2):
            assert pod.ask("DELETE", "/v1/users/other").status == 204
        with pytest.raises((hiredis.ReplyError, ConnectionError)):
            client.ask("GET", "k")  # a dropped user's connections are closed
    assert "WRONGPASS" in refused(pod, "other", "two")
    assert "user other " not in (pod.volume / "data" / "users.acl").read_text()


def test_a_user_that_was_set_but_not_saved_is_saved(pod: Pod) -> None:
    """As when the agent or the server died between the two."""
    file = pod.volume / "data" / "users.acl"
    assert pod.ask("PUT", "/v1/users/half", {"password": SECRET}).status == 204
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(line for line in lines if not line.startswith("user half ")))
    assert pod.ask("PUT", "/v1/users/half", {"password": SECRET}).status == 204
    assert "user half on" in file.read_text()
    before = file.stat()
    assert pod.ask("PUT", "/v1/users/half", {"password": SECRET}).status == 204
    after = file.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize("name", ["ünïcode", "%", "a@b", "a:b", "#", '"', "x" * 128, "-on"])
def test_any_allowed_name_of_a_user_works(pod: Pod, name: str) -> None:
    path = f"/v1/users/{quote(name, safe='')}"
    assert pod.ask("PUT", path, {"password": SECRET}).status == 204
    with Redis(pod.config.port, name, SECRET) as client:
        assert client.ask("PING") == "PONG"
    assert pod.ask("DELETE", path).status == 204


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "word"),
    [
        ("PUT", "/v1/databases/shop", {}, 501, "redis has no databases"),
        ("DELETE", "/v1/databases/shop", None, 501, "redis has no databases"),
        ("PUT", "/v1/users/default", {"password": "x"}, 422, "belongs to the server"),
        ("PUT", f"/v1/users/{ADMINISTRATOR}", {"password": "x"}, 422, "belongs to the server"),
        ("DELETE", "/v1/users/default", None, 422, "belongs to the server"),
        ("PUT", "/v1/users/a%20b", {"password": "x"}, 422, "white space"),
        ("PUT", "/v1/users/ok", {"password": "x", "host": "10.0.0.1"}, 422, "no host"),
        ("PUT", "/v1/users/ok", {"password": "x", "databases": ["a"]}, 422, "no databases"),
        ("PUT", "/v1/users/ok", {"password": {"secret": SECRET}}, 400, "password: string_type"),
    ],
)
def test_refusals_are_one_line_and_change_nothing(
    pod: Pod, method: str, path: str, body: object, status: int, word: str
) -> None:
    before = pod.ask("GET", "/v1/users").body
    answer = pod.ask(method, path, body)
    assert answer.status == status
    assert word in answer.body["message"]
    assert "\n" not in answer.body["message"]
    assert SECRET not in str(answer.body)
    assert pod.ask("GET", "/v1/users").body == before
    assert pod.ask("GET", "/v1/databases").body == {"databases": []}


def test_no_password_of_a_user_is_written_anywhere(pod: Pod) -> None:
    assert pod.ask("PUT", "/v1/users/quiet", {"password": SECRET}).status == 204
    with Redis(pod.config.port, "quiet", SECRET) as client:
        assert client.ask("PING") == "PONG"
    texts = [path.read_bytes() for path in pod.root.rglob("*") if path.is_file()]
    assert texts
    assert not any(SECRET.encode() in text for text in texts)


def test_stop_and_start(pod: Pod) -> None:
    assert pod.ask("POST", "/v1/engine/stop", {"token": "stop-1"}).status == 202
    pod.until_status(
        "it stops",
        lambda status: status.engine.state is EngineState.STOPPED and status.engine.pid is None,
    )
    assert pod.probe("/readyz").status == 503
    assert pod.ask("PUT", "/v1/users/late", {"password": "x"}).status == 503
    assert pod.ask("POST", "/v1/engine/start", {"token": "start-1"}).status == 202
    assert pod.until_running().engine.restarts == 0
