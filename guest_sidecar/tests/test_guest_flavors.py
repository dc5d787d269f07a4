"""Every Flavor of the chart bears its engine under load: it starts, and is not killed for memory.

The limit is that of the container, less what the launcher in it takes. What a load of seconds
cannot fill (InnoDB's buffer pool) is counted as if it were full.
"""

import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hiredis
import pymysql
import pytest
import yaml

from coffer_common.quantity import parse
from coffer_common.templates import render
from coffer_common.wire import FlavorSize
from coffer_guest.layout import copy_tree
from guest_engines import Redis, folder, program, reachable
from guest_harness import as_user, give_away, until
from guest_memory import MemoryLimit

pytestmark = pytest.mark.guest

MIB = 1024**2
LAUNCHER_BYTES = 24 * MIB
CHART = Path(__file__).parents[2] / "charts" / "coffer" / "values.yaml"
AT_WORK = 32  # connections whose statements run at the same time
MOST_CONNECTIONS = 120  # that a test opens, at 3 ms each; the others are counted
VALUE_BYTES = 4096
WRITERS = 2
PIPELINE = 64
SMALL_BYTES = 1024 * MIB  # more is too slow to write to disk in full
STRIDE = 7919  # a prime: keys all over the memory


def flavors() -> dict[str, FlavorSize]:
    entries = yaml.safe_load(CHART.read_text())["catalogue"]["flavors"]
    return {
        name: FlavorSize(ram_bytes=int(parse(one["ram"])), vcpus=float(parse(one["vcpus"])))
        for name, one in entries.items()
    }


FLAVORS = pytest.mark.parametrize("flavor", flavors().values(), ids=flavors())


@dataclass
class Server:
    """A running engine, and the group of processes that it is in."""

    process: "subprocess.Popen[bytes]"
    limit: MemoryLimit
    log: Path
    peak_bytes: int = 0

    def lives(self) -> None:
        """Fails where it ended or something in its group was killed; notes the memory in use."""
        self.peak_bytes = max(self.peak_bytes, self.limit.used_bytes())
        state = f"{self.peak_bytes // MIB} MiB in use\n{self.log.read_text()[-3000:]}"
        assert self.limit.killed() == 0, state
        assert self.process.poll() is None, state


@contextmanager
def serving(argv: list[str], flavor: FlavorSize, home: Path, path: Path) -> Iterator[Server]:
    log = home / "log"
    with MemoryLimit(flavor.ram_bytes - LAUNCHER_BYTES) as limit, log.open("wb") as output:
        process = subprocess.Popen(
            as_user(argv),
            stdout=output,
            stderr=output,
            preexec_fn=limit.joining(),  # noqa: PLW1509 - nothing but a write; no thread holds a lock yet
        )
        server = Server(process, limit, log)
        try:
            until("the engine serves", lambda: answers(server, path))
            yield server
            server.lives()
        finally:
            process.kill()
            process.wait()


def answers(server: Server, path: Path) -> bool:
    server.lives()
    try:
        reachable(path)
    except OSError:
        return False
    return True


# --- MariaDB --------------------------------------------------------------------------------------
INIT = "ALTER USER root@localhost IDENTIFIED BY '';\nCREATE DATABASE test;\n"
SORT = "SELECT seq, REPEAT('x', 100) AS pad FROM seq_1_to_20000 ORDER BY RAND() LIMIT 1"
# the derived table stays while its reader sleeps
TEMPORARY_TABLE = (
    "SELECT SLEEP(1) FROM (SELECT DISTINCT seq, REPEAT('x', 500) AS pad FROM seq_1_to_{rows}) t"
    " LIMIT 1"
)
INSERT = "INSERT INTO t (body) SELECT REPEAT(MD5(RAND()), 250) FROM seq_1_to_200"
ROW_BYTES = 2000  # in memory: a column of text has its largest size there
BLOB_BYTES = 8 * MIB
INSERTS = 8
BLOBS = 2  # at the same time


