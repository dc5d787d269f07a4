"""Connections to the local server, and its errors as ours.

The driver blocks, so each call runs in a thread. Probes have a connection of their own, which
stays open; other calls open one each, so that a long statement never hides the server's health.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from coffer_common.errors import Transient, UserError
from coffer_guest.engines.base import EngineUnavailable
from coffer_guest.engines.mariadb.driver import Connection, pymysql

T = TypeVar("T")
Row = tuple[object, ...]
#: Runs one statement with its parameters; the rows.
Query = Callable[..., Sequence[Row]]

_CALL_TIMEOUT_S: Final = 60
_CONNECT_TIMEOUT_S: Final = 5
_UNAVAILABLE: Final = frozenset({1040, 1053, 1152, 1927, 2006, 2013, 2055})
_NO_LISTENER: Final = frozenset({2002, 2003})
_LATER: Final = frozenset({1021, 1114, 1205, 1213, 1290, 1836, 4031})
# sql_mode is set, since what the users set for the server must not change what our statements mean
_SESSION: Final = (
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION',"
    " lock_wait_timeout = 30, wait_timeout = 86400"
)


class Sessions:
    """Connections through the socket at `path` as the local `account`."""

    def __init__(self, path: Path, account: str) -> None:
        self._path = path
        self._account = account
        self._probe_lock = threading.Lock()
        self._probe: Connection | None = None

    async def probe(self, timeout_s: float) -> str:
        """The server's VERSION(). Raises EngineUnavailable."""
        return await asyncio.to_thread(self._ask_version, timeout_s)

    async def call(self, work: Callable[[Query], T]) -> T:
        """`work` in a thread with a connection of its own; errors as EngineUnavailable & co."""
        return await asyncio.to_thread(self.call_now, work, _CALL_TIMEOUT_S)

    def close(self) -> None:
        with self._probe_lock:
            self._drop_probe()

    # --- in a thread ----------------------------------------------------------------------------
    def _ask_version(self, timeout_s: float) -> str:
        if not self._probe_lock.acquire(timeout=timeout_s):
            raise EngineUnavailable("an earlier query is not answered yet")
        try:
            if self._probe is not None:
                try:
                    return self._version(self._probe)
                except (pymysql.MySQLError, OSError) as error:
                    self._drop_probe()
                    if _is_timeout(error):
                        raise EngineUnavailable("a query is not answered in time") from error
            # a new server, or a connection that it closed
            self._probe = self._connect(timeout_s)
            return self._version(self._probe)
        except (pymysql.MySQLError, OSError) as error:
            self._drop_probe()
            raise translate(error) from error
        finally:
            self._probe_lock.release()

    def _connect(self, timeout_s: float) -> Connection:
        """A connection whose reads and writes take at most `timeout_s` each."""
        return pymysql.connect(
            unix_socket=str(self._path),
            user=self._account,
            charset="utf8mb4",
            autocommit=True,
            init_command=_SESSION,
            connect_timeout=min(_CONNECT_TIMEOUT_S, max(1, round(timeout_s))),
            read_timeout=timeout_s,
            write_timeout=timeout_s,
        )

    @staticmethod
    def _version(connection: Connection) -> str:
        with connection.cursor() as cursor:
            cursor.execute("SELECT VERSION()")
            row = cursor.fetchone()
        return str(row[0]) if row else ""

    def _drop_probe(self) -> None:
        if self._probe is not None and self._probe.open:
            with contextlib.suppress(pymysql.MySQLError, OSError):
                self._probe.close()
        self._probe = None

    def call_now(self, work: Callable[[Query], T], timeout_s: float) -> T:
        """`call` in this thread; `timeout_s` is for each statement."""
        try:
            connection = self._connect(timeout_s)
            try:
                with connection.cursor() as cursor:

                    def query(statement: str, *values: object) -> Sequence[Row]:
                        cursor.execute(statement, values or None)
                        return list(cursor.fetchall())

                    return work(query)
            finally:
                connection.close()
        except (pymysql.MySQLError, OSError) as error:
            raise translate(error) from error


def translate(error: Exception) -> Exception:
    """A driver's error by its policy; the server's text never holds a password (see sql)."""
    number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    text = str(error.args[1]) if len(error.args) > 1 else str(error)
    if number in _NO_LISTENER or isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return EngineUnavailable("the server takes no connections")
    if isinstance(error, OSError) or number in _UNAVAILABLE or number == 0:
        return EngineUnavailable(f"the server does not answer: {text}")
    if number in _LATER:
        return Transient(f"the server refuses for now ({number}): {text}", retry_after_s=2.0)
    return UserError("EngineRefused", f"the server refuses ({number}): {text}")


def is_later(error: Exception) -> bool:
    """The same statement may succeed later, or the server is not there."""
    return not isinstance(translate(error), UserError)


def _is_timeout(error: Exception) -> bool:
    return isinstance(error, TimeoutError) or "timed out" in str(error)
