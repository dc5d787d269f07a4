"""What an object's status means to somebody who waits for it. Pure.

The rules are those of kstatus, by which GitOps tools read the same objects.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from coffer_common.quantity import readable

# of an instance attached to a configuration group, and reasons of its ConfigurationApplied
_FAILED_STATES: Final = ("Refused", "RolledBack")
_STATE_WORDS: Final = {
    "PendingRestart": "pending restart",
    "Applying": "applying",
    "Waiting": "waiting",
    "Unreachable": "unreachable",
    "Refused": "refused",
    "RolledBack": "rolled back",
}
_APPLIED_REASONS: Final = ("Applied", "PendingRestart")
_PASSING_REASONS: Final = ("Applying", "WaitingForTurn", "AgentUnreachable")


class Outcome(Enum):
    """Whether waiting is over."""

    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class Meter:
    """How far something is that is counted in bytes; None: not known."""

    done_bytes: int
    total_bytes: int | None = None
    bytes_per_second: int | None = None

    @property
    def percent(self) -> int | None:
        if not self.total_bytes:
            return None
        return min(100, 100 * self.done_bytes // self.total_bytes)

    @property
    def text(self) -> str:
        """`42%, 1.2GiB of 2.9GiB, 80MiB/s`."""
        whole = f" of {readable(self.total_bytes)}" if self.total_bytes else ""
        parts = [f"{readable(self.done_bytes)}{whole}"]
        if self.percent is not None:
            parts.insert(0, f"{self.percent}%")
        if self.bytes_per_second is not None:
            parts.append(f"{readable(self.bytes_per_second)}/s")
        return ", ".join(parts)


@dataclass(frozen=True)
class View:
    """Where an object is: a word, a line, how far, and whether that is the end of it."""

    phase: str
    message: str
    outcome: Outcome = Outcome.PENDING
    meter: Meter | None = None

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
    restore = status.get("restore") or {}
    meter = _meter(restore) if restore.get("phase") == "Running" else None
    return View(phase, _message(obj, "Reconciling") or _message(obj, "Ready"), meter=meter)


def backup(obj: Mapping[str, Any]) -> View:
    """A Backup on its way to its end."""
    status = obj.get("status") or {}
    phase, message = str(status.get("phase") or "New"), str(status.get("message") or "")
    if obj.get("metadata", {}).get("deletionTimestamp"):
        return View("Deleting", message or "it is being deleted", Outcome.FAILED)
    match phase:
        case "Completed":
            return View(phase, message, Outcome.DONE)
        case "Failed":
            return View(phase, message or "no reason is given", Outcome.FAILED)
        case "New" if not message:
            return View(phase, "waiting for the operator to take notice")
        case _:
            return View(phase, message, meter=_meter(status) if phase == "Running" else None)


def _meter(report: Mapping[str, Any]) -> Meter | None:
    """Of a status with progress; None before anything was read."""
    progress = report.get("progress") or {}
    if not progress.get("bytesDone"):
        return None
    return Meter(progress["bytesDone"], progress.get("bytesTotal"), progress.get("bytesPerSecond"))


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
            return View(phase, message, meter=_meter(status) if phase == "Running" else None)


def group(obj: Mapping[str, Any]) -> View:
    """A configuration group on its way into the instances that are attached to it.

    Done where the group is Ready: all that can be reached have its values, some of them perhaps
    only at their next restart. An engine that did not take them ends the rollout.
    """
    status = obj.get("status") or {}
    if status.get("observedGeneration", 0) < obj.get("metadata", {}).get("generation", 0):
        return View("Pending", "waiting for the operator to take notice")
    members = status.get("instances") or ()
    failed = [one for one in members if one.get("state") in _FAILED_STATES]
    if failed:
        why = "; ".join(f"{one['name']}: {one.get('message') or one['state']}" for one in failed)
        return View(str(failed[0]["state"]), f"{_count(members)}; {why}", Outcome.FAILED)
    if is_true(obj, "Stalled"):
        return View("Stalled", _message(obj, "Stalled"), Outcome.FAILED)
    text = _count(members) if members else "no instance is attached"
    if is_true(obj, "Ready"):
        return View("Applied", text, Outcome.DONE)
    return View("Applying", text)


def configured(obj: Mapping[str, Any]) -> View:
    """An instance on its way to the values of the group that it names, or of none."""
    generation = obj.get("metadata", {}).get("generation", 0)
    found = condition(obj, "ConfigurationApplied")
    if not found or found.get("observedGeneration", generation) < generation:
        return View("Pending", "waiting for the operator to take notice")
    reason, message = str(found.get("reason")), _message(obj, "ConfigurationApplied")
    if reason in _APPLIED_REASONS:
        return View(reason, message, Outcome.DONE)
    return View(reason, message, Outcome.PENDING if reason in _PASSING_REASONS else Outcome.FAILED)


def _count(members: Sequence[Mapping[str, Any]]) -> str:
    """`2 of 5 applied, 1 pending restart, 2 unreachable (db3, db4)`."""
    by_state: dict[str, list[str]] = {"Applied": []}
    for one in members:
        by_state.setdefault(str(one.get("state")), []).append(str(one.get("name")))
    texts = [f"{len(by_state.pop('Applied'))} of {len(members)} applied"]
    for state, names in sorted(by_state.items()):
        words = _STATE_WORDS.get(state, state)
        named = f" ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
        texts.append(f"{len(names)} {words}{named}")
    return ", ".join(texts)


def _message(obj: Mapping[str, Any], kind: str) -> str:
    found = condition(obj, kind)
    return str(found.get("message") or found.get("reason") or "")
