"""Databases as statements, by mariadb-dump: for a few databases, another version, or a person.

A logical backup: it is read in one transaction, and loaded into an instance that runs. It holds
tables with their rows, triggers, routines and events; no accounts, no position.
"""

from collections.abc import Sequence
from typing import ClassVar, Final

from coffer_common.errors import UserError
from coffer_guest.engines.base import Site, executable
from coffer_guest.engines.mariadb import account, configuration, schema
from coffer_guest.engines.mariadb.session import Query, Sessions
from coffer_guest.pipeline.process import ChildSink, ChildSource, Sink, Source
from coffer_guest.pipeline.stop import Stop
from coffer_guest.strategies.backup.base import BackupStrategy, Description, Scene
from coffer_guest.strategies.backup.statements import Selected, Selection

_TOOL: Final = "mariadb-dump"
_PACKET: Final = "--max-allowed-packet=1G"
_QUERY_TIMEOUT_S: Final = 60.0
_SIZE: Final = (
    "SELECT COALESCE(SUM(data_length), 0) FROM information_schema.tables WHERE table_schema IN %s"
)


class MySQLDump(BackupStrategy):
    """The databases that are named, or all but the server's own."""

    name: ClassVar[str] = "MySQLDump"
    manager: ClassVar[str] = "mariadb"
    logical: ClassVar[bool] = True

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._sessions = Sessions(scene.site.run / configuration.SOCKET, account())
        self._names: tuple[str, ...] = ()
        self._bytes = 0
        self._version = ""

    def expected_bytes(self) -> int | None:
        return self._bytes or None

    def source(self, stop: Stop) -> Source:
        self._sessions.call_now(self._look, _QUERY_TIMEOUT_S)
        return ChildSource(
            [
                executable(_TOOL),
                "--no-defaults",
                f"--socket={self.scene.site.run / configuration.SOCKET}",
                f"--user={account()}",
                "--default-character-set=utf8mb4",
                _PACKET,
                "--single-transaction",
                "--quick",
                "--hex-blob",
                "--routines",
                "--triggers",
                "--events",
                "--databases",
                "--",
                *self._names,
            ]
        )

    def _look(self, query: Query) -> None:
        there = [database.name for database in schema.databases(query)]
        missing = [name for name in self.scene.databases if name not in there]
        if missing:
            raise UserError("DatabaseMissing", f"there is no database {', '.join(missing)}")
        self._names = self.scene.databases or tuple(there)
        if not self._names:
            raise UserError("DatabaseMissing", "there is no database to back up")
        self._bytes = int(str(query(_SIZE, self._names)[0][0]))
        self._version = str(query("SELECT VERSION()")[0][0]).partition("-")[0]

    def describe(self, stop: Stop) -> Description:
        return Description(
            self._version,
            _TOOL,
            self._version,
            extra={"databases": list(self._names), "dataBytes": self._bytes},
        )

    @staticmethod
    def can_restore(backup_version: str, engine_version: str) -> bool:
        """Statements are understood by later versions; older ones say what they do not know."""
        del backup_version, engine_version
        return True

    @classmethod
    def load_sink(cls, site: Site) -> Sink:
        return ChildSink(
            [
                executable("mariadb"),
                "--no-defaults",
                f"--socket={site.run / configuration.SOCKET}",
                f"--user={account()}",
                "--default-character-set=utf8mb4",
                _PACKET,
                "--binary-mode",
                "--batch",
            ]
        )

    @classmethod
    def selected(cls, sink: Sink, databases: Sequence[str], held: Sequence[str]) -> Sink:
        return Selected(sink, Selection(databases, held))
