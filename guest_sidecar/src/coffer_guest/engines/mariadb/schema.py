"""Databases, users and grants of a MariaDB server, and the rules for their names.

Each `ensure_*` reads first and changes only what differs, so that repeating it writes nothing.
Blocking; called with a `Query` in a thread.
"""

import ipaddress
import re
from collections.abc import Sequence
from typing import Final

from coffer_common.errors import UserError
from coffer_common.wire import DatabaseInfo, DatabaseRequest, UserInfo, UserRequest
from coffer_guest.engines.mariadb.session import Query
from coffer_guest.engines.mariadb.sql import (
    grant_pattern,
    identifier,
    native_hash,
    unescape_wildcards,
)

SYSTEM_DATABASES: Final = frozenset({"mysql", "information_schema", "performance_schema", "sys"})
SYSTEM_USERS: Final = frozenset({"root", "mariadb.sys", "mysql", "PUBLIC", ""})

_DATABASE: Final = re.compile(r"[A-Za-z0-9_-]([A-Za-z0-9_ ?#@-]*[A-Za-z0-9_-])?")
_DATABASE_LENGTH: Final = 64
_USER_LENGTH: Final = 80
_USER_FORBIDDEN: Final = frozenset("'\";`,/\\\0")
_HOST_LENGTH: Final = 255
_HOST_PATTERN: Final = re.compile(r"[0-9A-Fa-f.:]*[%_][0-9A-Fa-f.:%_]*")
_WORD: Final = re.compile(r"[A-Za-z0-9_]+")


# --- rules --------------------------------------------------------------------------------------
def check_database(name: str, request: DatabaseRequest) -> None:
    """Raises UserError where the name or a property is not allowed."""
    if len(name) > _DATABASE_LENGTH or _DATABASE.fullmatch(name) is None:
        raise UserError(
            "InvalidDatabase",
            f"database {name!r}: a name has 1 to {_DATABASE_LENGTH} letters, digits, _ and -,"
            " and inside also spaces, ?, # and @",
        )
    if name.lower() in SYSTEM_DATABASES:
        raise UserError("InvalidDatabase", f"database {name!r} belongs to the server")
    for label, value in (("character set", request.character_set), ("collation", request.collate)):
        if value is not None and _WORD.fullmatch(value) is None:
            raise UserError("InvalidDatabase", f"database {name!r}: {value!r} is no {label}")


def check_user(name: str, host: str, account: str) -> None:
    """Raises UserError where the name or host is not allowed; `account` is the agent's own."""
    if name in SYSTEM_USERS or name == account:
        raise UserError("InvalidUser", f"user {name!r} belongs to the server")
    if (
        not 0 < len(name) <= _USER_LENGTH
        or name != name.strip()
        or not _USER_FORBIDDEN.isdisjoint(name)
        or not name.isprintable()
    ):
        raise UserError(
            "InvalidUser",
            f"user {name!r}: a name has 1 to {_USER_LENGTH} characters, none of ' \" ; ` , / \\"
            " and no space at its ends",
        )
    if len(host) > _HOST_LENGTH or not (host in ("%", "localhost") or _is_address(host)):
        raise UserError(
            "InvalidUser",
            f"user {name!r}: host {host!r} is neither %, localhost, an address, address/netmask"
            " nor an address with the wildcards % and _",
        )


def _is_address(host: str) -> bool:
    if _HOST_PATTERN.fullmatch(host):
        return True
    address, slash, mask = host.partition("/")
    if slash and "." not in mask:
        return False  # the server knows netmasks, not prefix lengths
    try:
        ipaddress.ip_network(host) if slash else ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


# --- databases ----------------------------------------------------------------------------------
def databases(query: Query) -> Sequence[DatabaseInfo]:
    rows = query(
        "SELECT schema_name, default_character_set_name, default_collation_name"
        " FROM information_schema.schemata ORDER BY schema_name"
    )
    return [
        DatabaseInfo(name=str(name), character_set=str(charset), collate=str(collate))
        for name, charset, collate in rows
        if str(name).lower() not in SYSTEM_DATABASES
    ]


