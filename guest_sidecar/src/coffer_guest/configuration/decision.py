"""What follows from a configuration for a running engine. Pure.

Compared is what Coffer asked for with what Coffer asked for, in one spelling: never what the
engine says of it, which has spellings and roundings of its own.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from coffer_common.wire import Value
from coffer_guest.configuration.record import Process, Start
from coffer_guest.engines.base import Engine, Layers

#: The one parameter that is Coffer's business in every engine; takes effect at a start.
PORT: Final = "port"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Values by name, all layers together, and the names that must not be set live."""

    values: Mapping[str, Value]
    restart_required: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Plan:
    """What to set in the engine (None: its default), and what waits for a restart."""

    changes: Mapping[str, Value | None]
    pending: tuple[str, ...]


def layers(start: Start) -> Layers:
    """The layers of what an engine is started with."""
    defaults = dict(start.request.defaults) if start.request else {}
    values = dict(start.request.values) if start.request else {}
    port = defaults.pop(PORT, start.port)
    return Layers(start.template, defaults, values, int(values.pop(PORT, port)))


def wanted(engine: type[Engine], start: Start) -> Wanted:
    """All layers as one."""
    parts = layers(start)
    values: dict[str, Value] = {}
    for layer in (engine.parse(parts.template), parts.defaults, parts.values):
        for name, value in layer.items():
            values[name] = engine.combine(name, values.get(name), value)
    values[PORT] = parts.port
    return Wanted(
        values, frozenset(start.request.restart_required if start.request else frozenset())
    )


def names(process: Process, started: Wanted, target: Wanted) -> frozenset[str]:
    """Every parameter that may have to be set."""
    touched = {*process.held, *process.uncertain}
    return frozenset({*started.values, *target.values, *touched} - {PORT})


def holds(process: Process, started: Wanted) -> dict[str, Value]:
    """The values of ours that the process runs with."""
    overlaid = {**started.values, **process.held}
    return {name: value for name, value in overlaid.items() if value is not None}


def fixed(name: str, started: Wanted, target: Wanted, dynamic: Collection[str]) -> bool:
    """The parameter takes effect at a start."""
    if name == PORT or name not in dynamic or name in target.restart_required:
        return True
    return name not in target.values and name in started.restart_required


def decide(
    engine: type[Engine],
    process: Process,
    started: Wanted,
    target: Wanted,
    dynamic: Collection[str],
    defaults: Mapping[str, Value],
) -> Plan:
    """How the process gets from what it holds to the target.

    `dynamic` are the parameters that the engine lets be changed, `defaults` its own values of
    those that it cannot set back by itself. A parameter that is in no layer any more gets the
    default, or what it was before it was first set, or waits for a restart.
    """
    present = holds(process, started)
    changes: dict[str, Value | None] = {}
    pending = []
    for name in sorted({PORT, *names(process, started, target)}):
        if not _differs(engine, name, present, target) and name not in process.uncertain:
            continue
        goal = target.values.get(name)
        if goal is None:
            goal = defaults.get(name, process.initial.get(name))
        settled = goal is None and not engine.knows_defaults
        if not settled and not fixed(name, started, target, dynamic):
            changes[name] = goal
        elif _differs(engine, name, present, target):
            pending.append(name)
    return Plan(changes, tuple(pending))


def _differs(engine: type[Engine], name: str, present: Mapping[str, Value], target: Wanted) -> bool:
    ours, theirs = present.get(name), target.values.get(name)
    if ours is None or theirs is None:
        return ours is not theirs
    return engine.canonical(ours) != engine.canonical(theirs)
