"""What an object's status means to somebody who waits for it. Pure.

The rules are those of kstatus, by which GitOps tools read the same objects.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Outcome(Enum):
    """Whether waiting is over."""

    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class View:
    """Where an object is: a word, a line, and whether that is the end of it."""

    phase: str
    message: str
    outcome: Outcome = Outcome.PENDING

    @property
    def line(self) -> str:
        return f"{self.phase}: {self.message}" if self.message else self.phase


def condition(obj: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """A condition of the object; empty where it has none of that type."""
    for entry in (obj.get("status") or {}).get("conditions") or ():
        if entry.get("type") == kind:
            return dict(entry)
    return {}


def is_true(obj: Mapping[str, Any], kind: str) -> bool:
    """Whether the condition is there, true, and about the spec as it is now."""
    found = condition(obj, kind)
    generation = obj.get("metadata", {}).get("generation", 0)
    observed = found.get("observedGeneration", generation)
    return found.get("status") == "True" and observed >= generation


def instance(obj: Mapping[str, Any]) -> View:
    """An instance on its way to Ready; Stalled is the end of waiting, too: it needs the user."""
    status = obj.get("status") or {}
    phase = str(status.get("phase") or "Pending")
    generation = obj.get("metadata", {}).get("generation", 0)
    if status.get("observedGeneration", 0) < generation:
        return View(phase, "waiting for the operator to take notice")
    if is_true(obj, "Stalled"):
        return View(phase, _message(obj, "Stalled"), Outcome.FAILED)
    if is_true(obj, "Ready"):
        return View(phase, _message(obj, "Ready"), Outcome.DONE)
    return View(phase, _message(obj, "Reconciling") or _message(obj, "Ready"))


def operation(obj: Mapping[str, Any]) -> View:
    """An Operation on its way to its end."""
    status = obj.get("status") or {}
    phase = str(status.get("phase") or "New")
    message = str(status.get("message") or status.get("step") or "")
    match phase:
        case "Completed":
            return View(phase, message, Outcome.DONE)
        case "Failed" | "Expired":
            return View(phase, message, Outcome.FAILED)
        case "New" if not message:
            return View(phase, "waiting for the operator to take notice")
        case _:
            return View(phase, message)


def _message(obj: Mapping[str, Any], kind: str) -> str:
    found = condition(obj, kind)
    return str(found.get("message") or found.get("reason") or "")
