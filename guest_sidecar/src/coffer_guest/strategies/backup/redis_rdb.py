"""Redis's data as an RDB snapshot.

Users are not part of a snapshot: a restored instance has those that are set after it.
"""

import asyncio
from typing import ClassVar

from coffer_common.errors import Transient
from coffer_guest.engines.redis import Redis, acl, configuration, restored
from coffer_guest.engines.redis.session import Session
from coffer_guest.pipeline.process import FileSink, Source
from coffer_guest.pipeline.stop import Stop
from coffer_guest.strategies.backup.base import BackupStrategy, Description, Restoring, Scene
from coffer_guest.strategies.backup.redis_sync import RedisSnapshot


class RedisBackup(BackupStrategy):
    """Full backups."""

    name: ClassVar[str] = "RedisBackup"
    manager: ClassVar[str] = "redis"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._socket = scene.site.run / configuration.SOCKET
        self._secret = scene.site.run / configuration.SECRET
        self._version = ""
        self._snapshot: RedisSnapshot | None = None

    def source(self, stop: Stop) -> Source:
        session = Session(self._socket, acl.ADMINISTRATOR, self._secret)
        information = str(asyncio.run(session.ask(("INFO", "server"))))
        lines = (line.partition(":") for line in information.splitlines())
        self._version = {name: value for name, _, value in lines}.get("redis_version", "")
        password = self._secret.read_text()
        self._snapshot = RedisSnapshot(self._socket, acl.ADMINISTRATOR, password, stop)
        return self._snapshot

    def describe(self, stop: Stop) -> Description:
        if self._snapshot is None or not self._version:
            raise Transient("the server does not tell its version")
        return Description(self._version, "PSYNC", self._version, self._snapshot.position)

    @staticmethod
    def can_restore(backup_version: str, engine_version: str) -> bool:
        """A release reads the snapshots of all that came before it."""
        return int(Redis.major(backup_version)) <= int(Redis.major(engine_version))

    @classmethod
    def restore(cls, restoring: Restoring) -> None:
        restoring.step("extract")
        restoring.directory.mkdir(mode=0o700)
        restoring.deliver(0, FileSink(restoring.directory / configuration.SNAPSHOT, 0o600))
        restoring.step("prepare")
        restored.lay(restoring.directory)
