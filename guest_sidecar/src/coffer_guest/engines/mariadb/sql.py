"""Quoting for MariaDB: the one place where text becomes part of a statement.

Everything that a statement names is quoted as an identifier, which no sql_mode changes; values
go through the driver's parameters, passwords as their hash. Pure.
"""

import hashlib


def identifier(name: str) -> str:
    """`name` as one quoted identifier; also for the two halves of an account."""
    if "\0" in name:
        raise ValueError("an identifier cannot hold a NUL character")
    return "`" + name.replace("`", "``") + "`"


def grant_pattern(database: str) -> str:
    """`database` for GRANT and REVOKE, where _ and % would be wildcards."""
    return identifier(escape_wildcards(database))


def escape_wildcards(name: str) -> str:
    """As the server stores the name of a database in a grant."""
    return name.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%")


def unescape_wildcards(pattern: str) -> str:
    """The other way round."""
    result, escaped = [], False
    for character in pattern:
        if character == "\\" and not escaped:
            escaped = True
            continue
        result.append(character)
        escaped = False
    return "".join(result)


def native_hash(password: str) -> str:
    """What mysql_native_password stores: * and the hex SHA-1 of the SHA-1 of the password.

    Statements carry this instead of the password, so that no log of the server can hold it.
    """
    inner = hashlib.sha1(password.encode(), usedforsecurity=False).digest()
    return "*" + hashlib.sha1(inner, usedforsecurity=False).hexdigest().upper()
