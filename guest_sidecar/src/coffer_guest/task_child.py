"""The child process of a task: reads what to do from stdin, reports on stdout, a line each.

    {"bytes_done": …, "bytes_total": …}   progress
    {"message": …, "result": …}           the task is complete; exit status 0
    {"message": …, "reason": …, "permanent": …}   it failed; exit status 1

Runs at low priority and ends when the agent does. Imports only what its task needs. What is secret
comes in the payload, on stdin, and leaves this process for nowhere but the store it opens.
"""

import ctypes
import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TextIO, TypeVar

from pydantic import JsonValue, ValidationError

from coffer_common.errors import CofferError, Permanent, UserError
from coffer_common.wire import GuestConfig, Wire
from coffer_guest.engines.base import Site

_NICE: Final = 10
_PR_SET_PDEATHSIG: Final = 1
_REPORT_EVERY_S: Final = 0.25

Message = TypeVar("Message", bound=Wire)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a complete task."""

    message: str
    result: Mapping[str, JsonValue] | None = None


@dataclass(frozen=True, slots=True)
class TaskContext:
    """What a task function gets. It returns a line or an Outcome, or raises a CofferError."""

    arguments: Mapping[str, str]
    site: Site
    report: Callable[[int, int | None], None]  # bytes done, bytes in all if known
    payload: Mapping[str, JsonValue] = field(default_factory=dict, repr=False)
    instance: GuestConfig | None = None
    volume: Path | None = None

    def request(self, model: type[Message]) -> Message:
        """The payload. Raises UserError, which names what is wrong and never repeats a value."""
        try:
            return model.model_validate(self.payload)
        except ValidationError as error:
            raise invalid(model, error) from None


def invalid(model: type[Wire], error: ValidationError) -> UserError:
    """What is wrong with a message, without what it holds: it may be secret."""
    details = "; ".join(
        f"{'.'.join(str(part) for part in item['loc']) or 'body'}: {item['type']}"
        for item in error.errors(include_input=False, include_url=False, include_context=False)
    )
    return UserError("InvalidRequest", f"{model.__name__}: {details}")


def site_message(site: Site) -> dict[str, object]:
    """A Site for the child's input."""
    return {
        "data": str(site.data),
        "tmp": str(site.tmp),
        "run": str(site.run),
        "address": site.address,
    }


def failure(error: CofferError | OSError) -> dict[str, JsonValue]:
    """The last words of a task that failed."""
    message = " ".join(str(error).split())
    if isinstance(error, OSError):
        return {"message": message, "reason": "InputOutputError", "permanent": False}
    reason = error.reason if isinstance(error, UserError) else type(error).__name__
    return {"message": message, "reason": reason, "permanent": isinstance(error, Permanent)}


class _Reporter:
    """Lines to the agent; progress at most four times a second, the last one always."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._pending: Mapping[str, JsonValue] | None = None
        self._next_at = float("-inf")

    def progress(self, done: int, total: int | None) -> None:
        self._pending = {"bytes_done": done, "bytes_total": total}
        now = time.monotonic()
        if now >= self._next_at:
            self._next_at = now + _REPORT_EVERY_S
            self._flush()

    def say(self, report: Mapping[str, JsonValue]) -> None:
        self._flush()
        self._write(report)

    def _flush(self) -> None:
        if self._pending is not None:
            self._write(self._pending)
            self._pending = None

    def _write(self, report: Mapping[str, JsonValue]) -> None:
        self._output.write(json.dumps(report) + "\n")
        self._output.flush()


def main() -> int:
    """Entry point; 0 when the task is complete, 1 when it failed and said why."""
    os.nice(_NICE)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    message = json.loads(sys.stdin.readline())
    if os.getppid() != message["agent"]:
        return 1  # it ended before the kernel knew that we end with it
    # what a library prints is for the log, not for the agent
    with open(os.dup(sys.stdout.fileno()), "w", encoding="utf-8") as output:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        reporter = _Reporter(output)
        try:
            outcome = _run(message, reporter)
        except (CofferError, OSError) as error:
            reporter.say(failure(error))
            return 1
        reporter.say({"message": outcome.message, "result": _plain(outcome.result)})
    return 0


def _run(message: dict[str, JsonValue], reporter: _Reporter) -> Outcome:
    context = _context(message, reporter)
    module, _, name = str(message["run"]).partition(":")
    function: Callable[[TaskContext], Outcome | str] = getattr(
        importlib.import_module(module), name
    )
    outcome = function(context)
    return Outcome(outcome) if isinstance(outcome, str) else outcome


def _context(message: dict[str, JsonValue], reporter: _Reporter) -> TaskContext:
    site, arguments = message["site"], message["arguments"]
    payload = message.get("payload") or {}
    instance, volume = message.get("instance"), message.get("volume")
    if not (isinstance(site, dict) and isinstance(arguments, dict) and isinstance(payload, dict)):
        raise Permanent("a message of another agent's release")
    folders = {key: Path(str(site[key])) for key in ("data", "tmp", "run")}
    return TaskContext(
        arguments={key: str(value) for key, value in arguments.items()},
        site=Site(**folders, address=str(site["address"])),
        report=reporter.progress,
        payload=payload,
        instance=None if instance is None else GuestConfig.model_validate(instance),
        volume=None if volume is None else Path(str(volume)),
    )


def _plain(result: Mapping[str, JsonValue] | None) -> dict[str, JsonValue] | None:
    return None if result is None else dict(result)


if __name__ == "__main__":
    sys.exit(main())
