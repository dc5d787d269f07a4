"""Global variables of a running server: what they are, and setting them.

The server itself says which can be set, of what kind they are and whether it took a value: where
it puts another in a value's place, it only warns. Blocking; `Query` runs in a thread of session.
"""

from collections.abc import Collection, Mapping
from typing import Final

from coffer_common.errors import Transient
from coffer_common.wire import Value
from coffer_guest.engines.base import LiveOutcome, Refused, Setting
from coffer_guest.engines.mariadb import configuration
from coffer_guest.engines.mariadb.driver import pymysql
from coffer_guest.engines.mariadb.session import Query, is_later
from coffer_guest.engines.mariadb.sql import identifier

# read-only; not with the options it was started with; the query cache was off at the start
_STATIC: Final = frozenset({1238, 1290, 1651})
_WRONG_ARGUMENTS: Final = 1210
_IN_PROGRESS: Final = "in progress"  # an earlier resize
_DEFAULT: Final = "default"
_INTEGERS: Final = frozenset({"INT", "INT UNSIGNED", "BIGINT", "BIGINT UNSIGNED"})
#: Rounded to chunks of a 64th of the pool at the server's start.
_BUFFER_POOL: Final = "innodb_buffer_pool_size"
_POOL_PARTS: Final = 32
_MEBIBYTE: Final = 2**20

_COLUMNS: Final = (
    "VARIABLE_NAME, GLOBAL_VALUE, GLOBAL_VALUE_ORIGIN, VARIABLE_SCOPE, READ_ONLY, VARIABLE_TYPE,"
    " NUMERIC_BLOCK_SIZE"
)


def settings(query: Query, names: Collection[str]) -> dict[str, Setting]:
    """See Engine.settings."""
    return {name: setting for name, (setting, _, _) in _look(query, names).items()}


def set_live(query: Query, changes: Mapping[str, Value | None]) -> LiveOutcome:
    """See Engine.set_live. In the order of names: character_set_server before collation_server."""
    query("SET SESSION sql_mode = ''")  # or a value that would be rounded were an error
    found = _look(query, changes)
    texts: dict[str, str] = {}
    static = set()
    for name in sorted(changes):
        if name not in found:
            static.add(name)
            continue
        setting, kind, block = found[name]
        if not setting.dynamic or not _set(query, name, _literal(changes[name], kind)):
            static.add(name)
            continue
        warnings = [str(row[2]) for row in query("SHOW WARNINGS")]
        texts[name] = _look(query, [name])[name][0].text
        if not _holds(name, changes[name], texts[name], kind, block):
            said = "; ".join(warnings) or f"the server takes {texts[name]} in its place"
            raise Refused(f"{name}: {_shown(changes[name])} is refused: {said}")
    for name, (setting, _, _) in _look(query, texts).items():
        if setting.text != texts[name]:
            raise Refused(
                f"{name}: {texts[name]} is refused: together with the other values the server"
                f" makes it {setting.text}"
            )
    return LiveOutcome(texts, frozenset(static))


def _look(query: Query, names: Collection[str]) -> dict[str, tuple[Setting, str, int]]:
    """Setting, type and block size of each variable that has a global value."""
    if not names:
        return {}
    marks = ", ".join(["%s"] * len(names))
    rows = query(
        f"SELECT {_COLUMNS} FROM information_schema.SYSTEM_VARIABLES"  # noqa: S608 - marks only
        f" WHERE VARIABLE_NAME IN ({marks})",
        *names,
    )
    result = {}
    for name, value, origin, scope, read_only, kind, block in rows:
        setting = Setting(
            text=str(value) if value is not None else "",
            dynamic=read_only == "NO" and scope in ("GLOBAL", "SESSION"),
            own=origin in ("AUTO", "COMPILE-TIME"),
        )
        result[str(name).lower()] = (setting, str(kind), int(str(block or 0)))
    return result


def _set(query: Query, name: str, value: object) -> bool:
    """False where the server takes it only when it starts. Raises Refused, Transient."""
    statement = f"SET GLOBAL {identifier(name)} = "
    try:
        if value is None:
            query(f"{statement}DEFAULT")
        else:
            query(f"{statement}%s", value)
    except pymysql.MySQLError as error:
        number, text = (*error.args, "", "")[:2]
        if number in _STATIC:
            return False
        if number == _WRONG_ARGUMENTS and _IN_PROGRESS in str(text):
            raise Transient(f"{name}: {text}", retry_after_s=1.0) from error
        if is_later(error):
            raise
        raise Refused(f"{name}: {_shown(value)} is refused ({number}): {text}") from error
    return True


def _literal(value: Value | None, kind: str) -> object:
    """A value as SET GLOBAL takes it for a variable of this type; None is its default."""
    if value is None:
        return None
    if kind in _INTEGERS or kind == "DOUBLE":
        text = configuration.canonical(value)
        try:
            return int(text) if kind in _INTEGERS else float(text)
        except ValueError:
            return value  # the server says what is wrong with it
    if kind == "BOOLEAN":
        return configuration.canonical(value)
    if kind == "FLAGSET":
        # the flags that are not named keep what they were, and are to be as a start has them
        flags = str(value)
        named = flags.split(",") if flags else []
        return flags if _DEFAULT in named else ",".join((_DEFAULT, *named))
    return configuration.canonical(value) if isinstance(value, bool) else str(value)


def _holds(name: str, value: Value | None, text: str, kind: str, block: int) -> bool:
    """Whether what the server has now is the value, but for rounding."""
    if value is None or (kind not in _INTEGERS and kind != "DOUBLE"):
        return True
    try:
        wanted, found = float(configuration.canonical(value)), float(text)
    except ValueError:
        return False
    slack = float(max(block, 1)) if kind in _INTEGERS else 1e-6  # times count in microseconds
    if name == _BUFFER_POOL:
        slack = max(slack, wanted / _POOL_PARTS, 2.0 * _MEBIBYTE)
    return abs(wanted - found) < slack or abs(wanted - found) <= abs(wanted) * 1e-9


def _shown(value: object) -> str:
    return "the default" if value is None else repr(value)
