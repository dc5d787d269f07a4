"""Redis by the same interface: users, data through a deleted pod, a killed engine."""

import signal

import pytest

from e2e_kube import Space, wait_until
from e2e_manifests import instance
from e2e_processes import engine, engines
from e2e_redis import redis

pytestmark = pytest.mark.e2e


def test_redis_serves_its_user_and_keeps_its_data(space: Space) -> None:
    space.apply(instance("cache", "redis"))
    ready = space.wait_ready("cache")
    assert ready["status"]["endpoints"]["port"] == 6379
    wait_until("the node routes the Service", lambda: redis(space, "SET", "k", "kept") == "OK")
    assert "NOPERM" in redis(space, "CONFIG", "GET", "dir")
    uid = space.pod_uid("cache")
    space.delete("pod", "cache-0")
    space.wait_new_pod("cache", uid)
    space.wait_ready("cache")
    wait_until("the value after the pod was deleted", lambda: redis(space, "GET", "k") == "kept")


def test_killed_redis_is_restarted_with_its_data(space: Space) -> None:
    space.apply(instance("cache", "redis"))
    space.wait_ready("cache")
    wait_until("the node routes the Service", lambda: redis(space, "SET", "k", "kept") == "OK")
    pod = space.running_pod("cache")
    old = engine(pod, "redis-server")
    # a killed process loses nothing that it wrote: the kernel has it
    old.send(signal.SIGKILL)
    wait_until("another engine", lambda: {p.pid for p in engines(pod, "redis-server")} - {old.pid})
    wait_until("the value after the engine was killed", lambda: redis(space, "GET", "k") == "kept")
