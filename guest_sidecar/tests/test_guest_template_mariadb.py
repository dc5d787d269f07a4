"""Every option of MariaDB's template is one of the real server, which takes it as it is."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pymysql
import pytest

from coffer_common.rules import ParameterType, load
from coffer_common.templates import render
from coffer_common.wire import FlavorSize
from coffer_guest.layout import copy_tree
from guest_engines import folder, output_of, program, reachable, running
from guest_harness import give_away

pytestmark = pytest.mark.guest

RULES = load("mariadb", "10.11").parameters
NUMBERS = {ParameterType.INTEGER, ParameterType.SIZE, ParameterType.DURATION}
TINY = FlavorSize(ram_bytes=512 * 1024**2, vcpus=0.25)
FLAVORS = {
    "tiny": TINY,
    "medium": FlavorSize(ram_bytes=4 * 1024**3, vcpus=2),
    "large": FlavorSize(ram_bytes=8 * 1024**3, vcpus=4),
}
Row = dict[str, Any]


class Server:
    """A connection to a running server with the template of the flavor tiny."""

    def __init__(self, socket: Path) -> None:
        self.connection = pymysql.connect(
            unix_socket=str(socket), user="root", cursorclass=pymysql.cursors.DictCursor
        )
        rows = self.query("SHOW GLOBAL VARIABLES")
        self.initial = {row["Variable_name"]: row["Value"] for row in rows}

    def query(self, sql: str, *values: object) -> list[Row]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, values)
            return list(cursor.fetchall())

    def value(self, name: str) -> Any:
        return self.query(f"SELECT @@GLOBAL.{name} AS value")[0]["value"]


@pytest.fixture(scope="module")
def home(mariadb_seed: Path) -> Iterator[Path]:
    with folder() as path:
        copy_tree(mariadb_seed, path / "data")
        (path / "init.sql").write_text("ALTER USER root@localhost IDENTIFIED BY '';\n")
        give_away(path)
        yield path


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[Server]:
    (home / "my.cnf").write_text(render("mariadb", "10.11", TINY, extra={"server_id": 7}))
    socket = home / "sock"
    argv = [
        program("mariadbd"),
        f"--defaults-file={home}/my.cnf",
        f"--datadir={home}/data",
        f"--socket={socket}",
        f"--init-file={home}/init.sql",
        f"--pid-file={home}/pid",
        "--skip-networking",
    ]
    with running(argv, home / "log", lambda: reachable(socket)):
        server = Server(socket)
        with server.connection:
            yield server


def template_values(flavor: FlavorSize) -> dict[str, str]:
    lines = render("mariadb", "10.11", flavor).splitlines()
    pairs = [line.split("=", 1) for line in lines if "=" in line and not line.startswith("#")]
    return {name.strip(): value.strip() for name, value in pairs}


def test_the_server_runs_with_the_templates_values(server: Server) -> None:
    """No value is rounded, capped or renamed on the way."""
    for name, text in template_values(TINY).items():
        value = server.initial[name]
        if RULES[name].type in NUMBERS | {ParameterType.FLOAT}:
            assert Decimal(value) == Decimal(str(RULES[name].check(text))), name
        else:
            assert value.lower() == text.lower(), name


@pytest.mark.parametrize("name", FLAVORS)
def test_the_server_knows_every_option_of_the_template(home: Path, name: str) -> None:
    file = home / f"{name}.cnf"
    file.write_text(render("mariadb", "10.11", FLAVORS[name], extra={"server_id": 7}))
    output = output_of(program("mariadbd"), f"--defaults-file={file}", "--help", "--verbose")
    for word in ("unknown variable", "unknown option", "[ERROR]"):
        assert word not in output
