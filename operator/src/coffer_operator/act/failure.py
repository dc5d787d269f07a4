"""Turns what stopped a step into words for a condition. Pure."""

from coffer_common.errors import CofferError, Permanent, Transient, UserError
from coffer_operator.guest.api import AgentBusyError, AgentRefusedError, AgentUnreachableError
from coffer_operator.kube.api import (
    NAMESPACE_TERMINATING,
    ConflictError,
    ForbiddenError,
    InvalidError,
    Kind,
    NotFoundError,
    UnavailableError,
)

_REASONS: tuple[tuple[type[CofferError], str], ...] = (
    (AgentUnreachableError, "AgentUnreachable"),
    (AgentBusyError, "AgentBusy"),
    (ConflictError, "Conflict"),
    (UnavailableError, "ApiServerUnavailable"),
    (InvalidError, "Invalid"),
    (NotFoundError, "NotFound"),
)


class StepError(CofferError):
    """A step of a plan failed.

    `permanent`: the same attempt cannot succeed before something else changes. `retry_after_s`
    is what the other side asked for. `about`: the kind and name of the object that the caches may
    be behind with, if it was a conflict. `called`: whether the calls that Operations asked for were
    carried out all the same.
    """

    def __init__(
        self, step: str, cause: CofferError, about: tuple[Kind, str] | None = None
    ) -> None:
        super().__init__(f"{step}: {cause}")
        self.step = step
        self.reason = reason_of(cause)
        self.message = str(cause)
        self.permanent = isinstance(cause, Permanent)
        self.retry_after_s = cause.retry_after_s if isinstance(cause, Transient) else None
        self.namespace_terminating = self.reason == NAMESPACE_TERMINATING
        self.conflict = isinstance(cause, ConflictError)
        self.about = about
        self.called = False


def reason_of(cause: CofferError) -> str:
    """One CamelCase word for a condition."""
    if isinstance(cause, UserError | AgentRefusedError):
        return cause.reason
    if isinstance(cause, ForbiddenError):
        if cause.cause:
            return cause.cause
        return "QuotaExceeded" if "exceeded quota" in str(cause) else "Forbidden"
    return next((reason for kind, reason in _REASONS if isinstance(cause, kind)), "Failed")
