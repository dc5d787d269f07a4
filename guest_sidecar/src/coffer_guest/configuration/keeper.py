"""Carries out what was asked for: files for each start, values for the engine that runs.

Level-triggered. Each turn compares the record on the volume with the engine process that the
launcher shows, and does what follows; it may be ended between any two lines. Requests are stored
beside that at any time: the turn that follows one sees the newest alone. Owns the records; decides
nothing: that is record's, decision's and engine_state's. Never starts or stops an engine; it says
what to start it with, and whether to roll back.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Mapping
from typing import Final

from coffer_common.errors import CofferError, Permanent
from coffer_common.wire import ConfigurationRequest, ConfigurationStatus, Drift, GuestConfig, Value
from coffer_guest import launch_machine
from coffer_guest.configuration import decision, fit, folder, record, shown
from coffer_guest.configuration.defaults import defaults
from coffer_guest.configuration.live import Live
from coffer_guest.configuration.patience import Patience
from coffer_guest.configuration.record import Process, Record, Request, Start
from coffer_guest.engine_state import View, death, failed_start, same_process
from coffer_guest.engines.base import Engine, LaunchSpec, Refused
from coffer_guest.files import tail
from coffer_guest.launcher_client import LauncherClient, LauncherUnavailable
from coffer_guest.layout import Step
from coffer_guest.paths import Paths

_log = logging.getLogger(__name__)

#: Names of the steps; see layout.Step.
STEPS: Final = (
    "configuration-store",
    "configuration-stored",
    "configuration-mark",
    "configuration-set",
    "configuration-took",
    "configuration-live",
    "configuration-files",
    "configuration-prepare",
    "configuration-blame",
    "configuration-answered",
)

_LOOK_S: Final = 20.0  # between two looks for drift
_AGAIN_S: Final = 0.02  # where there is more to do
_RETRY_S: Final = (0.2, 15.0)
_LOG_BYTES: Final = 64 * 1024  # of the engine's log, for why it did not start


class Keeper:
    """The configuration of one instance; `changed` is called when its status may be another."""

    def __init__(
        self, paths: Paths, launcher: LauncherClient, step: Step, changed: Callable[[], None]
    ) -> None:
        self.files = asyncio.Lock()  # from make_start until the launcher knows; see folder.prune
        self._paths = paths
        self._launcher = launcher
        self._step = step
        self._changed = changed
        self._engine: Engine | None = None
        self._identity: Mapping[str, str] = {}
        self._config: GuestConfig | None = None
        self._record: Record | None = None
        self._process: Process | None = None  # the one on the volume; of the present one or not
        self._starts: dict[str, Start] = {}  # by the directory's name
        self._live: Live | None = None
        self._brought: tuple[Request] | None = None  # to this target, the process
        self._looked_at = 0.0
        self._seen: tuple[View | None, bool, bool] = (None, False, False)
        self._before: tuple[str, str | None, int] | None = None  # starts that failed without us
        self._patience = Patience()
        self._shown = ""
        self._writing = asyncio.Lock()
        self._wake = asyncio.Event()

    # --- what others say ------------------------------------------------------------------------
    async def adopt(self, config: GuestConfig, engine: Engine, identity: Mapping[str, str]) -> None:
        """The volume holds our data: read what was asked for. Raises OSError."""
        self._config, self._engine, self._identity = config, engine, identity
        async with self._writing:
            if self._record is None:
                self._process = await asyncio.to_thread(
                    record.read, self._paths.engine_process, Process
                )
            stored = self._record or await asyncio.to_thread(
                record.read, self._paths.configuration, Record
            )
            await self._write(record.adopt(stored, config.uid, config.configuration), stored)
        view = self._launcher.view
        if view is not None:
            await self._start_of(view)
        self._wake.set()

    async def accept(self, request: ConfigurationRequest) -> None:
        """Remember a request, durably. Raises OSError, Permanent."""
        async with self._writing:
            present = self._known()
            self._step("configuration-store")
            await self._write(record.accept(present, request), present)
            self._step("configuration-stored")
        self._wake.set()

    async def reset(self) -> None:
        """Forget that something was rejected. Raises OSError."""
        async with self._writing:
            if self._record is not None:
                await self._write(record.reset(self._record), self._record)
        self._wake.set()

    def observe(self, view: View | None, *, answers: bool, at_rest: bool) -> None:
        """The launcher's latest word; whether the process has answered; whether none is to run."""
        if view is not None and (self._before is None or self._before[0] != view.boot_id):
            known = self._before is not None
            failed = 0 if known else view.failed_starts
            self._before = (view.boot_id, view.configuration, failed)
        seen = (view, answers, at_rest)
        if seen != self._seen:
            self._seen = seen
            self._wake.set()

    # --- what others ask ------------------------------------------------------------------------
    def make_start(self, view: View, template: str) -> LaunchSpec:
        """Write the files for the next start; how to start with them. Blocking.

        Raises OSError, Permanent.
        """
        if self._engine is None or self._config is None:
            raise Permanent("there is no configuration to start with")
        start = Start(
            template=template, request=record.target(self._known()), port=self._config.port
        )
        self._step("configuration-files")
        path = folder.write(self._paths, self._engine, start, self._identity)
        self._forget_but({path.name, view.configuration, view.next_configuration})
        self._starts[path.name] = start
        return self._engine.launch(path)

    def roll_back(self, view: View) -> bool:
        """The engine does not start with what it was given, and is to have something else now."""
        start = self._starts.get(view.configuration or "")
        if self._record is None or start is None or view.answered or self._seen[1]:
            return False
        return start.request != record.target(self._record) and failed_start(view, 0)

    def port(self, config: GuestConfig) -> int:
        """That the engine listens on, or will after its next start."""
        view = self._seen[0]
        start = self._starts.get(view.configuration or "") if view is not None else None
        if start is None:
            request = record.target(self._record) if self._record else config.configuration
            start = Start(template="", request=request, port=config.port)
        return decision.layers(start).port

    def status(self) -> ConfigurationStatus | None:
        """None while nothing is known."""
        view, answers, _ = self._seen
        if self._record is None:
            return None
        start = self._starts.get(view.configuration or "") if view is not None else None
        hindered = self._patience.hindered(record.behind(self._record))
        process = self._process_of(view)
        if process is None and not answers:
            process = self._process  # what waited for a start waits until an engine answers
        return shown.status(self._record, process, start, hindered, answers=answers)

    # --- turns ----------------------------------------------------------------------------------
    async def run(self) -> None:
        """Take turns until cancelled."""
        retry_s = _RETRY_S[0]
        while True:
            self._wake.clear()
            try:
                pause_s = await self._turn()
                retry_s = _RETRY_S[0]
                self._patience.met("")
            except (OSError, CofferError) as error:
                _log.warning("configuration: %s; again in %.1f s", error, retry_s)
                self._patience.met(" ".join(str(error).split()))
                pause_s, retry_s = retry_s, min(retry_s * 2, _RETRY_S[1])
            except Exception:  # noqa: BLE001 - the boundary of the loop, as in supervisor
                _log.exception("configuration")
                pause_s, retry_s = _RETRY_S[1], _RETRY_S[1]
            self._changed()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._wake.wait()

    async def _turn(self) -> float | None:
        """The pause until the next turn, in seconds; None: until something changes."""
        view, answers, at_rest = self._seen
        if self._record is None or self._engine is None or view is None:
            return None
        start = await self._start_of(view)
        if start is not None:
            await self._blame(view, start)
        pause_s = None
        if view.state == launch_machine.RUNNING and start is not None:
            if answers:
                pause_s = await self._keep(self._engine, view, start)
            elif start.request != record.target(self._known()):
                await self._prepare(self._engine, view, start)
        elif at_rest and view.state in (launch_machine.WAITING, launch_machine.STOPPED):
            await self._change(record.at_rest)
        await self._tell(type(self._engine), view, start)
        return pause_s

    async def _blame(self, view: View, start: Start) -> None:
        """Whether the engine does not start with what it was given."""
        if self._before is None:
            return
        boot, name, failed = self._before
        if view.failed_starts < failed or (boot, name) != (view.boot_id, view.configuration):
            self._before = (view.boot_id, view.configuration, failed := 0)
        if not failed_start(view, failed) or self._engine is None:
            return
        verdict = record.blamed(self._known(), start.request, "")
        if verdict == self._record:
            return
        log = await asyncio.to_thread(tail, self._paths.engine_log, _LOG_BYTES)
        words = death(view.last_exit, " ".join(self._engine.last_words(log).split()))
        _log.warning("the engine does not start with %s: %s", view.configuration, words)
        self._step("configuration-blame")
        await self._change(lambda present: record.blamed(present, start.request, words))
        with contextlib.suppress(LauncherUnavailable):
            await self._launcher.reset()  # it died for a reason that is mended now

    async def _keep(self, engine: Engine, view: View, start: Start) -> float:
        """Bring the engine that runs to the target, or see whether it is still there."""
        if self._process_of(view) is None:
            await self._begin(view, start)
        goal = record.target(self._known())
        if self._brought is None and goal == self._known().live:
            await self._look(engine, view, start, goal)  # what happened while no agent was here
        if self._brought != (goal,):
            await self._bring(engine, view, start, goal)
        elif time.monotonic() - self._looked_at >= _LOOK_S:
            await self._look(engine, view, start, goal)
        if self._brought != (record.target(self._known()),):
            return _AGAIN_S
        await self._prepare(engine, view, start)
        return max(_AGAIN_S, _LOOK_S - (time.monotonic() - self._looked_at))

    async def _begin(self, view: View, start: Start) -> None:
        """A process that answers for the first time: what it was started with is in force."""
        self._live, self._brought = None, None
        self._step("configuration-answered")
        await self._change(lambda present: record.answered(present, start.request))
        await self._store(record.follow(self._process, view.boot_id, view.generation))

    async def _bring(self, engine: Engine, view: View, start: Start, goal: Request) -> None:
        process = self._process_of(view)
        if process is None:
            return
        target = decision.wanted(type(engine), start.model_copy(update={"request": goal}))
        try:
            settled = await self._live_of(engine, view, start).bring(process, target)
        except Refused as error:
            await self._take_back(engine, view, start, goal, error.message)
            return
        if settled is None:
            return
        self._brought, self._looked_at = (goal,), time.monotonic()
        if goal != self._known().live:
            self._step("configuration-live")
            await self._change(lambda present: record.applied(present, goal))

    async def _take_back(
        self, engine: Engine, view: View, start: Start, goal: Request, message: str
    ) -> None:
        """All of a refused request: the engine gets the former values, then the verdict is told."""
        process = self._process_of(view)
        _log.warning("the engine refuses: %s", message)
        if process is not None:
            former = start.model_copy(update={"request": self._known().live})
            target = decision.wanted(type(engine), former)
            try:
                settled = await self._live_of(engine, view, start).bring(process, target)
            except Refused as error:
                message = f"{message}; and what was before: {error.message}"
            else:
                if settled is None:
                    return
        await self._change(lambda now: record.refused(now, goal, message))
        if record.target(self._known()) == goal:  # nothing came of it: do not try at every turn
            self._brought, self._looked_at = (goal,), time.monotonic()

    async def _look(self, engine: Engine, view: View, start: Start, goal: Request) -> None:
        """See whether somebody else set what we have set, and put it right."""
        process = self._process_of(view)
        if process is None:
            return
        found = await self._live_of(engine, view, start).look(process)
        self._looked_at = time.monotonic()
        if not found:
            return
        names = {*process.uncertain, *(one.name for one in found)}
        await self._store(process.model_copy(update={"uncertain": tuple(sorted(names))}))
        self._brought = None
        await self._bring(engine, view, start, goal)
        first, now = found[0], time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        others = tuple(one.name for one in found[1:])
        drift = Drift(
            name=first.name, found=first.found, restored=first.wanted, at=now, others=others
        )
        _log.warning("set by somebody else, and put right: %s", found)
        await self._change(lambda present: present.model_copy(update={"drift": drift}))

    async def _prepare(self, engine: Engine, view: View, start: Start) -> None:
        """Whatever starts the engine anew, starts it with the target. Its template stays."""
        wanted = start.model_copy(update={"request": record.target(self._known())})
        name = folder.name_of(engine, wanted, self._identity)
        if view.next_configuration == name or view.terminating:
            return
        async with self.files:
            if not same_process(view, self._launcher.view):
                return  # it is started anew, or is to be: that comes with a turn of its own
            self._step("configuration-files")
            path = await asyncio.to_thread(
                folder.write, self._paths, engine, wanted, self._identity
            )
            self._step("configuration-prepare")
            self._starts[path.name] = wanted
            now = await self._launcher.prepare(engine.launch(path))  # it may be another process
            await asyncio.to_thread(self._forget_but, {path.name, now.configuration})

    # --- small things ---------------------------------------------------------------------------
    def _live_of(self, engine: Engine, view: View, start: Start) -> Live:
        if self._live is not None:
            return self._live

        async def still_runs() -> bool:
            return same_process(view, await self._launcher.status())

        started = decision.wanted(type(engine), start)
        self._live = Live(engine, started, self._defaults, self._store, still_runs, self._step)
        return self._live

    async def _defaults(self) -> Mapping[str, Value]:
        if self._config is None:
            return {}
        return await asyncio.to_thread(defaults, self._config.datastore, self._config.version)

    def _process_of(self, view: View | None) -> Process | None:
        """The record of the process that runs."""
        process = self._process
        if view is None or process is None or view.state != launch_machine.RUNNING:
            return None
        same = (process.launcher, process.generation) == (view.boot_id, view.generation)
        return process if same else None

    async def _start_of(self, view: View) -> Start | None:
        """What the last process was started with; None where nobody can tell."""
        name = view.configuration
        if name and name not in self._starts:
            found = await asyncio.to_thread(folder.read, self._paths, name)
            if found is not None:
                self._starts[name] = found
        return self._starts.get(name or "")

    def _forget_but(self, names: Collection[str | None]) -> None:
        """Keep the directories of these names alone. Blocking."""
        folder.prune(self._paths, names)
        self._starts = {name: start for name, start in self._starts.items() if name in names}

    def _known(self) -> Record:
        if self._record is None:
            raise Permanent("the volume has not been read yet")
        return self._record

    async def _change(self, change: Callable[[Record], Record]) -> None:
        async with self._writing:
            present = self._known()
            await self._write(change(present), present)

    async def _write(self, wanted: Record, present: Record | None) -> None:
        if self._engine is not None and self._config is not None:
            wanted = fit.judged(wanted, type(self._engine), self._config.flavor.ram_bytes)
        if wanted != present:
            await asyncio.to_thread(record.write, self._paths.configuration, wanted)
        self._record = wanted

    async def _store(self, process: Process) -> None:
        if process != self._process:
            await asyncio.to_thread(record.write, self._paths.engine_process, process)
        self._process = process

    async def _tell(self, engine: type[Engine], view: View, start: Start | None) -> None:
        """For show_configuration."""
        if start is None:
            return
        text = shown.text(engine, self._known(), start, self._process_of(view))
        if text != self._shown:
            await asyncio.to_thread(shown.write, self._paths.shown_configuration, text)
            self._shown = text
