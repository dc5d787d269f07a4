"""The client in the pod: credentials stay out of sight, real clients take them."""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffer_guest import clients, connect
from coffer_guest.clients import Credentials, mariadb
from guest_engines import program

PASSWORD = "pa ss'\"\\#;=\t$(x)%é"
FIELDS = {"manager": "mariadb", "username": "app", "password": PASSWORD, "port": 3306}


# --- handing over ---------------------------------------------------------------------------------
def test_credentials_are_taken_once(tmp_path: Path) -> None:
    word = connect.put(tmp_path, json.dumps(FIELDS), time.time())
    (file,) = tmp_path.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    manager, credentials = connect.take(tmp_path, word, time.time())
    assert (manager, credentials.username, credentials.password) == ("mariadb", "app", PASSWORD)
    assert not list(tmp_path.iterdir())
    with pytest.raises(connect.ConnectError, match="used already"):
        connect.take(tmp_path, word, time.time())


def test_credentials_that_nobody_took_go(tmp_path: Path) -> None:
    word = connect.put(tmp_path, json.dumps(FIELDS), time.time())
    with pytest.raises(connect.ConnectError, match="too old"):
        connect.take(tmp_path, word, time.time() + 61)
    assert not list(tmp_path.iterdir())
    connect.put(tmp_path, json.dumps(FIELDS), time.time())
    (tmp_path / "launcher.sock").touch()
    later = connect.put(tmp_path, json.dumps(FIELDS), time.time() + 61)
    assert {path.name for path in tmp_path.iterdir()} == {f"connect-{later}.json", "launcher.sock"}


@pytest.mark.parametrize("word", ["", "../../etc/x", "0123456789ABCDEF", "0123456789abcdef0"])
def test_a_word_is_no_path(tmp_path: Path, word: str) -> None:
    with pytest.raises(connect.ConnectError, match="not a word"):
        connect.take(tmp_path, word, 0)


def test_what_is_no_json_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Expecting value"):
        connect.put(tmp_path, "?", 0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("manager", ["oracle", "../os", "coffer_guest", ""])
def test_an_engine_without_a_client(manager: str) -> None:
    with pytest.raises(connect.ConnectError, match=r"no client for|no engine plugin"):
        connect.run(manager, Credentials("u", 1, "p"), [])


def test_credentials_do_not_show() -> None:
    assert PASSWORD not in repr(Credentials("u", 1, PASSWORD))


# --- mariadb --------------------------------------------------------------------------------------
def _read_option(line: str) -> str:
    """A quoted value as my_getopt's reader sees it."""
    value = line.split(" = ", 1)[1]
    assert value[0] == value[-1] == '"'
    escapes = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "\\": "\\", '"': '"'}
    result, rest = "", iter(value[1:-1])
    for character in rest:
        result += escapes[next(rest)] if character == "\\" else character
    return result


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_every_password_fits_in_an_option_file(password: str) -> None:
    text = mariadb.option_file(Credentials("app", 3306, password))
    head, user, line, end = text.split("\n")
    assert (head, user, end) == ("[client]", 'user = "app"', "")
    assert _read_option(line) == password


def test_the_command_line_of_mariadb_holds_no_secret() -> None:
    argv = mariadb.argv(Credentials("app", 3307, PASSWORD, "shop"), ["-e", "SELECT 1"], "/o")
    assert argv[:2] == ["mariadb", "--defaults-extra-file=/o"]
    assert argv[-3:] == ["--database=shop", "-e", "SELECT 1"]
    assert PASSWORD not in " ".join(argv)


def _start(tmp_path: Path, fields: dict[str, Any], *arguments: str) -> list[str]:
    """The command that runs a client with these credentials, in a process of its own."""
    word = connect.put(tmp_path, json.dumps(fields), time.time())
    code = (
        "import sys\n"
        "from coffer_common import naming\n"
        f"naming.RUN_PATH = {str(tmp_path)!r}\n"
        "from coffer_guest import connect\n"
        "connect.main()\n"
    )
    return [sys.executable, "-c", code, "run", word, *arguments]


