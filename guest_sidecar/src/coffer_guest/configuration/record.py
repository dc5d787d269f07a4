"""What was asked for, what is in force, and what an engine process was started with.

Models of the files on the volume; the transitions are pure. A file is written before anything is
done about what it says, so that an agent that dies in between finds what it was about.
"""

import logging
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from coffer_common.wire import (
    ConfigurationRequest,
    Drift,
    RejectedConfiguration,
    RejectionCause,
    Value,
)
from coffer_guest.files import write_durably

_log = logging.getLogger(__name__)

Request = ConfigurationRequest | None  # None: the template alone
Model = TypeVar("Model", bound=BaseModel)


class Record(BaseModel):
    """The configuration of one instance."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    uid: str  # of the instance that asked
    wanted: Request = None  # the latest request
    live: Request = None  # the one in force
    good: Request = None  # the latest that an engine was started with and answered
    suspect: RejectedConfiguration | None = None  # did not start; not certain until `good` does
    rejected: RejectedConfiguration | None = None
    fallback: Request = None  # what counts in place of a rejected one
    judged_bytes: int | None = None  # of memory, that the rejected one cannot fit; see fit
    drift: Drift | None = None


class Start(BaseModel):
    """What an engine is started with, beside what users may not set."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    template: str  # rendered
    request: ConfigurationRequest | None = None
    port: int  # where the request names none


class Process(BaseModel):
    """One engine process, and what was set in it since its start."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    launcher: str  # boot id
    generation: int
    held: dict[str, Value | None] = {}  # set by us; None: brought back to where it came from
    initial: dict[str, str] = {}  # the engine's own values, before they were first set
    uncertain: tuple[str, ...] = ()  # may hold anything: setting them was begun
    baseline: dict[str, str] | None = None  # what the engine said when all was set
    pending: tuple[str, ...] = ()  # wait for a restart


def target(record: Record) -> Request:
    """What the engine is to run with."""
    if record.suspect is not None:
        return record.good
    return record.fallback if record.rejected is not None else record.wanted


def behind(record: Record) -> str | None:
    """The hash of the newest request while it is neither in force nor rejected."""
    wanted = record.wanted
    if wanted is None or wanted == record.live or record.rejected is not None:
        return None
    return wanted.hash


def adopt(record: Record | None, uid: str, mounted: Request) -> Record:
    """The record of an instance: what it last asked for, else what it was created with."""
    if record is not None and record.uid == uid:
        return record
    return Record(uid=uid, wanted=mounted)


def accept(record: Record, request: ConfigurationRequest) -> Record:
    """After a request; the same record where that is known already."""
    if record.wanted == request:
        return record
    return reset(record.model_copy(update={"wanted": request}))


def reset(record: Record) -> Record:
    """What was rejected gets another chance."""
    return record.model_copy(
        update={"suspect": None, "rejected": None, "fallback": None, "judged_bytes": None}
    )


def applied(record: Record, request: Request) -> Record:
    """A running engine holds the request's values, and its files are the request's."""
    return record.model_copy(update={"live": request})


def refused(record: Record, request: Request, message: str) -> Record:
    """The engine did not take the request's values, and holds the former ones again."""
    if request is None or record.wanted != request or record.rejected is not None:
        return record
    rejected = RejectedConfiguration(
        hash=request.hash, cause=RejectionCause.REFUSED, message=message
    )
    return record.model_copy(update={"rejected": rejected, "fallback": record.live})


def blamed(record: Record, request: Request, message: str) -> Record:
    """The engine did not start with the request. Never a matter of one that was good before."""
    if record.suspect is not None or request != target(record) or request == record.good:
        return record
    if record.rejected is not None or request is None:
        return record.model_copy(update={"fallback": record.good, "live": record.good})
    suspect = RejectedConfiguration(
        hash=request.hash, cause=RejectionCause.DID_NOT_START, message=message
    )
    return record.model_copy(update={"suspect": suspect, "live": record.good})


def answered(record: Record, request: Request) -> Record:
    """An engine that was started with the request answers."""
    change: dict[str, object] = {"good": request, "live": request}
    if record.suspect is not None:
        change["suspect"] = None
        if request != record.wanted:
            change |= {"rejected": record.suspect, "fallback": request}
    return record.model_copy(update=change)


def at_rest(record: Record) -> Record:
    """No engine is to run: the next one will have the target."""
    return record.model_copy(update={"live": target(record)})


def follow(former: Process | None, launcher: str, generation: int) -> Process:
    """A process after another: values that were being set when that ended may have reached it."""
    uncertain = former.uncertain if former else ()
    initial = former.initial if former else {}
    return Process(
        launcher=launcher,
        generation=generation,
        uncertain=uncertain,
        initial={name: text for name, text in initial.items() if name in uncertain},
    )


def read(path: Path, model: type[Model]) -> Model | None:
    """A stored model; None where there is none, or none that can be understood. Raises OSError."""
    try:
        return model.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        _log.warning("%s cannot be understood, as if it was not there: %s", path, error)
        return None


def write(path: Path, model: BaseModel) -> None:
    """Durably. Raises OSError."""
    write_durably(path, model.model_dump_json().encode())
