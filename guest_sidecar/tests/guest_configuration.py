"""What the tests of configuration ask of a pod."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymysql
from pymysql.connections import Connection

from coffer_common.wire import ConfigurationRequest, ConfigurationStatus, GuestStatus, Value
from coffer_guest.engine_state import View
from guest_engines import Redis
from guest_harness import MakePod, Pod, until, user_name

MIB = 2**20
NAMES = ["alpha", "beta", "gamma", "delta"]  # of parameters, where any will do

_numbers = itertools.count(1)
REDIS_ADMINISTRATOR = "coffer-agent"
RUNNING = View(
    boot_id="boot",
    revision=1,
    locked=True,
    state="running",
    generation=1,
    cause="start",
    pid=7,
    started_at=None,
    restarts=0,
    last_exit=None,
    restarted_for=None,
    restarting_for=None,
    answered=False,
    terminating=False,
)


def request(
    values: Mapping[str, Value] | None = None,
    *,
    defaults: Mapping[str, Value] | None = None,
    restart_required: Iterable[str] = (),
) -> ConfigurationRequest:
    """A request that no other has the hash of."""
    return ConfigurationRequest(
        hash=f"hash-{next(_numbers)}",
        group="conf",
        defaults=dict(defaults or {}),
        values=dict(values or {}),
        restart_required=tuple(restart_required),
    )


def put(pod: Pod, wanted: ConfigurationRequest) -> ConfigurationRequest:
    """Ask for it; it is on the volume then."""
    answer = pod.ask("PUT", "/v1/configuration", wanted.model_dump())
    assert answer.status == 202, answer.body
    return wanted


def until_configuration(
    pod: Pod, what: str, check: Any, deadline_s: float = 40.0
) -> ConfigurationStatus:
    """The first status of the configuration for which `check` is true."""

    def checked(status: GuestStatus) -> bool:
        return status.configuration is not None and bool(check(status.configuration))

    found = pod.until_status(what, checked, deadline_s).configuration
    assert found is not None
    return found


def until_live(pod: Pod, wanted: ConfigurationRequest) -> ConfigurationStatus:
    def check(found: ConfigurationStatus) -> bool:
        assert found.rejected is None or found.accepted != wanted.hash, found
        return found.live == wanted.hash == found.accepted

    return until_configuration(pod, f"{wanted.hash} is live", check)


def until_rejected(pod: Pod, wanted: ConfigurationRequest) -> ConfigurationStatus:
    return until_configuration(
        pod,
        f"{wanted.hash} is rejected",
        lambda found: found.rejected is not None and found.rejected.hash == wanted.hash,
    )


def apply(pod: Pod, values: Mapping[str, Value], **layers: Any) -> ConfigurationStatus:
    """Ask for these values, and wait until they are in force."""
    return until_live(pod, put(pod, request(values, **layers)))


def restart(pod: Pod) -> ConfigurationStatus:
    """A restart that was asked for, to its end."""
    token = f"restart-{next(_numbers)}"
    assert pod.ask("POST", "/v1/engine/restart", {"token": token}).status == 202
    found = pod.until_restarted_for(token).configuration
    assert found is not None
    return found


def starts(pod: Pod) -> int:
    """How often an engine was started in this pod."""
    return pod.log("launcher").count("started the engine")


def shown(pod: Pod) -> dict[str, Any]:
    """What show_configuration prints."""
    text = (pod.run / "configuration.json").read_text()
    found: dict[str, Any] = json.loads(text)
    return found


def run_show(run: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "coffer_guest.show_configuration", str(run)],
        capture_output=True,
        text=True,
        check=False,
    )


# --- MariaDB ------------------------------------------------------------------------------------
@contextmanager
def server(pod: Pod) -> Iterator[Connection]:
    """A connection of an administrator: the socket tells the server who we are."""
    user = "root" if os.geteuid() == 0 else user_name()
    connection = pymysql.connect(
        unix_socket=str(pod.run / "mariadb.sock"), user=user, autocommit=True
    )
    with connection:
        yield connection


def variable(pod: Pod, name: str) -> Any:
    with server(pod) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT @@GLOBAL.{name}")
        row = cursor.fetchone()
        assert row is not None
        return row[0]


def by_hand(pod: Pod, statement: str) -> None:
    with server(pod) as connection, connection.cursor() as cursor:
        cursor.execute(statement)


def running(make: MakePod, wanted: ConfigurationRequest | None = None) -> Pod:
    """A running instance, created with `wanted`."""
    pod = make()
    if wanted is not None:
        pod.configure(configuration=wanted)
    pod.start().until_running()
    return pod


# --- Redis --------------------------------------------------------------------------------------
def redis_client(pod: Pod) -> Redis:
    secret = (pod.run / "redis-administrator").read_text()
    return Redis(pod.run / "redis.sock", REDIS_ADMINISTRATOR, secret)


def parameter(pod: Pod, name: str) -> str:
    with redis_client(pod) as client:
        return str(client.ask("CONFIG", "GET", name)[1])


def until_value(what: str, read: Any, wanted: object, deadline_s: float = 60.0) -> None:
    until(f"{what} is {wanted!r}", lambda: read() == wanted, deadline_s)
