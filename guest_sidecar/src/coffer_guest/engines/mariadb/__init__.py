"""The mariadb engine: MariaDB 10.11 and later, through its unix socket as a local account.

The account is named like the system user that agent and engine run as, since unix_socket
authentication compares just that; it is ensured by the init file at every start of the engine,
for an administrator could drop it.
"""

import os
import pwd
import secrets
import subprocess
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Final

from coffer_common.errors import Permanent
from coffer_common.wire import DatabaseInfo, DatabaseRequest, UserInfo, UserRequest, Value
from coffer_guest.engines.base import (
    Engine,
    LaunchSpec,
    Layers,
    LiveOutcome,
    Setting,
    Site,
    executable,
)
from coffer_guest.engines.mariadb import binary_log, configuration, live, redo_log, schema
from coffer_guest.engines.mariadb.session import Sessions

_INITIALISE_TIMEOUT_S: Final = 300
_SEED_LOG_SIZE: Final = "10M"  # a copy's is grown to its configured size; see fit
#: Accounts and rows that mariadb-install-db makes beyond root@localhost, and with the name of the
#: machine that built the image.
_SEED_SQL: Final = """
DELETE FROM mysql.proxies_priv;
DELETE FROM mysql.global_priv WHERE NOT (user = 'root' AND host = 'localhost')
  AND user <> 'mariadb.sys';
"""


class MariaDB(Engine):
    """One MariaDB server on a `Site`."""

    outright: ClassVar[frozenset[str]] = frozenset(
        {
            "aria_pagecache_buffer_size",
            "innodb_buffer_pool_size",
            "innodb_log_buffer_size",
            "key_buffer_size",
            "query_cache_size",
        }
    )
    tasks: ClassVar[Mapping[str, str]] = {"verify": "coffer_guest.engines.mariadb.verify:run"}

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.account = account()
        self._sessions = Sessions(site.run / configuration.SOCKET, self.account)

    @staticmethod
    def major(version: str) -> str:
        """The release series: the first two numbers."""
        return ".".join(version.split(".")[:2])

    @staticmethod
    def initialise(directory: Path) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            extra = Path(scratch, "extra.sql")
            extra.write_text(_SEED_SQL)
            done = subprocess.run(  # noqa: S603 - an argv list without user input
                [
                    executable("mariadb-install-db"),
                    "--no-defaults",
                    f"--datadir={directory}",
                    "--auth-root-authentication-method=socket",
                    "--auth-root-socket-user=root",
                    "--skip-test-db",
                    "--skip-name-resolve",
                    f"--extra-file={extra}",
                    f"--innodb-log-file-size={_SEED_LOG_SIZE}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=_INITIALISE_TIMEOUT_S,
                check=False,
            )
        if done.returncode != 0:
            raise Permanent(f"mariadb-install-db ended with {done.returncode}:\n{done.stdout}")

    @staticmethod
    def fit(directory: Path, values: Mapping[str, Value]) -> None:
        """Give the redo log its size: the server would need a tenth of a second for it."""
        wanted = configuration.canonical(values.get("innodb_log_file_size", 0))
        if wanted.isdecimal():
            redo_log.grow(directory / redo_log.FILE, int(wanted))

    @staticmethod
    def new_identity(random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> dict[str, str]:
        """A server id from 1 to 2^32 - 1."""
        number = int.from_bytes(random_bytes(8)) % (2**32 - 1) + 1
        return {"server_id": str(number)}

    def configuration(
        self, folder: Path, layers: Layers, identity: Mapping[str, str]
    ) -> dict[str, str]:
        return configuration.files(folder, layers, self.site, identity["server_id"], self.account)

    @staticmethod
    def parse(text: str) -> dict[str, str]:
        return configuration.parse(text)

    @staticmethod
    def canonical(value: Value) -> str:
        return configuration.canonical(value)

    @staticmethod
    def last_words(log: str) -> str:
        return configuration.last_words(log)

    def launch(self, folder: Path) -> LaunchSpec:
        """MariaDB ends cleanly on SIGTERM."""
        return LaunchSpec(
            argv=(executable("mariadbd"), f"--defaults-file={folder / configuration.MAIN}"),
            env={"PATH": os.defpath, "TZ": "UTC", "HOME": str(self.site.tmp)},
            configuration=folder.name,
        )

    def before_start(self) -> None:
        """Nothing: MariaDB's configuration holds no secrets, and it replaces a stale socket."""

    async def probe(self, timeout_s: float) -> str:
        return (await self._sessions.probe(timeout_s)).partition("-")[0]

    async def keep_house(self, volume_bytes: int) -> None:
        """Purge the oldest binary logs where all take more than their share of the volume."""
        oldest_kept = binary_log.oldest_kept(self.site.data, binary_log.share_bytes(volume_bytes))
        if oldest_kept is not None:
            await self._sessions.call(lambda query: binary_log.purge(query, oldest_kept))

    async def settings(self, names: Collection[str]) -> Mapping[str, Setting]:
        return await self._sessions.call(lambda query: live.settings(query, names))

    async def set_live(self, changes: Mapping[str, Value | None]) -> LiveOutcome:
        return await self._sessions.call(lambda query: live.set_live(query, changes))

    async def databases(self) -> Sequence[DatabaseInfo]:
        return await self._sessions.call(schema.databases)

    async def ensure_database(self, name: str, request: DatabaseRequest) -> None:
        schema.check_database(name, request)
        await self._sessions.call(lambda query: schema.ensure_database(query, name, request))

    async def drop_database(self, name: str) -> None:
        schema.check_database(name, DatabaseRequest())
        await self._sessions.call(lambda query: schema.drop_database(query, name))

    async def users(self) -> Sequence[UserInfo]:
        return await self._sessions.call(lambda query: schema.users(query, self.account))

    async def ensure_user(self, name: str, request: UserRequest) -> None:
        schema.check_user(name, request.host, self.account)
        for database in request.databases:
            schema.check_database(database, DatabaseRequest())
        await self._sessions.call(lambda query: schema.ensure_user(query, name, request))

    async def drop_user(self, name: str, host: str) -> None:
        schema.check_user(name, host, self.account)
        await self._sessions.call(lambda query: schema.drop_user(query, name, host))

    async def close(self) -> None:
        self._sessions.close()


ENGINE = MariaDB


def account() -> str:
    """The name of the system user we run as; also that of our account. Raises Permanent."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError as error:
        raise Permanent(
            f"user id {os.geteuid()} has no name: MariaDB's unix_socket authentication needs one"
        ) from error
