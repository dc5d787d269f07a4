"""MariaDB's data files as a stream of mariadb-backup, full or as an increment.

A physical backup: the files as they are, and the redo log of the time it took; `--prepare` makes
them consistent to the end of that time. Accounts and privileges are tables like all others, so
they come back as they were; what the restored instance's own users are is set after it.
"""

import contextlib
import os
import re
from pathlib import Path
from typing import ClassVar, Final

from coffer_common.errors import Transient
from coffer_guest.engines.base import executable
from coffer_guest.engines.mariadb import account, configuration
from coffer_guest.engines.mariadb.session import Query, Sessions
from coffer_guest.layout import remove
from coffer_guest.pipeline.failures import ToolFailed
from coffer_guest.pipeline.manifest import Manifest
from coffer_guest.pipeline.process import ChildSink, ChildSource, Ending, Source, last_words
from coffer_guest.pipeline.stop import Stop
from coffer_guest.strategies.backup import tools
from coffer_guest.strategies.backup.base import (
    BackupStrategy,
    Description,
    Restoring,
    Scene,
)
from coffer_guest.strategies.backup.chain import LSN_FROM, LSN_TO

_TOOL: Final = "mariadb-backup"
_COMPLETED: Final = "completed OK!"
_QUERY_TIMEOUT_S: Final = 30.0
_INFO: Final = ("mariadb_backup_info", "xtrabackup_info")  # the names of 11 and later, and before
_CHECKPOINTS: Final = ("mariadb_backup_checkpoints", "xtrabackup_checkpoints")
_LEFT: Final = ("xtrabackup_*", "mariadb_backup_*", "backup-my.cnf")  # of the tool, for itself
_BINLOG: Final = re.compile(
    r"filename '(?P<file>[^']*)', position '(?P<at>[0-9]+)'"
    r"(, GTID of the last change '(?P<gtid>[^']*)')?"
)
_NOT_COPIED: Final = re.compile(r"ib_logfile[0-9]+|ibtmp[0-9]+|.*\.(log|pid|[0-9]{6})")


class MariaBackup(BackupStrategy):
    """Full backups."""

    name: ClassVar[str] = "MariaBackup"
    manager: ClassVar[str] = "mariadb"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._notes = scene.scratch / "lsn"

    def expected_bytes(self) -> int | None:
        """What the files take that it copies."""
        return _copied_bytes(self.scene.site.data)

    def source(self, stop: Stop) -> Source:
        return self._start([])

    def _start(self, more: list[str]) -> Source:
        temporary = self.scene.scratch / "tmp"
        for folder in (self._notes, temporary):
            folder.mkdir()
        return ChildSource(
            [
                executable(_TOOL),
                "--no-defaults",  # what it must know, the server tells it
                "--backup",
                "--stream=xbstream",
                f"--socket={self.scene.site.run / configuration.SOCKET}",
                f"--user={account()}",
                f"--datadir={self.scene.site.data}",
                f"--target-dir={temporary}",
                f"--tmpdir={temporary}",
                f"--extra-lsndir={self._notes}",
                # an increment begins at its parent's checkpoint: without a fresh one it would hold
                # what the parent has already
                "--innodb-log-checkpoint-now",
                *more,
            ],
            _require_completed,
        )

    def describe(self, stop: Stop) -> Description:
        try:
            info = _fields(_first(self._notes, _INFO).read_text())
            checkpoints = _fields(_first(self._notes, _CHECKPOINTS).read_text())
            position = {LSN_FROM: checkpoints["from_lsn"], LSN_TO: checkpoints["to_lsn"]}
            version = info["server_version"].partition("-")[0]
        except (OSError, KeyError) as error:
            raise Transient(f"{_TOOL} does not say what it has done: {error!r}") from error
        found = _BINLOG.search(info.get("binlog_pos", ""))
        if found is not None:
            position |= {"binlogFile": found["file"], "binlogPosition": found["at"]}
            if found["gtid"]:
                position["gtid"] = found["gtid"]
        return Description(version, _TOOL, info.get("tool_version", ""), position)

    @staticmethod
    def can_restore(backup_version: str, engine_version: str) -> bool:
        """Files belong to one release series: 10.11."""
        return backup_version.split(".")[:2] == engine_version.split(".")[:2]

    @classmethod
    def restore(cls, restoring: Restoring) -> None:
        os.umask(0o077)  # of the tools, too
        directory, increment = restoring.directory, restoring.increment
        for number in range(len(restoring.manifests)):
            target = increment if number else directory
            restoring.step("extract")
            remove(target)
            target.mkdir(mode=0o700)
            sink = ChildSink([executable("mbstream"), "--extract", f"--directory={target}"])
            restoring.deliver(number, sink)
            restoring.step("prepare")
            _prepare(directory, increment if number else None, restoring.stop)
            remove(increment)
        for pattern in _LEFT:
            for path in directory.glob(pattern):
                path.unlink()


class MariaBackupIncremental(MariaBackup):
    """What has changed since another backup of the same data directory."""

    name: ClassVar[str] = "MariaBackupIncremental"
    full: ClassVar[type[BackupStrategy] | None] = MariaBackup

    def why_not(self) -> str:
        parent = self.scene.parent
        if parent is None:
            return "there is no parent"
        return lsn_fault(parent, self._server_lsn())

    def expected_bytes(self) -> int | None:
        return None

    def source(self, stop: Stop) -> Source:
        parent = self.scene.parent
        if parent is None:
            raise AssertionError("an increment has a parent")
        return self._start([f"--incremental-lsn={parent.facts.position[LSN_TO]}"])

    def _server_lsn(self) -> int:
        sessions = Sessions(self.scene.site.run / configuration.SOCKET, account())

        def ask(query: Query) -> int:
            rows = query("SHOW GLOBAL STATUS LIKE 'Innodb_lsn_current'")
            return int(str(rows[0][1]))

        return sessions.call_now(ask, _QUERY_TIMEOUT_S)


def lsn_fault(parent: Manifest, server_lsn: int) -> str:
    """Why a server at this LSN cannot be the one that the parent was taken of. Pure."""
    reached = parent.facts.position.get(LSN_TO, "")
    if not reached.isdecimal():
        return f"its parent {parent.id} does not tell the LSN that it reaches"
    if server_lsn < int(reached):
        return (
            f"the server is at LSN {server_lsn}, its parent {parent.id} at {reached}: it was "
            f"taken of other data"
        )
    return ""


def _prepare(directory: Path, increment: Path | None, stop: Stop) -> None:
    argv = [executable(_TOOL), "--no-defaults", "--prepare", f"--target-dir={directory}"]
    if increment is not None:
        argv.append(f"--incremental-dir={increment}")
    tools.run(argv, stop, _require_completed)


def _require_completed(ending: Ending) -> None:
    """The exit status alone is no proof: the tool says so in its last line."""
    ending.require_success()
    lines = ending.tail.strip().splitlines()
    if not lines or not lines[-1].rstrip().endswith(_COMPLETED):
        raise ToolFailed(ending.program, "did not complete", last_words(ending.tail))


def _first(folder: Path, names: tuple[str, ...]) -> Path:
    found = [folder / name for name in names if (folder / name).exists()]
    return found[0] if found else folder / names[-1]


def _fields(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _copied_bytes(data: Path) -> int:
    total = 0
    for folder, _, names in os.walk(data):
        for name in names:
            if _NOT_COPIED.fullmatch(name) is None:
                with contextlib.suppress(OSError):  # gone meanwhile
                    total += os.lstat(os.path.join(folder, name)).st_size
    return total
