"""Realistic rows for a MariaDB, and one with them, made once per machine, to be backed up."""

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from coffer_cluster.paths import cache_dir

DATABASE = "shop"
_ROWS = {"customers": 400_000, "orders": 3_600_000, "events": 1_900_000, "blobs": 120_000}
_SQL = """
CREATE TABLE customers (id INT PRIMARY KEY, token CHAR(36), name VARCHAR(60), note TEXT,
  KEY (token));
CREATE TABLE orders (id INT PRIMARY KEY, customer INT, placed DATETIME, total DECIMAL(10,2),
  state VARCHAR(12), KEY (customer), KEY (placed), KEY (state, placed));
CREATE TABLE events (id INT PRIMARY KEY, at DATETIME, body TEXT, KEY (at));
CREATE TABLE blobs (id INT PRIMARY KEY, content BLOB);
INSERT INTO customers SELECT seq, UUID(), CONCAT(ELT(1+seq%7,'Ada','Bo','Cy','Dee','Eli','Flo',
  'Gus'),' ',ELT(1+seq%5,'Stone','Hill','Wood','Rivers','Lake'),' ',seq),
  REPEAT(CONCAT(MD5(seq),' said so; '), 1+seq%6) FROM seq_1_to_{customers};
INSERT INTO orders SELECT seq, CRC32(seq)%{customers}, '2024-01-01' + INTERVAL CRC32(seq*7)%63072000
  SECOND, (CRC32(seq*3)%100000)/100, ELT(1+CRC32(seq)%4,'new','paid','shipped','returned')
  FROM seq_1_to_{orders};
INSERT INTO events SELECT seq, '2024-01-01' + INTERVAL seq*31 SECOND, CONCAT('{{"kind":"',
  ELT(1+seq%4,'view','click','buy','leave'),'","page":"/item/',CRC32(seq)%9999,'","session":"',
  SHA1(seq),'","ms":',CRC32(seq*11)%3000,'}}') FROM seq_1_to_{events};
INSERT INTO blobs SELECT seq, RANDOM_BYTES(500+CRC32(seq)%524) FROM seq_1_to_{blobs};
"""


def statements(scale: float) -> list[str]:
    """What fills an empty database; a scale of 1 is 1.1 GB."""
    counts = {name: int(count * scale) for name, count in _ROWS.items()}
    return [text for part in _SQL.split(";\n") if (text := part.strip().format(**counts))]


def _serve(folder: Path, socket: Path) -> subprocess.Popen[bytes]:
    argv = ["mariadbd", "--no-defaults", f"--datadir={folder}", f"--socket={socket}"]
    argv += ["--skip-networking", "--user=root", "--innodb-buffer-pool-size=512M"]
    argv += ["--innodb-log-file-size=256M", "--innodb-flush-log-at-trx-commit=0"]
    argv += [f"--pid-file={folder}/pid", f"--log-error={folder}/error.log"]
    return subprocess.Popen(argv, stderr=subprocess.DEVNULL)


def _sql(socket: Path, text: str) -> subprocess.CompletedProcess[bytes]:
    argv = ["mariadb", "--no-defaults", f"--socket={socket}", "-uroot"]
    return subprocess.run(argv, input=text.encode(), capture_output=True, check=False)


def _wait(socket: Path) -> None:
    end = time.monotonic() + 60
    while _sql(socket, "SELECT 1").returncode != 0:
        if time.monotonic() > end:
            raise TimeoutError("MariaDB does not answer")
        time.sleep(0.1)


def _make(folder: Path, scale: float) -> None:
    unfinished = folder.with_name(f"{folder.name}.{os.getpid()}")
    unfinished.mkdir(parents=True)
    install = ["mariadb-install-db", "--no-defaults", f"--datadir={unfinished}", "--user=root"]
    install += ["--skip-test-db", "--auth-root-authentication-method=normal"]
    subprocess.run(install, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory() as run:
        socket = Path(run) / "s"
        engine = _serve(unfinished, socket)
        try:
            _wait(socket)
            text = ";\n".join(
                [
                    f"CREATE DATABASE {DATABASE}",
                    f"USE {DATABASE}",
                    *statements(scale),
                    "SET GLOBAL innodb_fast_shutdown=0",
                    "SHUTDOWN;",
                ]
            )
            done = _sql(socket, text)
            if done.returncode != 0:
                raise RuntimeError(done.stderr.decode())
            engine.wait(300)
        finally:
            engine.kill()
            engine.wait()
    unfinished.rename(folder)


@contextlib.contextmanager
def mariadb(scale: float) -> Iterator[list[str]]:
    """A running MariaDB; gives the argv that streams a backup of it."""
    folder = cache_dir() / "bench" / f"mariadb-{scale:g}"
    if not folder.is_dir():
        print("==> making the data set, once per machine", flush=True)
        _make(folder, scale)
    with tempfile.TemporaryDirectory() as run:
        socket = Path(run) / "s"
        engine = _serve(folder, socket)
        try:
            _wait(socket)
            argv = ["mariadb-backup", "--no-defaults", "--backup", "--stream=xbstream"]
            yield [*argv, f"--socket={socket}", "--user=root", f"--target-dir={run}"]
        finally:
            engine.terminate()
            engine.wait(60)