class MariaDBLoad:
    """Connections of an application: all open, some at work."""

    def __init__(self, server: Server, path: Path, stack: ExitStack) -> None:
        self._server = server
        self._path = path
        self._stack = stack
        self.first = self.connect()
        self.unopened_bytes = 0  # what the connections would take that were not opened

    def connect(self) -> Any:
        connection = pymysql.connect(
            unix_socket=str(self._path), user="root", database="test", autocommit=True
        )
        self._stack.callback(connection.close)
        return connection

    def variable(self, name: str) -> int:
        return int(ask(self.first, f"SELECT @@GLOBAL.{name}")[0][0])

    def status(self, name: str) -> int:
        return int(ask(self.first, f"SHOW GLOBAL STATUS LIKE '{name}'")[0][1])

    def run(self, *, small: bool) -> None:
        before = self._server.limit.used_bytes()
        maximum = self.variable("max_connections")
        connections = [self.first] + [
            self.connect() for _ in range(min(maximum, MOST_CONNECTIONS) - 1)
        ]
        ask(self.first, "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, body LONGBLOB)")
        share = 1.25 if small else 0.9  # to disk, or not, which is a question of time
        rows = int(self.variable("tmp_table_size") * share) // ROW_BYTES
        large = TEMPORARY_TABLE.format(rows=rows)
        for connection in connections:
            ask(connection, "SELECT DISTINCT seq FROM seq_1_to_100 ORDER BY seq DESC")
        each = (self._server.limit.used_bytes() - before) // len(connections)
        self.unopened_bytes = (maximum - len(connections)) * max(each, 0)
        workers = connections[:AT_WORK]
        self.together([(one, SORT, ()) for one in workers])
        self.together([(one, large, ()) for one in workers])
        self.together([(one, INSERT, ()) for one in workers[:INSERTS]])
        blob = ("INSERT INTO t (body) VALUES (%s)", (b"x" * BLOB_BYTES,))
        self.together([(one, *blob) for one in workers[:BLOBS]])

    def together(self, work: list[tuple[Any, str, tuple[Any, ...]]]) -> None:
        done = threading.Event()
        watch = threading.Thread(target=self._watch, args=(done,))
        watch.start()
        try:
            with ThreadPoolExecutor(len(work)) as pool:
                for running in [pool.submit(ask, *one) for one in work]:
                    running.result()
        finally:
            done.set()
            watch.join()
        self._server.lives()

    def _watch(self, done: threading.Event) -> None:
        while not done.wait(0.05):
            self._server.peak_bytes = max(self._server.peak_bytes, self._server.limit.used_bytes())


def ask(connection: Any, statement: str, values: tuple[Any, ...] = ()) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement, values or None)
        return cursor.fetchall()


@FLAVORS
def test_mariadb_bears_its_flavor(mariadb_seed: Path, flavor: FlavorSize) -> None:
    with folder() as home, ExitStack() as stack:
        copy_tree(mariadb_seed, home / "data")
        (home / "init.sql").write_text(INIT)
        (home / "my.cnf").write_text(render("mariadb", "10.11", flavor, extra={"server_id": 7}))
        give_away(home)
        path = home / "sock"
        argv = [
            program("mariadbd"),
            f"--defaults-file={home}/my.cnf",
            f"--datadir={home}/data",
            f"--tmpdir={home}",
            f"--socket={path}",
            f"--init-file={home}/init.sql",
            f"--pid-file={home}/pid",
            "--skip-networking",
        ]
        server = stack.enter_context(serving(argv, flavor, home, path))
        load = MariaDBLoad(server, path, stack)
        load.run(small=flavor.ram_bytes <= SMALL_BYTES)
        server.lives()
        untouched = load.status("Innodb_buffer_pool_pages_free") * load.variable("innodb_page_size")
        assert (
            server.peak_bytes + untouched + load.unopened_bytes < flavor.ram_bytes - LAUNCHER_BYTES
        ), f"{server.peak_bytes // MIB} MiB in use, {untouched // MIB} MiB to come"


