"""What is on the data volume: the marker, and what follows from it.

`look` reads, `decide` is pure. Neither changes anything; laying out is layout's.
The rule above all: what Coffer did not lay out, or laid out for something else, is not touched.
"""

import os
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from coffer_common.wire import DataState
from coffer_guest.files import write_durably
from coffer_guest.paths import Paths

_OURS: Final = frozenset({".coffer", "etc", "log", "tmp"})  # may be there before any data
_MAKERS: Final = frozenset({"lost+found"})  # of mkfs


class Marker(BaseModel):
    """The file that says what the volume holds. `complete` is False while data are laid out."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    data_id: str
    datastore: str
    version: str
    complete: bool
    identity: dict[str, str]
    restored: str | None = None  # path of the backup that they were laid out from


@dataclass(frozen=True, slots=True)
class Seen:
    """What `look` found."""

    marker: Marker | None
    unreadable: str | None = None  # why the marker cannot be understood
    data: bool = False  # there is a data directory
    others: tuple[str, ...] = ()  # names that are not ours


@dataclass(frozen=True, slots=True)
class Expected:
    """What the agent was told to find."""

    data_id: str | None
    datastore: str
    major: str


class Action(Enum):
    """What to do about the volume."""

    LAY_OUT = "lay out"  # from the beginning; removes what an interrupted attempt left
    USE = "use"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The action, and for a refusal the state and one line that says why and the way out."""

    action: Action
    state: DataState = DataState.LAID_OUT
    message: str = ""


def look(paths: Paths) -> Seen:
    """Read the volume. OSError (also of a marker that is there but cannot be read) is raised."""
    names = frozenset(os.listdir(paths.volume)) - _OURS - _MAKERS
    data = "data" in names
    others = tuple(sorted(names - {"data"}))
    try:
        text = paths.marker.read_bytes()
    except FileNotFoundError:
        return Seen(None, data=data, others=others)
    try:
        return Seen(Marker.model_validate_json(text), data=data, others=others)
    except ValidationError as error:
        return Seen(None, unreadable=f"{error.error_count()} errors", data=data, others=others)


def decide(seen: Seen, expected: Expected, major_of_marker: str | None) -> Verdict:
    """What the volume is to us.

    `major_of_marker` is the major version of `seen.marker`, None without a marker.
    """
    if seen.unreadable is not None:
        return _foreign(f"the volume's marker cannot be understood ({seen.unreadable})")
    if seen.marker is None:
        return _without_marker(seen, expected)
    if not seen.marker.complete:
        if expected.data_id is None:
            return Verdict(Action.LAY_OUT)
        return _lost(f"data {expected.data_id} are expected, but laying out was never finished")
    return _with_marker(seen.marker, seen, expected, major_of_marker)


def write_marker(path: Path, marker: Marker) -> None:
    write_durably(path, marker.model_dump_json().encode())


def _without_marker(seen: Seen, expected: Expected) -> Verdict:
    names = ", ".join((*(("data",) if seen.data else ()), *seen.others)[:5])
    if names:
        return _foreign(f"the volume holds files that Coffer did not lay out: {names}")
    if expected.data_id is None:
        return Verdict(Action.LAY_OUT)
    return _lost(f"data {expected.data_id} are expected, but the volume is empty")


def _with_marker(
    marker: Marker, seen: Seen, expected: Expected, major_of_marker: str | None
) -> Verdict:
    if marker.datastore != expected.datastore:
        return _foreign(f"the volume holds data of {marker.datastore}, not {expected.datastore}")
    if major_of_marker != expected.major:
        return _foreign(
            f"the volume holds data of {marker.datastore} {major_of_marker}, not {expected.major}"
        )
    if expected.data_id is not None and expected.data_id != marker.data_id:
        return _foreign(f"the volume holds data {marker.data_id}, not {expected.data_id}")
    if not seen.data:
        return _lost(f"data {marker.data_id} were laid out, but their directory is gone")
    return Verdict(Action.USE)


def _foreign(message: str) -> Verdict:
    return Verdict(Action.REFUSE, DataState.FOREIGN, message)


def _lost(message: str) -> Verdict:
    return Verdict(Action.REFUSE, DataState.LOST, message)
