"""Every parameter of MariaDB's rules and template is one of the real server, and of that kind."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pymysql
import pytest

from coffer_common.rules import Parameter, ParameterType, load
from coffer_common.templates import render
from coffer_common.wire import FlavorSize
from coffer_guest.layout import copy_tree
from guest_engines import folder, output_of, program, reachable, running
from guest_harness import give_away

pytestmark = pytest.mark.guest

RULES = load("mariadb", "10.11").parameters
NUMBERS = {ParameterType.INTEGER, ParameterType.SIZE, ParameterType.DURATION}
TYPES: dict[str, set[ParameterType]] = {
    "BOOLEAN": {ParameterType.BOOLEAN},
    "ENUM": {ParameterType.ENUM, ParameterType.STRING},  # a list that plugins add to: a string
    "SET": {ParameterType.STRING},
    "FLAGSET": {ParameterType.STRING},
    "VARCHAR": {ParameterType.STRING, ParameterType.ENUM},
    "DOUBLE": {ParameterType.FLOAT},
    "INT": NUMBERS,
    "INT UNSIGNED": NUMBERS,
    "BIGINT": NUMBERS,
    "BIGINT UNSIGNED": NUMBERS,
}
# set live only in a server that started with another value than 0, which the default is
STRICTER_THAN_SAID = {"max_user_connections"}
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


@pytest.fixture(scope="module")
def variables(server: Server) -> dict[str, Row]:
    rows = server.query("SELECT * FROM information_schema.SYSTEM_VARIABLES")
    return {row["VARIABLE_NAME"].lower(): row for row in rows}


def each_rule(**wanted: bool) -> pytest.MarkDecorator:
    chosen = [
        rule
        for rule in RULES.values()
        if all(getattr(rule, key) is value for key, value in wanted.items())
    ]
    assert chosen
    return pytest.mark.parametrize("rule", chosen, ids=lambda rule: rule.name)


@each_rule()
def test_a_rule_agrees_with_the_server(variables: dict[str, Row], rule: Parameter) -> None:
    row = variables[rule.name]
    assert row["VARIABLE_SCOPE"] in ("GLOBAL", "SESSION")
    assert rule.type in TYPES[row["VARIABLE_TYPE"]]
    static = row["READ_ONLY"] == "YES" or rule.name in STRICTER_THAN_SAID
    assert rule.restart_required is static
    if rule.min is not None:
        assert Decimal(str(rule.min)) >= Decimal(row["NUMERIC_MIN_VALUE"])
    if rule.max is not None:
        assert Decimal(str(rule.max)) <= Decimal(row["NUMERIC_MAX_VALUE"])
    if row["VARIABLE_TYPE"] == "ENUM" and rule.allowed:
        assert set(rule.allowed) <= set(row["ENUM_VALUE_LIST"].split(","))


def settings_to_try(rule: Parameter, current: Any) -> list[Any]:
    """Values that a server must take; the current one last."""
    if rule.type is ParameterType.ENUM:
        return [*rule.allowed, current]
    if rule.type is ParameterType.BOOLEAN:
        return [not current, current]
    return [current]


@each_rule(read_only=False, restart_required=False)
def test_a_dynamic_parameter_is_set_live(server: Server, rule: Parameter) -> None:
    current = server.value(rule.name)
    for value in settings_to_try(rule, current):
        server.query(f"SET GLOBAL {rule.name} = %s", value)
    assert server.value(rule.name) == current


@each_rule(restart_required=True)
def test_a_static_parameter_is_not_set_live(server: Server, rule: Parameter) -> None:
    with pytest.raises(pymysql.err.OperationalError) as refused:
        server.query(f"SET GLOBAL {rule.name} = %s", server.value(rule.name))
    # ER_INCORRECT_GLOBAL_LOCAL_VAR, ER_OPTION_PREVENTS_STATEMENT
    assert refused.value.args[0] in (1238, 1290), refused.value


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
