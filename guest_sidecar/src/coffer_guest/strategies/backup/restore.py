"""The task `restore`: lay out an empty volume from a backup. Runs in a task's child process.

Everything that can be known before is checked before the volume is touched. From then on it is the
layout of layout.py with another origin: until its last step the volume counts as not laid out, so
that whoever dies, or whatever fails, the agent waits for this task to be asked for again, and it
begins anew. It never falls back to empty data.

What comes back of accounts: MariaDB's are tables, so they are as they were, but for the agent's
own, which the engine ensures at each start. The instance's own users are set after it by whoever
asked for the restore. Redis's users are not in a backup.
"""

import contextlib
import os
import re
import secrets
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from coffer_common.errors import CofferError, Permanent, UserError
from coffer_common.wire import GuestConfig, RestoreTask
from coffer_guest import volume
from coffer_guest.engines import base as engines
from coffer_guest.launcher_client import LauncherClient
from coffer_guest.layout import Step, lay_out, remove
from coffer_guest.paths import Paths
from coffer_guest.pipeline import archive
from coffer_guest.pipeline.archive import OpenBackup
from coffer_guest.pipeline.failures import ToolFailed
from coffer_guest.pipeline.process import Sink
from coffer_guest.pipeline.stop import Cancelled, Stop, stopped_by_signal
from coffer_guest.strategies.backup.access import Access, opened
from coffer_guest.strategies.backup.base import BackupStrategy, Restoring, load
from coffer_guest.strategies.backup.chain import needed_bytes, open_chain
from coffer_guest.task_child import Outcome, TaskContext
from coffer_guest.volume import Action, Expected, Marker

_ROOM_BYTES: Final = 64 << 20  # for what the engine makes itself when it starts
_NO_SPACE: Final = re.compile(r"No space left on device|[Ee]rr(code|no):? 28\b|OS error 28\b")


def restore(context: TaskContext) -> Outcome:
    """Payload: a RestoreTask; result: {dataId, path}. Raises CofferError, OSError.

    Asked for again after it has been done, it says so.
    """
    return restore_by_steps(context, lambda _: None)


def restore_by_steps(context: TaskContext, step: Step) -> Outcome:
    """`step` is told the name of each step before it; tests end the process there."""
    if context.instance is None or context.volume is None:
        raise Permanent("an instance's volume is restored")
    task = context.request(RestoreTask)
    paths = Paths(volume=context.volume, run=context.site.run)
    done = volume.look(paths).marker
    if done is not None and done.complete and done.restored == task.path:
        return _outcome(done, task.path)
    with stopped_by_signal() as stop, opened(task.storage) as access:
        chain = open_chain(access, task.path, task.digest, stop)
        strategy = fitting(chain, context.instance)
        if strategy.logical:
            raise UserError(
                "NotPhysical",
                f"a backup by {strategy.name} is logical: restore it into an instance that runs",
            )
        with _locked(paths, context.instance):
            _check_room(paths, chain)
            marker = _new_marker(context.instance, task.path)
            origin = _Chain(context, paths, access, chain, strategy, stop, task.whole)
            try:
                lay_out(paths, origin, marker, step)
            except (CofferError, OSError) as error:
                raise _judged(error, paths, chain) from error
    return _outcome(marker, task.path)


def _outcome(marker: Marker, path: str) -> Outcome:
    return Outcome(f"restored from {path}", {"dataId": marker.data_id, "path": path})


def fitting(chain: Sequence[OpenBackup], instance: GuestConfig) -> type[BackupStrategy]:
    """What restores the chain, where the instance can hold it. Raises UserError."""
    facts = chain[0].manifest.facts
    strategy = load(facts.strategy)
    if facts.datastore != instance.datastore or strategy.manager != instance.manager:
        raise UserError(
            "DatastoreMismatch",
            f"the backup is of {facts.datastore}, and the instance is {instance.datastore}",
        )
    for one in chain:
        found = one.manifest.facts
        if not strategy.can_restore(found.engine_version, instance.version):
            raise UserError(
                "VersionMismatch",
                f"backup {one.manifest.id} is of {found.datastore} {found.engine_version}, and "
                f"the instance is {instance.version}: restore it into the same version",
            )
        if one is not chain[0] and load(found.strategy).full is not strategy:
            raise UserError(
                "ChainBroken", f"{found.strategy} does not continue a backup by {strategy.name}"
            )
    return strategy


