"""One running engine process: sets values in it, reads them back, and puts right what differs.

Before a value is set, the volume says so (`Process.uncertain`): whoever comes after an agent that
died in between sets those again, whatever they are. After it, what the engine says is kept, and a
later difference is somebody else's doing.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

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


@dataclass(frozen=True, slots=True)
class _Taken:
    """After values were set: what is known of the process, and what the engine says."""

    process: Process
    known: Mapping[str, Setting]
    texts: Mapping[str, str]


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
        stored: Process | None = process
        process = _with_strays(process, known)
        plan = await self._plan(process, target, known)
        texts = dict(process.baseline or {})
        if plan.changes:
            taken = await self._set_all(process, plan.changes, target, known)
            if taken is None:
                return None
            process, known, stored = taken.process, taken.known, None
            texts |= taken.texts
            plan = await self._plan(process, target, known)
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

    async def _set_all(
        self,
        process: Process,
        changes: Mapping[str, Value | None],
        target: Wanted,
        before: Mapping[str, Setting],
    ) -> _Taken | None:
        """Set the changes, then what they changed beside: a start has both. None: it has ended."""
        first = await self._set(process, changes, target, before)
        if first is None:
            return None
        beside = {
            name: target.values[name]
            for name, setting in first.known.items()
            if name not in changes and name in target.values and setting.text != before[name].text
        }
        if not beside:
            return first
        if not all(self._sets(name, target, first.known) for name in beside):
            raise _conflict(changes, beside, before, first.known)
        second = await self._set(first.process, beside, target, first.known)
        if second is None:
            return None
        if any(second.known[name].text != first.known[name].text for name in changes):
            raise _conflict(changes, beside, before, first.known)
        return replace(second, texts={**first.texts, **second.texts})

    async def _set(
        self,
        process: Process,
        changes: Mapping[str, Value | None],
        target: Wanted,
        known: Mapping[str, Setting],
    ) -> _Taken | None:
        begun = _begun(process, changes, self._started, known)
        self._step("configuration-mark")
        await self._store(begun)
        self._step("configuration-set")
        outcome = await self._engine.set_live(changes)
        if not await self._still_runs():
            return None
        self._step("configuration-took")
        self._static |= outcome.static
        after = await self._engine.settings(known)
        return _Taken(_taken(begun, changes, target, outcome), after, outcome.texts)

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


def _conflict(
    changes: Mapping[str, Value | None],
    beside: Mapping[str, Value],
    before: Mapping[str, Setting],
    after: Mapping[str, Setting],
) -> Refused:
    """Two values of the target that exclude each other: no start would have both."""
    name = min(beside)
    return Refused(
        f"{', '.join(sorted(changes))}: refused: with that the engine makes"
        f" {name} {after[name].text!r}, which is to be {before[name].text!r}"
    )
