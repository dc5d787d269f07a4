"""One running engine process: sets values in it, reads them back, and puts right what differs.

Before a value is set, the volume says so (`Process.uncertain`): whoever comes after an agent that
died in between sets those again, whatever they are. After it, what the engine says is kept, and a
later difference is somebody else's doing.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from coffer_common.wire import Value
from coffer_guest.configuration.decision import Plan, Wanted, decide, fixed, names
from coffer_guest.configuration.record import Process
from coffer_guest.engines.base import Engine, LiveOutcome, Refused, Setting
from coffer_guest.layout import Step

#: Keeps the record of a process on the volume.
Store = Callable[[Process], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Found:
    """A value that somebody else set."""

    name: str
    found: str
    wanted: str


class Live:
    """Brings one process to a target. `defaults` are asked for when a parameter is dropped."""

    def __init__(
        self,
        engine: Engine,
        started: Wanted,
        defaults: Callable[[], Awaitable[Mapping[str, Value]]],
        store: Store,
        still_runs: Callable[[], Awaitable[bool]],
        step: Step,
    ) -> None:
        """`still_runs`: the process is there still, and was all the time."""
        self._engine = engine
        self._started = started
        self._defaults = defaults
        self._store = store
        self._still_runs = still_runs
        self._step = step
        self._static: set[str] = set()  # the engine said so when it was to set them

    async def bring(self, process: Process, target: Wanted) -> Process | None:
        """Set what differs; the process as it is then, None where it has ended meanwhile.

        Raises Refused where the engine does not take a value: then some may be set, and the
        process is stored as uncertain of them. Raises EngineUnavailable, Transient, OSError.
        """
        known = await self._engine.settings(names(process, self._started, target))
        stored, process = process, _with_strays(process, known)
        plan = await self._plan(process, target, known)
        texts = dict(process.baseline or {})
        if plan.changes:
            process = _begun(process, plan.changes, self._started, known)
            self._step("configuration-mark")
            await self._store(process)
            stored = process
            self._step("configuration-set")
            outcome = await self._engine.set_live(plan.changes)
            if not await self._still_runs():
                return None
            self._step("configuration-took")
            self._static |= outcome.static
            after = await self._engine.settings(known)
            _check(plan.changes, known, after)
            process = _taken(process, plan.changes, target, outcome)
            texts |= outcome.texts
            plan = await self._plan(process, target, known)
            known = after
        managed = [
            name for name in known if name in target.values and self._sets(name, target, known)
        ]
        baseline = {name: texts.get(name, known[name].text) for name in managed}
        settled = process.model_copy(update={"baseline": baseline, "pending": plan.pending})
        if settled != stored:
            await self._store(settled)
        return settled

    async def look(self, process: Process) -> list[Found]:
        """What somebody else has set since. Raises EngineUnavailable, Transient."""
        baseline = process.baseline or {}
        known = await self._engine.settings(baseline)
        return [
            Found(name, known[name].text, text)
            for name, text in sorted(baseline.items())
            if name in known and known[name].text != text
        ]

    async def _plan(self, process: Process, target: Wanted, known: Mapping[str, Setting]) -> Plan:
        engine = type(self._engine)
        dynamic = {name for name, setting in known.items() if setting.dynamic} - self._static
        dropped = names(process, self._started, target) - set(target.values)
        defaults = await self._defaults() if dropped and not engine.knows_defaults else {}
        return decide(engine, process, self._started, target, dynamic, defaults)

    def _sets(self, name: str, target: Wanted, known: Mapping[str, Setting]) -> bool:
        dynamic = known[name].dynamic and name not in self._static
        return not fixed(name, self._started, target, {name} if dynamic else ())


def _with_strays(process: Process, known: Mapping[str, Setting]) -> Process:
    """What is not as it was left, be it by somebody else or as an effect of another value."""
    baseline = process.baseline or {}
    strays = {name for name, text in baseline.items() if name in known and known[name].text != text}
    return process.model_copy(update={"uncertain": tuple(sorted({*process.uncertain, *strays}))})


def _begun(
    process: Process,
    changes: Mapping[str, Value | None],
    started: Wanted,
    known: Mapping[str, Setting],
) -> Process:
    initial = {
        name: known[name].text
        for name in changes
        if name not in started.values and name not in process.uncertain and known[name].own
    }
    return process.model_copy(
        update={
            "uncertain": tuple(sorted({*process.uncertain, *changes})),
            "initial": {**initial, **process.initial},
        }
    )


def _taken(
    process: Process,
    changes: Mapping[str, Value | None],
    target: Wanted,
    outcome: LiveOutcome,
) -> Process:
    held = {name: target.values.get(name) for name in changes if name not in outcome.static}
    return process.model_copy(
        update={
            "held": {**process.held, **held},
            "uncertain": tuple(name for name in process.uncertain if name not in changes),
        }
    )


def _check(
    changes: Mapping[str, Value | None],
    before: Mapping[str, Setting],
    after: Mapping[str, Setting],
) -> None:
    """Setting one value must not have changed another: a start would have both. Raises Refused."""
    for name, setting in after.items():
        if name not in changes and setting.text != before[name].text:
            raise Refused(
                f"{', '.join(sorted(changes))}: refused: with that the engine makes"
                f" {name} {setting.text!r}, which is to be {before[name].text!r}"
            )
