"""The agent's loop: from what is there now to what is wanted, one step at a time.

Level-triggered. Each round reads the launcher's latest word, the mounted configuration and the
stored intent, and does what follows; it may be ended between any two lines and started anew. It
holds no decision of its own: those are in volume, intent and engine_state.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from pydantic import ValidationError

from coffer_common.errors import CofferError, Permanent, Transient
from coffer_common.wire import (
    ConfigurationRequest,
    DataState,
    EngineAction,
    EngineState,
    EngineStatus,
    GuestConfig,
)
from coffer_guest import intent, launch_machine, memory, tasks
from coffer_guest.board import Board
from coffer_guest.configuration import decision, folder
from coffer_guest.configuration.keeper import Keeper
from coffer_guest.configuration.record import Start
from coffer_guest.data import Data
from coffer_guest.engine_state import Command, View, judge, steer
from coffer_guest.engines.base import Engine, EngineUnavailable, LaunchSpec, Site, load
from coffer_guest.health import Health
from coffer_guest.launcher_client import LauncherClient, LauncherUnavailable
from coffer_guest.layout import Step
from coffer_guest.settings import Settings
from coffer_guest.slices import Wanted
from coffer_guest.template import Template

_log = logging.getLogger(__name__)

_TICK_S: Final = 2.0  # while all is well
_TICK_UNWELL_S: Final = 0.5
_TICK_STARTING_S: Final = 0.03
_TIDY_S: Final = 3.0
_FOR_TASKS: Final = frozenset({DataState.LAID_OUT, DataState.AWAITING_RESTORE})
_RETRY_S: Final = (1.0, 30.0)  # a volume that was refused or failed is looked at again


class Supervisor:
    """Owns the engine plugin and what the board says of data and engine."""

    def __init__(
        self,
        settings: Settings,
        board: Board,
        step: Step,
        data_found: Callable[[], Awaitable[None]],
        seen: Callable[[], None],
    ) -> None:
        """`data_found` is called when the volume is found ours, `seen` after each round."""
        self.settings = settings
        self.board = board
        self.config: GuestConfig | None = None
        self.engine: Engine | None = None
        self.launcher = LauncherClient(settings.paths.launcher_socket, self.wake)
        self.health = Health()
        self.template = Template()
        self._data_found = data_found
        self._seen = seen
        self._data = Data(settings.paths, step)
        self._keeper = Keeper(settings.paths, self.launcher, step, self.wake)
        self._intent = intent.Intent()
        self._intent_lock = asyncio.Lock()
        self._problem = ""  # why a command could not be carried out
        self._retry_s, self._retry_at = _RETRY_S[0], float("-inf")
        self._config_stat: tuple[int, int] | None = None
        self._noted: tuple[str, int] | None = None  # the launcher knows that this one answered
        self._tidying: asyncio.TimerHandle | None = None
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Something changed: go round now."""
        self._wake.set()

    async def run(self) -> None:
        """Go round until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.launcher.run())
            group.create_task(self._keeper.run())
            while True:
                self._wake.clear()
                try:
                    pause_s = await self._round()
                except Exception:  # noqa: BLE001 - see below
                    # the boundary of the loop: the next round sees the world anew, while an agent
                    # that ended would only be started again to meet the same
                    _log.exception("supervising")
                    pause_s = _RETRY_S[0]
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._wake.wait()

    # --- for the API ----------------------------------------------------------------------------
    async def request(self, action: EngineAction, token: str) -> EngineStatus:
        """Remember what was asked for, durably, and have it done.

        Raises EngineUnavailable while there are no data, LauncherUnavailable, OSError.
        """
        if action is EngineAction.RESET:
            await self._keeper.reset()
            self._publish()  # whoever asks next sees that it was accepted
            self._retry_at = float("-inf")
            self.health.forget_inventory()
            self.wake()
            await self.launcher.reset()
            return self.board.status.engine
        self.running_engine()
        async with self._intent_lock:
            wanted = intent.accept(self._intent, action, token)
            if wanted != self._intent:
                await asyncio.to_thread(intent.write, self.settings.paths.intent, wanted)
                self._intent = wanted
        self.wake()
        return self.board.status.engine

    async def configure(self, request: ConfigurationRequest) -> None:
        """Remember the configuration that was asked for, durably, and have it carried out.

        Raises EngineUnavailable while there are no data, Transient where it cannot be kept.
        """
        self.running_engine()
        try:
            await self._keeper.accept(request)
        except OSError as error:
            raise Transient(f"the volume cannot be written: {error.strerror}", 5.0) from error
        self._publish()

    async def serving(self) -> str | None:
        """None when the engine answers now, else one line that says why not."""
        if self.engine is None or self._data.state is not DataState.LAID_OUT:
            return f"data: {self._data.state.value} {self._data.message}".rstrip()
        if await self.health.probe(self.engine):
            return None
        if self.board.status.engine.state is EngineState.RUNNING:
            self.wake()
        view = self.launcher.view
        state, message = judge(view, self.launcher.last, self.health.probes_of(view))
        return f"engine: {state.value} {message}".rstrip()

    def running_engine(self) -> Engine:
        """The plugin, for what needs a running engine. Raises EngineUnavailable without data."""
        if self.engine is None or self._data.state is not DataState.LAID_OUT:
            raise EngineUnavailable(f"there are no data: {self._data.state.value}", 1.0)
        return self.engine

    def task_site(self) -> tuple[Mapping[str, str], Site, GuestConfig]:
        """Kinds of tasks that make sense now, by name, and where. Raises EngineUnavailable."""
        engine, config = self.engine, self.config
        state = self._data.state
        if engine is None or config is None or state not in _FOR_TASKS:
            raise EngineUnavailable(f"there are no data: {state.value}", 1.0)
        kinds = dict(tasks.ALWAYS)
        if state is DataState.LAID_OUT:
            kinds |= tasks.WITH_ENGINE
            kinds |= engine.tasks
        if config.restore is not None:
            kinds |= tasks.WITH_EMPTY_VOLUME
        return kinds, engine.site, config

    def task_ended(self) -> None:
        """No task runs now: one may have laid out the data, or changed what they hold."""
        if self._data.state is DataState.AWAITING_RESTORE:
            self._retry_at = float("-inf")
        self.health.forget_inventory()
        self.wake()

    def wanted_slice(self) -> Wanted | None:
        """What the -rw slice is to say of this pod; None: whatever it says.

        In it as soon as there are data, so that the way is there when the engine is; out of it
        when the database container ends, while the engine still closes its connections.
        """
        view, config = self.launcher.view, self.config
        if view is None or config is None or config.read_write_slice is None:
            return None
        if view.terminating:
            return Wanted(config.namespace, config.read_write_slice, None)
        if self._data.state is not DataState.LAID_OUT:
            return None
        return Wanted(config.namespace, config.read_write_slice, self._keeper.port(config))

    def engine_may_serve(self) -> bool:
        """A process of the engine runs, as far as the launcher can be asked."""
        view = self.launcher.view
        return view is not None and view.pid is not None and not view.terminating

    # --- one round ------------------------------------------------------------------------------
    async def _round(self) -> float:
        await self._read_config()
        view = self.launcher.view
        if self.config is not None and view is not None:
            await self._prepare(view, self.config)
            await self._steer(self.launcher.view)
        self.health.follow(self.launcher.view)
        if self.engine is not None and self.health.due():
            await self.health.probe(self.engine)
            await self._note_answer()
            if self.config is not None:
                self.health.keep_house(self.engine, self.config.volume_size_bytes)
        if self.engine is not None and self.health.inventory_due():
            await self.health.take_inventory(self.engine)
            self._tidy_later()
        view = self.launcher.view  # perhaps of another process than the one that was probed
        self._keeper.observe(
            view or self.launcher.last,
            answers=self.health.probes_of(view).answered,
            at_rest=not self._intent.running,
        )
        pause_s = self._publish()
        self._seen()
        return pause_s

    def _tidy_later(self) -> None:
        """Give back memory, when those who wait for this round's news have done their part."""
        if self._tidying is not None:
            self._tidying.cancel()
        self._tidying = asyncio.get_running_loop().call_later(_TIDY_S, memory.give_back)

    async def _read_config(self) -> None:
        """Take over the mounted file when it is another than before; kubelet swaps a link."""
        path = self.settings.paths.instance_file
        try:
            found = path.stat()
            stat = (found.st_mtime_ns, found.st_ino)
            if stat == self._config_stat:
                return
            config = GuestConfig.model_validate_json(path.read_bytes())
            engine, manager = self.engine, load(config.manager)
            if not isinstance(engine, manager):
                self.engine = manager(self._site())
                if engine is not None:
                    await engine.close()
        except (OSError, ValidationError, Permanent) as error:
            self._data.message = f"reading {path.name}: {error}".partition("\n")[0]
            _log.warning("%s", self._data.message)
            return
        self._config_stat = stat
        if config != self.config:
            _log.info("read the configuration of %s/%s", config.namespace, config.instance)
            self.config = config
            self._retry_at = float("-inf")
            if self.launcher.view is None or self.launcher.view.pid is None:
                self.template.begin(config)  # beside what comes before it is needed
            if self._data.state is DataState.LAID_OUT:
                await asyncio.to_thread(self._data.look_again, config, manager)
                await self._adopt(config)

    def _site(self) -> Site:
        paths = self.settings.paths
        return Site(
            data=paths.data,
            tmp=paths.tmp,
            run=paths.run,
            address=self.settings.engine_address,
        )

    async def _prepare(self, view: View, config: GuestConfig) -> None:
        """Find or lay out the data, unless that is done or was refused a moment ago."""
        now = time.monotonic()
        if self._data.state is DataState.LAID_OUT or now < self._retry_at or self.engine is None:
            return
        if not view.locked or view.terminating:
            return
        engine = type(self.engine)
        if view.pid is not None or view.state == launch_machine.BACK_OFF:
            await asyncio.to_thread(self._data.look_again, config, engine)
        else:
            if self._data.state is DataState.UNKNOWN:
                self._data.state = DataState.PREPARING
                self._publish()
            try:
                start = Start(
                    template=await self.template.text(config),
                    request=config.configuration,
                    port=config.port,
                )
                values = decision.wanted(engine, start).values
                await asyncio.to_thread(
                    self._data.prepare, config, engine, values, self.launcher.lock
                )
            except (LauncherUnavailable, CofferError, OSError) as error:
                self._data.message = str(error)
        if self._data.state is DataState.LAID_OUT:
            paths = self.settings.paths
            self._intent = await asyncio.to_thread(intent.read, paths.intent)
            await self._adopt(config)
            self._retry_s = _RETRY_S[0]
            await self._data_found()
            self._seen()
        else:
            if self._data.state is DataState.AWAITING_RESTORE:
                await self._data_found()
            self._retry_at = now + self._retry_s
            self._retry_s = min(self._retry_s * 2, _RETRY_S[1])

    async def _adopt(self, config: GuestConfig) -> None:
        if self._data.marker is not None and self.engine is not None:
            await self._keeper.adopt(config, self.engine, self._data.marker.identity)

    async def _steer(self, view: View | None) -> None:
        if view is None or self._data.state is not DataState.LAID_OUT:
            return
        async with self._intent_lock:
            command = steer(self._intent, view, roll_back=self._keeper.roll_back(view))
            try:
                if command is not None:
                    await self._carry_out(command, view)
                self._problem = ""
            except (OSError, CofferError) as error:
                if self._problem != str(error):
                    _log.warning("%s", error)
                self._problem = str(error)

    async def _carry_out(self, command: Command, view: View) -> None:
        engine = self.running_engine()
        if command is Command.NOTE_RESTART:
            done = intent.restart_done(self._intent)
            await asyncio.to_thread(intent.write, self.settings.paths.intent, done)
            self._intent = done
        elif command is Command.STOP:
            await self.launcher.stop()
        else:
            if self.config is None:
                raise Permanent("there is no configuration to start with")
            template = await self.template.text(self.config)
            async with self._keeper.files:
                spec = await asyncio.to_thread(self._make_ready, engine, view, template)
                if command is Command.RESTART and self._intent.restart is not None:
                    await self.launcher.restart(spec, self._intent.restart)
                else:
                    await self.launcher.start(spec)

    def _make_ready(self, engine: Engine, view: View, template: str) -> LaunchSpec:
        """In a thread: write the configuration and whatever else a start needs."""
        if view.pid is None and view.state != launch_machine.BACK_OFF:
            folder.empty_tmp(self.settings.paths)
        engine.before_start()
        return self._keeper.make_start(view, template)

    async def _note_answer(self) -> None:
        """Tell the launcher that the process has answered: a later agent wants to know."""
        view = self.launcher.view
        if view is None or not self.health.probes_of(view).answered or view.answered:
            return
        process = (view.boot_id, view.generation)
        if process != self._noted:
            with contextlib.suppress(LauncherUnavailable):
                await self.launcher.answered(view.generation)
                self._noted = process

    # --- what others see ------------------------------------------------------------------------
    def _publish(self) -> float:
        """Write the board; the pause until the next round, in seconds."""
        view = self.launcher.view
        probes = self.health.probes_of(view)
        state, message = judge(view, self.launcher.last, probes)
        known = view or self.launcher.last
        self.board.publish(
            instance_uid=self.config.uid if self.config else "",
            data=self._data.status(),
            engine=EngineStatus(
                state=state,
                version=self.health.version,
                pid=view.pid if view else None,
                started_at=view.started_at if view else None,
                restarts=known.restarts if known else 0,
                last_exit=known.last_exit if known else None,
                message=self._problem or message,
                restarted_for=self._intent.restarted_for,
            ),
            configuration=self._keeper.status(),
            databases=self.health.databases,
            users=self.health.users,
        )
        if state is EngineState.RUNNING and not probes.failures:
            return _TICK_S
        if self.health.waits_for_first_answer():
            # often at first, when it is a matter of milliseconds; seldom during a long recovery
            return min(max(_TICK_STARTING_S, self.health.age_s() / 20), _TICK_UNWELL_S)
        return _TICK_UNWELL_S
