"""The task `verify`: the server's own check of every table. Runs in a task's child process.

Each table is read through and its indexes compared. A view or a routine is not looked at: it holds
no data.
"""

from typing import Final

from coffer_common.errors import UserError
from coffer_common.quantity import counted
from coffer_guest.engines.mariadb import account, configuration
from coffer_guest.engines.mariadb.driver import pymysql
from coffer_guest.engines.mariadb.session import Query, Sessions, is_later
from coffer_guest.engines.mariadb.sql import identifier
from coffer_guest.task_child import Outcome, TaskContext

_TABLE_TIMEOUT_S: Final = 6 * 3600
_SOUND: Final = frozenset({"OK", "Table is already up to date"})
_TABLES: Final = """
SELECT table_schema, table_name, COALESCE(data_length + index_length, 0)
FROM information_schema.tables
WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('information_schema', 'performance_schema')
ORDER BY table_schema, table_name
"""
_SYSTEM: Final = frozenset({"mysql", "sys"})
_SHOWN: Final = 5


def run(context: TaskContext) -> Outcome:
    """Check all tables, the server's own too; result: {tables, databases} of the users'.

    Raises UserError (DataDamaged) that names the damaged ones, and what a server raises that does
    not answer.
    """
    sessions = Sessions(context.site.run / configuration.SOCKET, account())
    return sessions.call_now(lambda query: _check_all(query, context), _TABLE_TIMEOUT_S)


def _check_all(query: Query, context: TaskContext) -> Outcome:
    tables = [(str(row[0]), str(row[1]), int(str(row[2]))) for row in query(_TABLES)]
    total, done = sum(size for *_, size in tables), 0
    damaged = []
    for database, table, size in tables:
        name = f"{identifier(database)}.{identifier(table)}"
        finding = _check(query, name)
        if finding is not None:
            damaged.append(f"{name}: {finding}")
        done += size
        context.report(done, total)
    if damaged:
        more = f" and {len(damaged) - _SHOWN} more" if len(damaged) > _SHOWN else ""
        raise UserError(
            "DataDamaged",
            f"{len(damaged)} of {len(tables)} tables damaged: {'; '.join(damaged[:_SHOWN])}{more}",
        )
    users = [database for database, *_ in tables if database not in _SYSTEM]
    databases = len(set(users))
    return Outcome(
        f"found sound: {counted(len(users), 'table')} in {counted(databases, 'database')}, and the "
        "server's own",
        {"tables": len(users), "databases": databases},
    )


def _check(query: Query, name: str) -> str | None:
    """What is wrong with a table; None: nothing, or it has gone meanwhile."""
    try:
        rows = query(f"CHECK TABLE {name}")
    except pymysql.MySQLError as error:
        if is_later(error):
            raise  # that says nothing of the table
        return str(error.args[-1])
    for _table, _operation, kind, text in rows:
        if kind == "Error" and "doesn't exist" in str(text):
            return None
        if kind in ("error", "Error") or (kind == "status" and text not in _SOUND):
            return None if "doesn't support" in str(text) else str(text)
    return None
