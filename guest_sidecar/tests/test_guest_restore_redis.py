"""Snapshots of a real Redis, and what a restored one starts with."""

import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import hiredis
import pytest

from coffer_common.wire import ConfigurationRequest, TaskState
from coffer_guest.engines.redis.acl import ADMINISTRATOR
from guest_engines import Redis
from guest_harness import MIB, MakePod, Pod, until
from guest_restores import Vault, awaiting, backup, begin_backup, directory, ended, restore

pytestmark = pytest.mark.guest

STRATEGY = "RedisBackup"


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return directory(tmp_path / "vault")


def client(pod: Pod) -> Redis:
    secret = (pod.run / "redis-administrator").read_text()
    return Redis(pod.run / "redis.sock", ADMINISTRATOR, secret)


def filled(pod: Pod) -> Pod:
    pod.start().until_running()
    with client(pod) as redis:
        for number in range(500):
            redis.ask("SET", f"key{number}", f"value{number}")
        redis.ask("RPUSH", "list", *range(100))
        redis.ask("SELECT", 3)
        redis.ask("SET", "there", "é", "EX", 100_000)
        redis.ask(
            "FUNCTION",
            "LOAD",
            "#!lua name=l\nredis.register_function('f', function() return 7 end)",
        )
    assert pod.ask("PUT", "/v1/users/app", {"password": "x" * 20}).status == 204
    return pod


def contents(pod: Pod) -> dict[str, object]:
    with client(pod) as redis:
        found = {
            "keys": redis.ask("DBSIZE"),
            "values": redis.ask("MGET", *(f"key{number}" for number in range(500))),
            "list": redis.ask("LRANGE", "list", 0, -1),
            "function": redis.ask("FCALL", "f", 0),
        }
        redis.ask("SELECT", 3)
        return found | {
            "there": redis.ask("GET", "there"),
            "expires": redis.ask("TTL", "there") > 0,
        }


def test_a_snapshot_is_there_after_each_start(redis_pod: MakePod, vault: Vault) -> None:
    source = filled(redis_pod())
    taken = backup(source, vault, "b1", strategy=STRATEGY)
    assert taken.type == "full"
    assert len(taken.position["replicationId"]) == 40
    with pytest.raises(AssertionError, match="takes full backups only"):
        assert backup(source, vault, "b2", strategy=STRATEGY, parent=taken.path).why_full == ""
    for kept, save in (("yes", ""), ("no", "3600 1")):
        pod = redis_pod()
        request = ConfigurationRequest(hash=kept, values={"appendonly": kept, "save": save})
        pod.configure(configuration=request)
        awaiting(pod, taken.path)
        assert restore(pod, vault, taken.path).state is TaskState.COMPLETED
        pod.until_running()
        assert contents(pod) == contents(source)
        assert pod.ask("GET", "/v1/users").body["users"] == [], "users are set after it"
        for token in ("one", "two"):
            with client(pod) as redis:
                redis.ask("SET", token, "new")
            assert pod.ask("POST", "/v1/engine/restart", {"token": token}).status == 202
            pod.until_restarted_for(token)
            with client(pod) as redis:
                assert redis.ask("GET", token) == "new"
        data = pod.volume / "data"
        assert (data / "dump.rdb").exists() == (kept == "no"), "what is out of date is gone"
        assert (data / "appendonlydir" / "appendonly.aof.1.base.rdb").exists() == (kept == "yes")


def test_a_snapshot_is_of_one_moment(redis_pod: MakePod, vault: Vault) -> None:
    source = filled(redis_pod())
    stop = threading.Event()

    def write() -> None:
        with client(source) as redis:
            while not stop.is_set():
                redis.ask("MULTI")
                redis.ask("INCR", "a")
                redis.ask("INCR", "b")
                redis.ask("EXEC")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        taken = backup(source, vault, "b1", strategy=STRATEGY)
    finally:
        stop.set()
        writer.join()
    target = awaiting(redis_pod(), taken.path)
    assert restore(target, vault, taken.path).state is TaskState.COMPLETED
    target.until_running()
    with client(target) as redis, client(source) as former:
        a, b = redis.ask("MGET", "a", "b")
        assert a == b
        assert 0 < int(a) <= int(former.ask("GET", "a"))


def test_an_engine_killed_in_the_middle_is_no_backup(redis_pod: MakePod, vault: Vault) -> None:
    source = filled(redis_pod())
    with client(source) as redis:
        for number in range(24):
            redis.ask("SET", f"large{number}", os.urandom(MIB // 2).hex())
    slow = replace(vault, rate_limit_bytes=MIB)
    begin_backup(source, slow, "b1", strategy=STRATEGY)

    def begun() -> bool:
        body = source.ask("GET", "/v1/tasks/b1").body
        assert body["state"] == "Running", body
        return bool(body["bytes_done"] > 0)

    until("some of it is read", begun)
    os.kill(source.engine_pid, signal.SIGKILL)
    task = ended(source, "b1")
    assert (task.state, task.reason) == (TaskState.FAILED, "EngineUnavailable")
    assert not task.permanent
    assert not [path for path in vault.root.rglob("*") if path.is_file()]
    source.until_running()
    with client(source) as redis:
        with pytest.raises(hiredis.ReplyError):
            redis.ask("NONSENSE")
        assert redis.ask("GET", "key1") == "value1"
