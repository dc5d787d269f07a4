"""What the command line says when it cannot do what it was asked for, and with which exit code.

Owns the exit codes (they are API) and the way from the API server's answer to one clear line.
Pure.
"""

import json
import re
from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Final


class Exit(IntEnum):
    """Exit codes of every command."""

    OK = 0
    FAILED = 1
    USAGE = 2  # the command line, or the object that it describes, is at fault
    NOT_FOUND = 3
    TIMED_OUT = 4  # what was asked for goes on without us
    REFUSED = 5  # not permitted, or a rule protects the object


class CliError(Exception):
    """One line for the user, and the exit code that goes with it."""

    def __init__(self, message: str, code: Exit = Exit.FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class ApiError(CliError):
    """The API server said no. `status` is the HTTP status, `reason` Kubernetes' word for it."""

    def __init__(self, message: str, code: Exit, *, status: int, reason: str = "") -> None:
        super().__init__(message, code)
        self.status = status
        self.reason = reason


class UnreachableError(CliError):
    """The API server does not answer, or not in HTTP; a later attempt may succeed."""


_WEBHOOK: Final = re.compile(r'admission webhook "[^"]*" denied the request:?\s*(?P<text>.*)', re.S)
_POLICY: Final = re.compile(
    r"ValidatingAdmissionPolicy '[^']*' with binding '[^']*' denied request: (?P<text>.*)", re.S
)
# `Invalid value: "object": ` of a rule over a whole object says nothing to a reader
_WHOLE_OBJECT: Final = re.compile(r'^Invalid value: "?(?:object|array)"?: ')
_TOO_BUSY: Final = (429, 500, 502, 503, 504)


def from_answer(status: int, body: bytes, *, path: str) -> ApiError:
    """The error for an answer from 400 on; `body` is a Status object or anything else."""
    answer = _as_status(body)
    if answer is None:
        if status == 404 and path.startswith("/apis/coffer.dev/"):
            return ApiError(
                "the cluster does not know coffer.dev/v1alpha1: Coffer is not installed in it",
                Exit.NOT_FOUND,
                status=status,
            )
        text = _one_line(body.decode("utf-8", "replace"))[:200] or "no explanation"
        return ApiError(f"the API server answered {status}: {text}", _code(status), status=status)
    message = str(answer.get("message") or f"the API server answered {status}")
    reason = str(answer.get("reason") or "")
    if match := _POLICY.search(message):
        return ApiError(_one_line(match["text"]), Exit.REFUSED, status=status, reason=reason)
    if match := _WEBHOOK.search(message):
        code = Exit.REFUSED if status in (401, 403) else Exit.USAGE
        return ApiError(_one_line(match["text"]), code, status=status, reason=reason)
    if status == 422 and (text := _causes(answer)):
        return ApiError(text, Exit.USAGE, status=status, reason=reason)
    return ApiError(_one_line(message), _code(status), status=status, reason=reason)


def is_passing(error: CliError) -> bool:
    """Whether the same request may succeed a little later."""
    return isinstance(error, UnreachableError) or (
        isinstance(error, ApiError) and error.status in _TOO_BUSY
    )


def _as_status(body: bytes) -> Mapping[str, Any] | None:
    try:
        answer = json.loads(body)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) and answer.get("kind") == "Status" else None


def _causes(answer: Mapping[str, Any]) -> str:
    """What is wrong with an object's fields, each once: `spec.flavor: Required value`."""
    causes = (answer.get("details") or {}).get("causes") or ()
    lines = []
    for cause in causes:
        text = _WHOLE_OBJECT.sub("", _one_line(str(cause.get("message", ""))))
        field = str(cause.get("field", "")).replace("<nil>", "")
        line = text if not field or field in text else f"{field}: {text}"
        if line not in lines:
            lines.append(line)
    return "; ".join(lines)


def _code(status: int) -> Exit:
    match status:
        case 400 | 422:
            return Exit.USAGE
        case 401 | 403:
            return Exit.REFUSED
        case 404:
            return Exit.NOT_FOUND
        case _:
            return Exit.FAILED


def _one_line(text: str) -> str:
    return " ".join(text.split())
