"""Answers of the API server as errors. Pure."""

import json
from collections.abc import Mapping
from typing import Any, Final

from coffer_common.errors import CofferError
from coffer_operator.kube.api import (
    ConflictError,
    ForbiddenError,
    GoneError,
    InvalidError,
    NotFoundError,
    UnavailableError,
)

_MAX_TEXT: Final = 500


def error_of(code: int, body: bytes, retry_after: str | None = None) -> CofferError:
    """The error for an answer with this HTTP status and body (a Status object, if all is well)."""
    status = _status(body)
    message = str(status.get("message") or body[:_MAX_TEXT].decode(errors="replace") or code)
    if code == 404:
        return NotFoundError(message)
    if code == 409:
        return ConflictError(message)
    if code == 410:
        return GoneError(message)
    if code in (401, 403):
        causes = (status.get("details") or {}).get("causes") or [{}]
        return ForbiddenError(message, cause=str(causes[0].get("reason") or ""))
    if code == 429 or code >= 500:
        return UnavailableError(message, _seconds(retry_after, status))
    return InvalidError(message)


def _status(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) and found.get("kind") == "Status" else {}


def _seconds(retry_after: str | None, status: Mapping[str, Any]) -> float | None:
    """From the header, else from the Status. The header's form with a date is not Kubernetes'."""
    if retry_after is not None and retry_after.isdecimal():
        return float(retry_after)
    seconds = (status.get("details") or {}).get("retryAfterSeconds")
    return float(seconds) if isinstance(seconds, int) else None
