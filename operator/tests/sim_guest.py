"""What runs in a database's pod: launcher, engine and agent, in memory.

The launcher holds the disk's lock and the engine; the agent prepares the data, says when the
engine may start, answers the operator and writes the -rw slice. Either may die alone. All waits
are timers of the running loop, so a pod that was killed simply stops acting.
"""

import asyncio
import hashlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from coffer_common.wire import (
    ConfigurationRequest,
    DataState,
    DataStatus,
    EngineState,
    EngineStatus,
    GuestConfig,
    GuestStatus,
)
from sim_configuration import Configuration, OnDisk
from sim_disks import Disk
from sim_loop import stamp
from sim_slices import PodIdentity, SliceAddress, write_slice
from sim_surroundings import Surroundings
from sim_tasks import SimTasks

_UP: Final = (EngineState.STARTING, EngineState.RUNNING, EngineState.UNRESPONSIVE)
_SLICE_RETRY_S: Final = 2.0


class Guest:
    """Launcher, engine and agent of one pod."""

    def __init__(
        self, around: Surroundings, pod: PodIdentity, disk: Disk, config: GuestConfig
    ) -> None:
        self._around = around
        self._rng = around.rng
        self.pod = pod
        self.disk = disk
        self.config = config
        self.dead = False  # the whole pod
        self.agent_up = False
        self.frozen = False
        self.launcher_up = False
        self.on_change: Callable[[], None] = lambda: None  # kubelet's
        self.engine = EngineState.UNKNOWN
        self.configuration: Configuration | None = None  # once the data are laid out
        self.crashes_left = 0  # how often the engine will die soon after its next starts
        self._restarts = 0
        self._last_exit: str | None = None
        self._started_at: str | None = None
        self._pid = 0
        self._process = 0  # counts engine processes: timers of an older one are void
        self._data = DataState.UNKNOWN
        self._message = ""
        self._boot_id = ""
        self._news = asyncio.Event()
        self._writing_slice = False
        self._stopping = False
        self._status: GuestStatus | None = None  # until something changes
        self.tasks = SimTasks(around.bucket, around.rng, disk, config.manager, self._changed)
        self.tasks.on_restored = self._restored

    # --- lives -----------------------------------------------------------------------------------

    def start_agent(self) -> None:
        self.agent_up, self.frozen = True, False
        self._boot_id = f"{self._rng.getrandbits(64):016x}"
        self._data, self._message = DataState.UNKNOWN, ""
        self.tasks.start()
        self._later(0.2, self._step)
        self._changed()

    def kill_agent(self) -> None:
        self.agent_up = False
        self.tasks.stop()
        self._changed()

    def freeze_agent(self, frozen: bool) -> None:
        self.frozen = frozen
        self._changed()
        self._later(0.0, self._step)

    def start_launcher(self) -> None:
        self.launcher_up = True
        self.engine = EngineState.WAITING
        self._take_lock()
        self._later(0.1, self._step)
        self._changed()

    def kill(self) -> None:
        """Everything in the pod ends at once."""
        self.dead = True
        self.agent_up = self.launcher_up = False
        self.tasks.stop()
        self._process += 1
        self._process_ended()
        self.engine = EngineState.UNKNOWN
        self.disk.engines.discard(self.pod.uid)
        if self.disk.locked_by == self.pod.uid:
            self.disk.locked_by = None
        self._changed()

    def terminate(self, done: Callable[[], None]) -> None:
        """SIGTERM: the engine is flushed and stopped, the slice emptied; then `done`."""
        if self.agent_up and not self.frozen:
            self._write_slice([])
        self._stopping = True
        self._process += 1
        self._later(self._rng.uniform(0.2, 3.0), self._terminated, done)

    def _terminated(self, done: Callable[[], None]) -> None:
        self.kill()
        done()

    def _take_lock(self) -> None:
        if self.dead or not self.launcher_up:
            return
        if self.disk.locked_by is None:
            self.disk.locked_by = self.pod.uid
        elif self.disk.locked_by != self.pod.uid:
            self._later(1.0, self._take_lock)
            return
        self._later(0.05, self._step)

    def _later(self, delay_s: float, act: Callable[..., None], *args: Any) -> None:
        asyncio.get_running_loop().call_later(delay_s, act, *args)

    def _changed(self) -> None:
        self._status = None
        self._news.set()
        self._news = asyncio.Event()
        self.on_change()

    poke = _changed  # for others: something that the status shows is another

    # --- the agent -------------------------------------------------------------------------------

    def answers(self) -> bool:
        """Whether the agent would answer a request."""
        return self.agent_up and not self.frozen and not self.dead

    def ready(self) -> bool:
        """What the readiness probe of the database's container finds."""
        return self.answers() and self.engine is EngineState.RUNNING

    def configure(self, config: GuestConfig) -> None:
        """The mounted ConfigMap is a new one."""
        if config != self.config:
            self.config = config
            self._changed()
            self._later(0.0, self._step)

    def _step(self) -> None:
        if not self.answers() or not self.launcher_up:
            return
        if self.disk.locked_by != self.pod.uid:
            return
        if self._data is DataState.UNKNOWN:
            self._data = DataState.PREPARING
            duration_s = self._rng.uniform(0.1, 2.0) if self.disk.data_id is None else 0.1
            self._later(duration_s, self._prepared, self._boot_id)
            self._changed()
        elif self._data is DataState.LAID_OUT and self.engine is EngineState.WAITING:
            self._start_engine()
        if self.engine is EngineState.RUNNING and not self._writing_slice:
            self._writing_slice = True
            self._later(0.05, self._keep_slice)

    def _prepared(self, boot_id: str) -> None:
        """The end of laying out, unless the agent died meanwhile."""
        if boot_id != self._boot_id or not self.agent_up or self.dead:
            return
        disk, config = self.disk, self.config
        if disk.gone:
            self._data, self._message = DataState.FAILED, "input/output error"
        elif disk.data_id is None and config.data_id is not None:
            self._data, self._message = DataState.LOST, "the volume is empty"
        elif disk.data_id is None and config.restore is not None:
            self._data = DataState.AWAITING_RESTORE
        elif disk.data_id is None:
            self._lay_out(f"{self._rng.getrandbits(128):032x}")
        elif disk.datastore != config.datastore or config.data_id not in (None, disk.data_id):
            self._data, self._message = DataState.FOREIGN, "the volume holds other data"
        else:
            self._data = DataState.LAID_OUT
        if self._data is DataState.LAID_OUT and self.configuration is None:
            me, picky = (self.pod.namespace, config.instance), self._around.picky
            self.configuration = Configuration(self._on_disk(), lambda: me in picky, config.port)
        self._changed()
        self._later(0.05, self._step)
        self._later(0.3, self._apply)

    def _lay_out(self, data_id: str, path: str | None = None) -> None:
        disk, config = self.disk, self.config
        disk.data_id, disk.restored_from = data_id, path
        disk.datastore, disk.version = config.datastore, config.version
        now_s = asyncio.get_running_loop().time()
        self._around.layouts.append((config.uid, disk.claim_uid, now_s))
        how = f"restored {path}" if path is not None else "laid out"
        self._around.log(f"agent {self.pod.name}: {how} {data_id[:6]}")
        self._data = DataState.LAID_OUT

    def _restored(self, data_id: str, path: str) -> None:
        """The task `restore` has done its last step."""
        if self._data is DataState.AWAITING_RESTORE:
            self._lay_out(data_id, path)
            self._later(0.0, self._prepared, self._boot_id)

    def _on_disk(self) -> OnDisk:
        """The request on the volume; what the pod was made with counts only where there is none."""
        kept = self.disk.configuration
        if kept is None or kept.uid != self.config.uid:
            kept = self.disk.configuration = OnDisk(self.config.uid, self.config.configuration)
        return kept

    # --- configuration ---------------------------------------------------------------------------

    def put_configuration(self, request: ConfigurationRequest) -> bool:
        """Keep a request and carry it out later; False where there is no volume to keep it on."""
        if self.configuration is None or self._data is not DataState.LAID_OUT:
            return False
        if self.configuration.take(request):
            self._changed()
        self._later(self._rng.choice((0.05, 0.3, 3.0)) * self._rng.random(), self._apply)
        return True

    def _apply(self) -> None:
        if self.configuration is not None and self.answers() and self.configuration.apply():
            self._changed()

    def meddle(self, value: int) -> None:
        """Somebody sets a value inside the engine."""
        if self.configuration is not None and self.answers():
            self.configuration.meddle(value)
            self._changed()

    def _process_ended(self) -> None:
        if self.configuration is not None:
            self.configuration.running = False

    # --- the engine ------------------------------------------------------------------------------

    def _start_engine(self) -> None:
        self._process += 1
        self._pid += 1
        self.engine = EngineState.STARTING
        self._started_at = stamp()
        self.disk.engines.add(self.pod.uid)
        if len(self.disk.engines) > 1 or self.disk.locked_by != self.pod.uid:
            holder, engines = self.disk.locked_by, sorted(self.disk.engines)
            self._around.violations.append(
                f"{self.pod.uid} runs an engine on {self.disk.name}: {holder=}, {engines=}"
            )
        starts = self.configuration is None or self.configuration.begin()
        if self.crashes_left or not starts:
            self.crashes_left = max(self.crashes_left - 1, 0)
            self._later(0.3, self._engine_dies, self._process, "exit 1")
        else:
            self._later(self._rng.uniform(0.3, 3.0), self._engine_up, self._process)
        self._changed()

    def _engine_up(self, process: int) -> None:
        if process != self._process or self.dead:
            return
        self.engine = EngineState.RUNNING
        if self.configuration is not None:
            self.configuration.answers()
            self._later(0.1, self._apply)
        if self.disk.pending_token is not None:
            token = self.disk.restarted_for = self.disk.pending_token
            self.disk.pending_token = None
            if token not in self.disk.tokens:
                self.disk.tokens.append(token)  # this start was the restart
        self._changed()
        self._later(0.0, self._step)

    def crash_engine(self) -> None:
        """SIGKILL."""
        if self.engine in _UP:
            self._engine_dies(self._process, "signal 9")

    def _engine_dies(self, process: int, how: str) -> None:
        if process != self._process or self.dead:
            return
        self._process += 1
        if self.configuration is not None and how.startswith("exit"):
            self.configuration.died_at_start()
        self._process_ended()
        self._restarts += 1
        self._last_exit = how
        self.disk.engines.discard(self.pod.uid)
        self.engine = EngineState.CRASHED
        self._changed()
        self._later(min(0.05 * 2**self._restarts, 10.0), self._start_again, self._process)

    def _start_again(self, process: int) -> None:
        """The launcher needs no agent for this."""
        if process == self._process and not self.dead and self.launcher_up:
            self._start_engine()

    def restart(self, token: str) -> None:
        """Stop and start the engine, once per token."""
        if token in (self.disk.restarted_for, self.disk.pending_token):
            return
        self.disk.pending_token = token
        if self.engine in _UP:
            self.disk.tokens.append(token)
            self._process += 1
            self._later(self._rng.uniform(0.1, 2.0), self._stopped, self._process)

    def _stopped(self, process: int) -> None:
        if process == self._process and not self.dead:
            self.disk.engines.discard(self.pod.uid)
            self._start_engine()

    def busy_with_another(self, token: str) -> bool:
        """Whether a restart for another token is under way, or the pod is ending."""
        return self._stopping or self.disk.pending_token not in (None, token)

    def reset(self) -> None:
        self._restarts, self._last_exit, self.crashes_left = 0, None, 0
        if self.configuration is not None:
            self.configuration.reset()
            self._later(0.1, self._apply)
        self._changed()

    # --- status ----------------------------------------------------------------------------------

    async def changed(self, seen: str | None, wait_s: float) -> None:
        """Return when the etag is not `seen` any more, or after `wait_s`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                while not self.dead and self.agent_up and self.status().etag == seen:
                    await self._news.wait()

    def status(self) -> GuestStatus:
        if self._status is None:
            self._status = self._new_status()
        return self._status

    def _new_status(self) -> GuestStatus:
        serving = self.engine is EngineState.RUNNING
        draft = GuestStatus(
            etag="",
            agent_version="0.1.0",
            boot_id=self._boot_id,
            instance_uid=self.config.uid,
            pod_uid=self.pod.uid,
            data=DataStatus(
                state=self._data,
                data_id=self.disk.data_id,
                message=self._message,
                size_bytes=self.config.volume_size_bytes,
                used_bytes=self.config.volume_size_bytes // 100,
            ),
            engine=EngineStatus(
                state=self.engine,
                version=self.config.version if serving else None,
                pid=self._pid or None,
                started_at=self._started_at,
                restarts=self._restarts,
                last_exit=self._last_exit,
                restarted_for=self.disk.restarted_for,
            ),
            configuration=self.configuration.status() if self.configuration else None,
            tasks=self.tasks.statuses(),
            databases=tuple(sorted(self.disk.databases)) if serving else None,
            users=tuple(sorted(self.disk.users)) if serving else None,
            backup_strategies=self.tasks.offers if serving else None,
        )
        etag = hashlib.sha256(draft.model_dump_json().encode()).hexdigest()[:16]
        return draft.model_copy(update={"etag": etag})

    # --- the -rw slice ---------------------------------------------------------------------------

    def _keep_slice(self) -> None:
        """Write our address until it stands there."""
        if not self.answers() or self.engine is not EngineState.RUNNING:
            self._writing_slice = False
            return
        if self._write_slice([self.pod.ip]):
            self._writing_slice = False
        else:
            self._later(_SLICE_RETRY_S, self._keep_slice)

    def _write_slice(self, addresses: list[str]) -> bool:
        """One checked patch; False where it has to be tried again."""
        if self.config.read_write_slice is None:
            return True
        if not self._around.api_reachable(self.pod.node):
            return False
        port = self.configuration.port if self.configuration is not None else None
        address = SliceAddress(self.config.read_write_slice, port or self.config.port)
        return write_slice(self._around.server, self.pod, address, addresses)
