"""Quoting, names and option files of MariaDB, without a server."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffer_common.errors import Transient, UserError
from coffer_common.wire import DatabaseRequest
from coffer_guest.engines.base import EngineUnavailable, Layers, Site
from coffer_guest.engines.mariadb import MariaDB, configuration, schema, sql
from coffer_guest.engines.mariadb.driver import pymysql
from coffer_guest.engines.mariadb.session import translate

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
SITE = Site(Path("/v/data"), Path("/v/tmp"), Path("/run/x"))
ETC = Path("/v/etc/one")


def unquote(quoted: str) -> str:
    """A strict reader of one quoted identifier, as the server's scanner reads it."""
    assert quoted[0] == quoted[-1] == "`"
    assert re.fullmatch(r"(?:[^`]|``)*", quoted[1:-1]) is not None
    return quoted[1:-1].replace("``", "`")


@given(TEXT)
def test_identifier_is_one_token_and_means_the_name(name: str) -> None:
    assert unquote(sql.identifier(name)) == name


@given(TEXT)
def test_grant_pattern_means_that_database_only(name: str) -> None:
    pattern = unquote(sql.grant_pattern(name))
    assert sql.unescape_wildcards(pattern) == name
    assert not re.search(r"(?<!\\)(?:\\\\)*[_%]", pattern)


def test_nul_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        sql.identifier("a\0b")


def test_native_hash_is_the_servers() -> None:
    # SELECT PASSWORD('secret')
    assert sql.native_hash("secret") == "*14E65567ABDB5135D0CFD9A70B3032C179A49EE7"


@given(TEXT)
def test_native_hash_tells_nothing_and_fits_a_literal(password: str) -> None:
    assert re.fullmatch(r"\*[0-9A-F]{40}", sql.native_hash(password))


@pytest.mark.parametrize("name", ["a", "shop", "a b", "a?b#c@d", "x" * 64, "0", "-"])
def test_names_of_databases(name: str) -> None:
    schema.check_database(name, DatabaseRequest())


@pytest.mark.parametrize(
    "name", ["", " a", "a ", "a`b", "a/b", "a\\b", "x" * 65, "mysql", "Sys", "ä", "a\nb", "a;b"]
)
def test_bad_names_of_databases(name: str) -> None:
    with pytest.raises(UserError):
        schema.check_database(name, DatabaseRequest())


@given(TEXT)
def test_whatever_name_of_a_database_passes_is_harmless(name: str) -> None:
    try:
        schema.check_database(name, DatabaseRequest())
    except UserError:
        return
    assert not set(name) & set("'\"`\\;/\n")
    assert 1 <= len(name) <= 64


@pytest.mark.parametrize(
    "host",
    ["%", "localhost", "10.0.0.1", "10.%", "10.0.0._", "10.0.0.0/255.0.0.0", "fd00::1", "fd00:%"],
)
def test_hosts(host: str) -> None:
    schema.check_user("app", host, "coffer")


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("", "%"),
        ("root", "%"),
        ("coffer", "%"),
        ("a'b", "%"),
        (" a", "%"),
        ("x" * 81, "%"),
        ("a\nb", "%"),
        ("app", ""),
        ("app", "db.example.com"),
        ("app", "10.0.0.0/8"),
        ("app", "10.0.0.1/"),
        ("app", "%'"),
    ],
)
def test_bad_users_and_hosts(name: str, host: str) -> None:
    with pytest.raises(UserError):
        schema.check_user(name, host, "coffer")


@pytest.mark.parametrize(
    ("error", "policy"),
    [
        (pymysql.err.OperationalError(2013, "Lost connection"), EngineUnavailable),
        (pymysql.err.OperationalError(1040, "Too many connections"), EngineUnavailable),
        (ConnectionRefusedError(111, "refused"), EngineUnavailable),
        (TimeoutError("timed out"), EngineUnavailable),
        (pymysql.err.OperationalError(1205, "Lock wait timeout"), Transient),
        (pymysql.err.InternalError(1396, "Operation CREATE USER failed"), UserError),
    ],
)
def test_errors_carry_their_policy(error: Exception, policy: type[Exception]) -> None:
    assert type(translate(error)) is policy


def test_option_files_are_read_in_the_order_of_their_numbers() -> None:
    layers = Layers("[mariadbd]\nport = 1\n", {"max_connections": 5}, {"sql_mode": ""}, 3306)
    files = configuration.files(ETC, layers, SITE, "77", "coffer")
    included = [line.removeprefix("!include /v/etc/one/") for line in files["my.cnf"].splitlines()]
    assert included == ["10-template.cnf", "20-defaults.cnf", "30-group.cnf", "90-system.cnf"]
    assert configuration.parse(files["20-defaults.cnf"]) == {"max_connections": "5"}
    assert configuration.parse(files["30-group.cnf"]) == {"sql_mode": ""}
    system = configuration.parse(files["90-system.cnf"])
    assert system["server_id"] == "77"
    assert system["datadir"] == "/v/data"
    assert system["port"] == "3306"
    assert "`coffer`@`localhost` IDENTIFIED VIA unix_socket" in files["init.sql"]


def test_parse() -> None:
    text = (
        "[client]\nport=1\n[mariadbd]\n# x\nmax-connections = 7\nskip_name_resolve\na='b'\n[x]\nc=1"
    )
    assert configuration.parse(text) == {
        "max_connections": "7",
        "skip_name_resolve": "ON",
        "a": "b",
    }


@given(st.binary(min_size=8, max_size=8))
def test_server_id_is_in_range(data: bytes) -> None:
    assert 1 <= int(MariaDB.new_identity(lambda _: data)["server_id"]) < 2**32


def test_major_is_the_release_series() -> None:
    assert MariaDB.major("10.11.19") == MariaDB.major("10.11") == "10.11"
