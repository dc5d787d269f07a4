"""The project's errors: each class carries the policy of whoever catches it.

Permanent: do not try again until the input changes. Transient: try again after a while.
UserError: the user can mend it; reason and message go to a condition and to `kubectl apply`.
"""


class CofferError(Exception):
    """Base of all errors that Coffer raises on purpose."""


class Permanent(CofferError):
    """Trying again without a changed input cannot help."""


class Transient(CofferError):
    """The same attempt may succeed later."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        """`retry_after_s` is what the other side asked for; None leaves it to the back-off."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class UserError(Permanent):
    """The user's input is at fault.

    `reason` is a CamelCase constant for a condition; `message` is one line that says what is
    wrong, what is allowed and what to do.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
