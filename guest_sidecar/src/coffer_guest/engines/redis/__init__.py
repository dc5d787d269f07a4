"""The redis engine: Redis 7 through its unix socket.

Redis cannot tell a local process from a remote one, so the agent has an administrator account. Its
password is drawn once per pod and lies in a 0600 file beside the socket, gone with the pod; the
ACL file on the volume holds hashes only. The user `default` is off.
"""

import asyncio
import os
import secrets
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Final

from coffer_common.wire import DatabaseInfo, DatabaseRequest, UserInfo, UserRequest, Value
from coffer_guest.engines.base import (
    Engine,
    EngineUnavailable,
    LaunchSpec,
    Layers,
    LiveOutcome,
    NotSupported,
    Setting,
    Site,
    executable,
)
from coffer_guest.engines.redis import acl, configuration, live, restored
from coffer_guest.engines.redis.session import Session
from coffer_guest.files import write_durably

#: Redis refuses to stop while it cannot save, or first writes the append-only file that it was
#: told to keep; what it holds then is nowhere else. Being told to stop by force would lose that.
_STOP_AGAIN_S: Final = 1.0
_NO_DATABASES: Final = "redis has no databases to create; leave spec.databases out"


class Redis(Engine):
    """One Redis server on a `Site`."""

    knows_defaults = False
    outright: ClassVar[frozenset[str]] = frozenset({"maxmemory"})
    tasks: ClassVar[Mapping[str, str]] = {"verify": "coffer_guest.engines.redis.verify:run"}

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._secret = site.run / configuration.SECRET
        self._acl_file = site.data / configuration.ACL_FILE
        socket = site.run / configuration.SOCKET
        self._session = Session(socket, acl.ADMINISTRATOR, self._secret)

    @staticmethod
    def major(version: str) -> str:
        """The first number: the files of a major version are read by all its releases."""
        return version.split(".", maxsplit=1)[0]

    @staticmethod
    def initialise(directory: Path) -> None:
        """Nothing: Redis starts from an empty directory."""

    def configuration(
        self, folder: Path, layers: Layers, identity: Mapping[str, str]
    ) -> dict[str, str]:
        del identity
        return configuration.files(folder, layers, self.site)

    @staticmethod
    def parse(text: str) -> dict[str, str]:
        return configuration.parse(text)

    @staticmethod
    def canonical(value: Value) -> str:
        return configuration.canonical(value)

    @staticmethod
    def combine(name: str, lower: Value | None, upper: Value) -> Value:
        return configuration.combine(name, lower, upper)

    def launch(self, folder: Path) -> LaunchSpec:
        """Redis ends cleanly on SIGTERM, or refuses and goes on."""
        return LaunchSpec(
            argv=(executable("redis-server"), str(folder / configuration.MAIN)),
            env={"PATH": os.defpath, "TZ": "UTC", "HOME": str(self.site.tmp)},
            stop_again_s=_STOP_AGAIN_S,
            configuration=folder.name,
        )

    def before_start(self) -> None:
        """The administrator's password, drawn at the first start in this pod, and the ACL file.

        And what a restore has left over.

        A server that still runs knows this very password, so the agent keeps its access.
        """
        if not self._secret.exists():
            write_durably(self._secret, secrets.token_urlsafe(32).encode(), mode=0o600)
        former = self._acl_file.read_text() if self._acl_file.exists() else ""
        wanted = acl.file_text(former, self._secret.read_text())
        if wanted != former:
            write_durably(self._acl_file, wanted.encode(), mode=0o600)
        restored.tidy(self.site.data)

    async def probe(self, timeout_s: float) -> str:
        # while the data are being loaded INFO is answered, PING is not
        answer = await self._session.ask(("PING",), ("INFO", "server"), timeout_s=timeout_s)
        for line in str(answer).splitlines():
            name, _, value = line.partition(":")
            if name == "redis_version":
                return value
        raise EngineUnavailable("the server does not tell its version")

    async def settings(self, names: Collection[str]) -> Mapping[str, Setting]:
        return await live.settings(self._session, names)

    async def set_live(self, changes: Mapping[str, Value | None]) -> LiveOutcome:
        return await live.set_live(self._session, changes)

    async def databases(self) -> Sequence[DatabaseInfo]:
        return ()

    async def ensure_database(self, name: str, request: DatabaseRequest) -> None:
        raise NotSupported(_NO_DATABASES)

    async def drop_database(self, name: str) -> None:
        raise NotSupported(_NO_DATABASES)

    async def users(self) -> Sequence[UserInfo]:
        return [
            UserInfo(name=user.name, host="%", databases=())
            for user in sorted(await self._list(), key=lambda user: user.name)
            if user.name not in acl.SYSTEM_USERS
        ]

    async def ensure_user(self, name: str, request: UserRequest) -> None:
        acl.check_user(name, request.host, request.databases)
        # on the volume, too: an earlier attempt may have ended between the two commands
        known = (await self._list(), await asyncio.to_thread(self._saved))
        if all(acl.has_user(users, name, request.password) for users in known):
            return
        setting = ("ACL", "SETUSER", name, *acl.user_rules(request.password))
        await self._session.ask(setting, ("ACL", "SAVE"))

    async def drop_user(self, name: str, host: str) -> None:
        acl.check_user(name, host, ())
        await self._session.ask(("ACL", "DELUSER", name), ("ACL", "SAVE"))

    async def close(self) -> None:
        """Nothing: no connection outlives its call."""

    async def _list(self) -> list[acl.AclUser]:
        answer = await self._session.ask(("ACL", "LIST"))
        return acl.parse_list(str(line) for line in answer) if isinstance(answer, list) else []

    def _saved(self) -> list[acl.AclUser]:
        """The users as the next start reads them; none where that cannot be read."""
        try:
            return acl.parse_list(self._acl_file.read_text().splitlines())
        except OSError:
            return []


ENGINE = Redis