def ensure_database(query: Query, name: str, request: DatabaseRequest) -> None:
    _check_collation(query, name, request)
    properties = ""
    if request.character_set is not None:
        properties += f" CHARACTER SET {request.character_set}"
    if request.collate is not None:
        properties += f" COLLATE {request.collate}"
    found = query(
        "SELECT default_character_set_name, default_collation_name"
        " FROM information_schema.schemata WHERE schema_name = %s",
        name,
    )
    if not found:
        query(f"CREATE DATABASE IF NOT EXISTS {identifier(name)}{properties}")
        return
    wanted = (request.character_set, request.collate)
    if any(
        want is not None and want.lower() != str(have).lower()
        for want, have in zip(wanted, found[0], strict=True)
    ):
        query(f"ALTER DATABASE {identifier(name)}{properties}")


def _check_collation(query: Query, name: str, request: DatabaseRequest) -> None:
    if request.character_set is not None and not query(
        "SELECT 1 FROM information_schema.character_sets WHERE character_set_name = %s",
        request.character_set,
    ):
        raise UserError(
            "InvalidDatabase",
            f"database {name!r}: the server has no character set {request.character_set!r}",
        )
    if request.collate is None:
        return
    charsets = query(
        "SELECT character_set_name FROM"
        " information_schema.collation_character_set_applicability"
        " WHERE collation_name = %s OR full_collation_name = %s",
        request.collate,
        request.collate,
    )
    if not charsets:
        raise UserError(
            "InvalidDatabase", f"database {name!r}: the server has no collation {request.collate!r}"
        )
    wanted = request.character_set
    if wanted is not None and all(str(row[0]).lower() != wanted.lower() for row in charsets):
        raise UserError(
            "InvalidDatabase",
            f"database {name!r}: collation {request.collate!r} is not one of character set"
            f" {wanted!r}",
        )


def drop_database(query: Query, name: str) -> None:
    query(f"DROP DATABASE IF EXISTS {identifier(name)}")


# --- users --------------------------------------------------------------------------------------
def users(query: Query, account: str) -> Sequence[UserInfo]:
    """All users but the server's own and `account`; roles are no users."""
    rows = query(
        "SELECT user, host FROM mysql.global_priv"
        " WHERE COALESCE(JSON_VALUE(priv, '$.is_role'), 'false') NOT IN ('true', '1')"
        " ORDER BY user, host"
    )
    granted: dict[tuple[str, str], list[str]] = {}
    for user, host, database in query("SELECT user, host, db FROM mysql.db ORDER BY db"):
        granted.setdefault((str(user), str(host)), []).append(unescape_wildcards(str(database)))
    return [
        UserInfo(name=user, host=host, databases=tuple(granted.get((user, host), ())))
        for user, host in ((str(user), str(host)) for user, host in rows)
        if user not in SYSTEM_USERS and user != account
    ]


def ensure_user(query: Query, name: str, request: UserRequest) -> None:
    user = _account(name, request.host)
    stored = native_hash(request.password)
    found = query(
        "SELECT JSON_VALUE(priv, '$.plugin'), JSON_VALUE(priv, '$.authentication_string')"
        " FROM mysql.global_priv WHERE user = %s AND host = %s",
        name,
        request.host,
    )
    secret = f"IDENTIFIED VIA mysql_native_password USING '{stored}'"
    if not found:
        query(f"CREATE USER IF NOT EXISTS {user} {secret}")
    elif found[0] != ("mysql_native_password", stored):
        query(f"ALTER USER {user} {secret}")
    _ensure_grants(query, name, request)


def _ensure_grants(query: Query, name: str, request: UserRequest) -> None:
    user = _account(name, request.host)
    rows = query("SELECT db FROM mysql.db WHERE user = %s AND host = %s", name, request.host)
    patterns = {str(row[0]) for row in rows}
    have = {unescape_wildcards(pattern): pattern for pattern in patterns}
    for database in sorted(set(request.databases) - have.keys()):
        query(f"GRANT ALL PRIVILEGES ON {grant_pattern(database)}.* TO {user}")
    for database in sorted(have.keys() - set(request.databases)):
        # the pattern as it is stored: another hand may have granted it without escapes
        query(f"REVOKE ALL PRIVILEGES ON {identifier(have[database])}.* FROM {user}")


def drop_user(query: Query, name: str, host: str) -> None:
    query(f"DROP USER IF EXISTS {_account(name, host)}")


def _account(name: str, host: str) -> str:
    return f"{identifier(name)}@{identifier(host)}"
