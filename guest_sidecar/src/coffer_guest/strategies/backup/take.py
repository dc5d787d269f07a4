"""The task `backup`: one backup of the running engine. Runs in a task's child process."""

import datetime
import importlib.metadata
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from coffer_common.errors import Permanent, UserError
from coffer_common.quantity import readable
from coffer_common.wire import BackupResult, BackupTask
from coffer_guest.paths import Paths
from coffer_guest.pipeline import archive
from coffer_guest.pipeline.archive import Location
from coffer_guest.pipeline.failures import Damaged
from coffer_guest.pipeline.manifest import DataObject, Facts, Manifest, Parent
from coffer_guest.pipeline.process import Source
from coffer_guest.pipeline.stop import Stop, stopped_by_signal
from coffer_guest.strategies.backup.access import Access, opened
from coffer_guest.strategies.backup.base import BackupStrategy, Scene, load_for
from coffer_guest.strategies.backup.chain import open_chain
from coffer_guest.task_child import Outcome, TaskContext
from coffer_guest.volume import Marker, look

_WHY_FULL = "whyFull"


def backup(context: TaskContext) -> Outcome:
    """Payload: a BackupTask; result: a BackupResult. Raises CofferError, OSError.

    Cancelled by SIGTERM, it leaves no upload. Where the backup is there already, complete, that
    is the result: an earlier attempt with this id had got that far.
    """
    task = context.request(BackupTask)
    with stopped_by_signal() as stop, opened(task.storage) as access:
        taking = _Taking(context, task, access, stop)
        manifest = taking.run()
        result = _result(access, taking.location, manifest)
    plain, stored = readable(result.plain_bytes), readable(result.size_bytes)
    message = f"{result.type} backup of {plain}, {stored} stored"
    return Outcome(message, result.model_dump(mode="json"))


