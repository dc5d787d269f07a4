"""The volume's side of the agent: looks, lays out where that is allowed, and remembers.

Blocking; the supervisor calls it in a thread. Never starts or stops the engine.
"""

import logging
import os
import secrets
import uuid
from collections.abc import Callable, Mapping

from coffer_common.errors import CofferError
from coffer_common.wire import DataState, DataStatus, GuestConfig, Value
from coffer_guest import volume
from coffer_guest.board import coarse
from coffer_guest.engines.base import Engine
from coffer_guest.layout import Seed, Step, lay_out
from coffer_guest.paths import Paths
from coffer_guest.volume import Action, Expected, Marker

_log = logging.getLogger(__name__)


class Data:
    """What the volume holds, as far as it has been looked at."""

    def __init__(self, paths: Paths, step: Step) -> None:
        self._paths = paths
        self._step = step
        self.marker: Marker | None = None  # of data that are ours and complete
        self.state = DataState.UNKNOWN
        self.message = ""
        self._shown: tuple[int, int] | None = None  # the volume's size, and its use as said last

    def prepare(
        self,
        config: GuestConfig,
        engine: type[Engine],
        values: Mapping[str, Value],
        lock: Callable[[], int],
    ) -> None:
        """Look, under the lock, and lay out new data where there are none and none are expected.

        Where they are to come from a backup, that is left to a task: this only says so.
        `values` are the parameters that the engine will first be started with. Afterwards `state`
        and `message` say what is there; errors become FAILED. Errors of `lock` are raised: they
        say nothing about the data.
        """
        descriptor = lock()
        try:
            seen = self._look(config, engine)
            if seen is Action.LAY_OUT and config.restore is not None:
                self.marker = None
                self.state = DataState.AWAITING_RESTORE
                self.message = f"to be restored from {config.restore.path}"
            elif seen is Action.LAY_OUT:
                self._lay_out(config, engine, values)
                self._look(config, engine)
        except (OSError, ValueError, CofferError) as error:
            _log.exception("preparing the volume")
            self.marker = None
            self.state, self.message = DataState.FAILED, f"laying out the data: {error}"
        finally:
            os.close(descriptor)

    def look_again(self, config: GuestConfig, engine: type[Engine]) -> None:
        """Look without the lock, which the engine that runs on the data holds."""
        try:
            if self._look(config, engine) is Action.LAY_OUT:
                self.marker = None
                self.state = DataState.LOST
                self.message = "the engine runs, but the volume is empty"
        except OSError as error:
            self.state, self.message = DataState.UNKNOWN, f"reading the volume: {error}"

    def status(self) -> DataStatus:
        """The data, and how full the volume is."""
        size_bytes, used_bytes = self._use() or (None, None)
        return DataStatus(
            state=self.state,
            data_id=self.marker.data_id if self.marker else None,
            message=self.message,
            size_bytes=size_bytes,
            used_bytes=used_bytes,
        )

    def _look(self, config: GuestConfig, engine: type[Engine]) -> Action:
        seen = volume.look(self._paths)
        verdict = volume.decide(
            seen,
            Expected(config.data_id, config.datastore, engine.major(config.version)),
            engine.major(seen.marker.version) if seen.marker else None,
        )
        if verdict.action is not Action.LAY_OUT:
            self.state, self.message = verdict.state, verdict.message
            self.marker = seen.marker if verdict.action is Action.USE else None
        return verdict.action

    def _lay_out(
        self, config: GuestConfig, engine: type[Engine], values: Mapping[str, Value]
    ) -> None:
        marker = Marker(
            data_id=str(uuid.uuid4()),
            datastore=config.datastore,
            version=config.version,
            complete=False,
            identity=engine.new_identity(secrets.token_bytes),
        )
        seed = Seed(self._paths.seed_for(config.manager), lambda copy: engine.fit(copy, values))
        lay_out(self._paths, seed, marker, self._step)
        _log.info("laid out data %s", marker.data_id)

    def _use(self) -> tuple[int, int] | None:
        """The volume's size and, in steps of one percent, its use."""
        try:
            use = os.statvfs(self._paths.volume)
        except OSError:
            return None
        size_bytes = use.f_blocks * use.f_frsize
        used_bytes = (use.f_blocks - use.f_bfree) * use.f_frsize
        former = self._shown[1] if self._shown and self._shown[0] == size_bytes else None
        self._shown = size_bytes, coarse(used_bytes, size_bytes, former)
        return self._shown