@dataclass(frozen=True)
class _Chain:
    """The layout's origin; see layout.Origin."""

    context: TaskContext
    paths: Paths
    access: Access
    chain: Sequence[OpenBackup]
    strategy: type[BackupStrategy]
    stop: Stop
    whole: bool  # compare the checksums of whole streams

    def check(self) -> None:
        """All was checked."""

    def fill(self, directory: Path, step: Step) -> None:
        self.strategy.restore(
            Restoring(
                [one.manifest for one in self.chain],
                directory,
                self.paths.increment,
                self._deliver,
                step,
                self.stop,
            )
        )

    def _deliver(self, number: int, sink: Sink) -> None:
        sizes = [one.manifest.data.plain_bytes for one in self.chain]
        before_bytes, total_bytes = sum(sizes[:number]), sum(sizes)

        def progress(plain_bytes: int, _stored_bytes: int) -> None:
            self.context.report(before_bytes + plain_bytes, total_bytes)

        options = self.access.read_options(progress, whole=self.whole)
        archive.restore(self.chain[number], self.access.store, sink, options, self.stop)


@contextlib.contextmanager
def _locked(paths: Paths, instance: GuestConfig) -> Iterator[None]:
    """The volume's lock, and the volume empty or left by an attempt like this."""
    descriptor = LauncherClient(paths.launcher_socket, lambda: None).lock()
    try:
        seen = volume.look(paths)
        engine = engines.load(instance.manager)
        verdict = volume.decide(
            seen,
            Expected(instance.data_id, instance.datastore, engine.major(instance.version)),
            engine.major(seen.marker.version) if seen.marker else None,
        )
        if verdict.action is not Action.LAY_OUT:
            why = verdict.message or "it holds data"
            raise UserError("VolumeNotEmpty", f"a backup is restored into an empty volume: {why}")
        yield
    finally:
        os.close(descriptor)


def _new_marker(instance: GuestConfig, path: str) -> Marker:
    return Marker(
        data_id=str(uuid.uuid4()),
        datastore=instance.datastore,
        version=instance.version,
        complete=False,
        identity=engines.load(instance.manager).new_identity(secrets.token_bytes),
        restored=path,
    )


def _check_room(paths: Paths, chain: Sequence[OpenBackup]) -> None:
    """The volume can hold it. What an interrupted attempt left will be gone by then."""
    for path in (paths.incoming, paths.increment):
        remove(path)
    use = os.statvfs(paths.volume)
    free_bytes = use.f_bavail * use.f_frsize + _used_bytes(paths.data)
    wanted_bytes = needed_bytes([one.manifest for one in chain]) + _ROOM_BYTES
    if free_bytes < wanted_bytes:
        raise UserError(
            "VolumeTooSmall",
            f"restoring needs {wanted_bytes / 2**20:.0f} MiB on the volume, and "
            f"{free_bytes / 2**20:.0f} MiB are free: give the instance a larger volume",
        )


def _used_bytes(path: Path) -> int:
    found = [one for one in path.rglob("*") if one.is_file()] if path.is_dir() else []
    return sum(one.stat().st_blocks * 512 for one in found)


def _judged(
    error: CofferError | OSError, paths: Paths, chain: Sequence[OpenBackup]
) -> CofferError | OSError:
    """After a failure: no room is the user's to mend, whoever met it. What was made is removed."""
    for path in (paths.incoming, paths.increment):
        with contextlib.suppress(OSError):
            remove(path)
    full = isinstance(error, OSError | ToolFailed) and _NO_SPACE.search(str(error)) is not None
    if full and not isinstance(error, Cancelled):
        size = sum(one.manifest.data.plain_bytes for one in chain) / 2**20
        return UserError(
            "VolumeTooSmall",
            f"the volume became full while {size:.0f} MiB were restored: give the instance a "
            f"larger volume ({error})",
        )
    return error
