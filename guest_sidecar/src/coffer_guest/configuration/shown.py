"""An instance's configuration as others see it: in the status, and by layer for people."""

import json
from collections.abc import Mapping
from pathlib import Path

from coffer_common.wire import ConfigurationStatus, Value
from coffer_guest.configuration import decision
from coffer_guest.configuration.record import Process, Record, Start
from coffer_guest.engines.base import Engine
from coffer_guest.files import write_file


def status(
    record: Record,
    process: Process | None,
    started: Start | None,
    hindered: str | None,
    *,
    answers: bool = False,
) -> ConfigurationStatus:
    """For the operator. Pure.

    `process`: whose word counts on what waits for a restart; `started`: with what the last one was;
    `answers`: that one does. Until its turn has come the record is of the one before it.
    """
    live = started.request if process is None and answers and started else record.live
    return ConfigurationStatus(
        accepted=record.wanted.hash if record.wanted else None,
        live=live.hash if live else None,
        pending_restart=process.pending if process else (),
        rejected=record.rejected,
        drift=record.drift,
        port=decision.layers(started).port if started else None,
        hindered=hindered,
    )


def text(engine: type[Engine], record: Record, started: Start, process: Process | None) -> str:
    """JSON for show_configuration; `process` was started with `started`. Pure."""
    goal = started.model_copy(update={"request": record.wanted})
    parts = decision.layers(goal)
    running = None
    if process is not None:
        running = _spelt(engine, decision.holds(process, decision.wanted(engine, started)))
    rejected = record.rejected or record.suspect
    said = {
        "layers": {
            "template": engine.parse(parts.template),
            "defaults": goal.request.defaults if goal.request else {},
            "group": goal.request.values if goal.request else {},
        },
        "effective": _spelt(engine, decision.wanted(engine, goal).values),
        "running": running,
        "pending_restart": process.pending if process else (),
        "rejected": rejected.message if rejected else None,
    }
    return json.dumps(said, sort_keys=True)


def write(path: Path, content: str) -> None:
    """Replace the file. Raises OSError."""
    scratch = path.with_suffix(".new")
    write_file(scratch, content.encode(), 0o640)
    scratch.replace(path)


def _spelt(engine: type[Engine], values: Mapping[str, Value]) -> dict[str, str]:
    return {name: engine.canonical(value) for name, value in values.items()}