class _Taking:
    """One run of the task."""

    def __init__(self, context: TaskContext, task: BackupTask, access: Access, stop: Stop) -> None:
        if context.instance is None or context.volume is None:
            raise Permanent("a backup is taken of an instance with a volume")
        self._context = context
        self._instance = context.instance
        self._paths = Paths(volume=context.volume, run=context.site.run)
        self._task = task
        self._access = access
        self._stop = stop
        self._created_at = _now()
        try:
            uid = task.instance["uid"]
        except KeyError:
            raise UserError("InvalidRequest", "the instance to back up has no uid") from None
        self.location = Location.of(access.prefix, uid, task.backup_id)
        Location.parse(self.location.path)

    def run(self) -> Manifest:
        marker = self._marker()
        kind = load_for(self._task.strategy, self._instance.manager)
        if self._task.databases and not kind.logical:
            raise UserError(
                "StrategyInvalid",
                f"{kind.name} backs up everything: single databases are for a strategy that takes "
                f"them one by one, such as MySQLDump",
            )
        with self._scratch() as scratch:
            scene = Scene(self._context.site, scratch, self._task.databases)
            choice = self._choose(kind, scene, marker)
            source = choice.strategy.source(self._stop)
            return self._save(source, choice, marker)

    def _save(self, source: Source, choice: "_Choice", marker: Marker) -> Manifest:
        try:
            expected_bytes = choice.strategy.expected_bytes()
        except BaseException:
            source.kill()
            raise

        def progress(plain_bytes: int, _stored_bytes: int) -> None:
            total = None if expected_bytes is None else max(expected_bytes, plain_bytes)
            self._context.report(plain_bytes, total)

        return archive.save(
            source,
            self._access.store,
            self.location,
            self._access.ring,
            lambda data: self._facts(choice, marker, data),
            self._access.write_options(expected_bytes, progress),
            self._stop,
        )

    def _choose(self, kind: type[BackupStrategy], scene: Scene, marker: Marker) -> "_Choice":
        """An increment where one was asked for and is possible, else a full backup and why."""
        if self._task.parent is None and kind.full is None:
            return _Choice(kind(scene))
        parent, why = self._parent(kind, marker)
        if parent is not None:
            strategy = kind(replace(scene, parent=parent.manifest))
            why = strategy.why_not()
            if not why:
                return _Choice(strategy, parent)
        return _Choice((kind.full or kind)(scene), why_full=why)

    def _parent(self, kind: type[BackupStrategy], marker: Marker) -> "tuple[_Parent | None, str]":
        """The parent with all that it needs, unless something in it keeps us from using it.

        What may be otherwise later (a store that cannot be reached) is raised: that is no reason
        to take a full backup.
        """
        path = self._task.parent
        if path is None:
            return None, "there is no parent"
        try:
            chain = open_chain(self._access, path, None, self._stop)
        except UserError as error:
            if not isinstance(error, Damaged) and error.reason not in _PARENT_UNUSABLE:
                raise
            return None, error.message
        manifest = chain[-1].manifest
        why = self._misfit(kind, manifest, marker)
        return (None if why else _Parent(path, manifest)), why

    def _misfit(self, kind: type[BackupStrategy], manifest: Manifest, marker: Marker) -> str:
        """Why a backup cannot be the parent of one by `kind`; empty: it can."""
        facts = manifest.facts
        if facts.data_id != marker.data_id:
            return (
                f"its parent {manifest.id} was taken of data {facts.data_id}, and these are "
                f"{marker.data_id}: another instance, or one that was restored or rebuilt"
            )
        if facts.instance.get("uid") != self._task.instance["uid"]:
            return f"its parent {manifest.id} is of another instance"
        if facts.datastore != marker.datastore or facts.strategy not in _family(kind):
            return f"its parent {manifest.id} is by {facts.strategy} of {facts.datastore}"
        if not kind.can_restore(facts.engine_version, self._instance.version):
            return f"its parent {manifest.id} is of version {facts.engine_version}"
        return ""

    def _facts(self, choice: "_Choice", marker: Marker, _data: DataObject) -> Facts:
        described = choice.strategy.describe(self._stop)
        kind: Literal["full", "incremental"] = "full"
        parent, depth, full_id = None, 0, self._task.backup_id
        if choice.parent is not None:
            former = choice.parent.manifest
            kind, depth, full_id = "incremental", former.facts.depth + 1, former.facts.full_id
            parent = Parent(id=former.id, path=choice.parent.path, digest=former.digest)
        return Facts(
            type=kind,
            strategy=choice.strategy.name,
            datastore=marker.datastore,
            engine_version=described.engine_version,
            tool=described.tool,
            tool_version=described.tool_version,
            agent_version=importlib.metadata.version("coffer"),
            instance=dict(self._task.instance),
            data_id=marker.data_id,
            created_at=self._created_at,
            finished_at=_now(),
            position=dict(described.position),
            parent=parent,
            full_id=full_id,
            depth=depth,
            extra=dict(described.extra) | ({_WHY_FULL: choice.why_full} if choice.why_full else {}),
        )

    def _marker(self) -> Marker:
        marker = look(self._paths).marker
        if marker is None or not marker.complete:
            raise Permanent("the volume holds no data that Coffer laid out")
        return marker

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        """A folder for the tool's notes, some kilobytes; what dead attempts left goes first."""
        root = self._paths.task_scratch
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(mode=0o700, parents=True)
        try:
            yield Path(tempfile.mkdtemp(dir=root))
        finally:
            shutil.rmtree(root, ignore_errors=True)


@dataclass(frozen=True)
class _Parent:
    path: str  # below the prefix
    manifest: Manifest


@dataclass(frozen=True)
class _Choice:
    """What is taken."""

    strategy: BackupStrategy
    parent: _Parent | None = None
    why_full: str = ""


#: Reasons beside Damaged for which a full backup is taken: all others would meet that alike.
_PARENT_UNUSABLE = frozenset({"KeyUnknown", "KeyWrong", "LocationInvalid"})


def _family(kind: type[BackupStrategy]) -> frozenset[str]:
    return frozenset({kind.name, kind.full.name if kind.full else kind.name})


def _result(access: Access, location: Location, manifest: Manifest) -> BackupResult:
    facts, data = manifest.facts, manifest.data
    return BackupResult(
        path=access.path(location),
        location=access.url(location),
        type=facts.type,
        strategy=facts.strategy,
        size_bytes=data.size_bytes,
        plain_bytes=data.plain_bytes,
        plain_sha256=data.plain_sha256,
        manifest_digest=manifest.digest,
        key_id=manifest.keys[0].id,
        datastore=facts.datastore,
        engine_version=facts.engine_version,
        data_id=facts.data_id,
        position=dict(facts.position),
        parent=facts.parent.path if facts.parent else None,
        depth=facts.depth,
        why_full=str(facts.extra.get(_WHY_FULL, "")),
    )


def _now() -> str:
    now = datetime.datetime.now(datetime.UTC)
    return now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