@pytest.mark.guest
def test_the_real_mariadb_reads_every_character(tmp_path: Path) -> None:
    stand_in = tmp_path / "mariadb"  # --print-defaults is heard right after the first option only
    stand_in.write_text(f'#!/bin/sh\nexec {program("mariadb")} "$1" --print-defaults\n')
    stand_in.chmod(0o755)
    done = subprocess.run(
        _start(tmp_path, FIELDS),
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    # the client shows its own options here; nobody else can see them
    assert f"--user=app --password={PASSWORD} " in done.stdout


# --- redis ----------------------------------------------------------------------------------------
@pytest.fixture
def redis(tmp_path: Path) -> Iterator[int]:
    """A real server with the user app; its port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    acl = tmp_path / "users.acl"
    digest = hashlib.sha256(PASSWORD.encode()).hexdigest()
    acl.write_text(f"user default off\nuser app on #{digest} ~* &* +@all\n")
    command = [
        program("redis-server"),
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--aclfile",
        str(acl),
    ]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([*command, "--save", "", "--dir", str(tmp_path)], stdout=log)
    _wait_for_port(port)
    yield port
    process.terminate()
    process.wait(30)


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            threading.Event().wait(0.02)
        else:
            return


@pytest.mark.guest
def test_the_real_redis_cli_is_let_in_without_a_password(tmp_path: Path, redis: int) -> None:
    run_path = tmp_path / "run"
    run_path.mkdir()
    fields = {**FIELDS, "manager": "redis", "port": redis}
    words = "SET a 1\nGET a\nACL WHOAMI\nCLIENT KILL TYPE normal SKIPME no\nGET a\nGET a\n"
    done = subprocess.run(
        _start(run_path, fields),
        input=words,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    # redis-cli loses the command after a cut, says so, and reconnects for the next one
    assert done.stdout.split()[:4] == ["OK", "1", "app", "1"]
    assert len(done.stdout.split()) > 4
    assert not list(run_path.iterdir())


@pytest.mark.guest
def test_no_process_shows_the_password(tmp_path: Path, redis: int) -> None:
    fields = {**FIELDS, "manager": "redis", "port": redis}
    command = _start(tmp_path, fields, "SUBSCRIBE", "channel")
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"subscribe"  # the client runs, and is in
        own = Path("/proc", str(process.pid))
        children = (own / "task" / str(process.pid) / "children").read_text().split()
        assert children
        for pid in (str(process.pid), *children):
            for file in ("cmdline", "environ"):
                assert PASSWORD.encode() not in Path("/proc", pid, file).read_bytes()
        os.kill(int(children[0]), 15)


@pytest.mark.guest
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_terminal_that_goes_away_leaves_nothing(
    tmp_path: Path, redis: int, number: signal.Signals
) -> None:
    run_path = tmp_path / "run"
    run_path.mkdir()
    command = _start(run_path, {**FIELDS, "manager": "redis", "port": redis}, "SUBSCRIBE", "c")
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"subscribe"
        process.send_signal(number)
        assert process.wait(30) == 128 + number
        process.stdout.read()  # ends when the client has ended, too
    assert not list(run_path.iterdir())


@pytest.mark.guest
def test_redis_refuses_a_wrong_password_in_one_line(tmp_path: Path, redis: int) -> None:
    fields = {**FIELDS, "manager": "redis", "port": redis, "password": "wrong"}
    done = subprocess.run(
        _start(tmp_path, fields, "PING"), capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: WRONGPASS")
    assert done.stderr.count("\n") == 1


def test_every_engine_has_a_client() -> None:
    """The plugin of an engine is not complete without one."""
    engines = Path(connect.__file__).parent / "engines"
    named = {p.name for p in engines.iterdir() if (p / "__init__.py").is_file()}
    present = {p.stem for p in Path(clients.__file__).parent.glob("*.py")} - {"__init__"}
    assert named <= present