# --- Redis ----------------------------------------------------------------------------------------
class Writer(threading.Thread):
    """Overwrites keys until it is told to stop, as fast as one connection can."""

    def __init__(self, path: Path, keys: int, number: int) -> None:
        super().__init__(daemon=True)
        self._path = path
        self._keys = keys
        self._next = number
        self._ended = threading.Event()
        self.failure: Exception | None = None
        self.written = 0

    def run(self) -> None:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(self._path))
                while not self._ended.is_set():
                    self._write(connection)
        except (OSError, hiredis.HiredisError) as error:
            self.failure = error

    def _write(self, connection: socket.socket) -> None:
        value = b"y" * VALUE_BYTES
        request = b""
        for _ in range(PIPELINE):
            self._next = (self._next + STRIDE) % self._keys
            request += b"SET key:%d %s\r\n" % (self._next, value)
        connection.sendall(request)
        parser = hiredis.Reader(encoding="utf-8")
        for _ in range(PIPELINE):
            while (answer := parser.gets()) is False:
                data = connection.recv(65536)
                if not data:
                    raise ConnectionResetError("the server closed the connection")
                parser.feed(data)
            # full: that is the point
            if isinstance(answer, hiredis.ReplyError) and not str(answer).startswith("OOM "):
                raise answer
            self.written += 1

    def stop(self) -> None:
        self._ended.set()
        self.join()
        assert self.failure is None, self.failure
        assert self.written > 0


def fill(client: Redis) -> int:
    """Fills the memory for data, up to the point where Redis refuses; the number of keys."""
    maximum = int(client.ask("CONFIG", "GET", "maxmemory")[1])
    per_key = VALUE_BYTES + 1200  # measured: the allocator's classes, the key and its entry
    keys = maximum // per_key
    client.ask("DEBUG", "POPULATE", keys, "key", VALUE_BYTES)
    number = keys
    while is_taken(client, number):
        number += 1
    return number


def is_taken(client: Redis, number: int) -> bool:
    try:
        client.ask("SET", f"key:{number}", "x" * VALUE_BYTES)
    except hiredis.ReplyError as error:
        if str(error).startswith("OOM "):
            return False
        raise
    return True


@FLAVORS
def test_redis_bears_its_flavor(redis_seed: Path, flavor: FlavorSize) -> None:
    del redis_seed  # it has installed the engine
    with folder() as home:
        (home / "redis.conf").write_text(render("redis", "7.0", flavor))
        path = home / "sock"
        argv = [
            program("redis-server"),
            str(home / "redis.conf"),
            *("--port", "0"),
            *("--unixsocket", str(path)),
            *("--dir", str(home)),
            *("--enable-debug-command", "yes"),
        ]
        with serving(argv, flavor, home, path) as server, Redis(path) as client:
            keys = fill(client)
            server.lives()
            client.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
            if flavor.ram_bytes <= SMALL_BYTES:  # these values are all alike; others are not
                client.ask("CONFIG", "SET", "rdbcompression", "no")
            writers = [Writer(path, keys, number) for number in range(WRITERS)]
            for writer in writers:
                writer.start()
            rewrite(client)
            until("the file is rewritten", lambda: rewritten(server, client))
            for writer in writers:
                writer.stop()


def rewrite(client: Redis) -> None:
    """Begins to rewrite the append-only file, unless Redis has done so by itself."""
    try:
        client.ask("BGREWRITEAOF")
    except hiredis.ReplyError as error:
        if "already in progress" not in str(error):
            raise


def rewritten(server: Server, client: Redis) -> bool:
    server.lives()
    persistence = client.info("persistence")
    assert persistence["aof_last_bgrewrite_status"] == "ok"
    waiting = persistence["aof_rewrite_in_progress"], persistence["aof_rewrite_scheduled"]
    return waiting == ("0", "0")
