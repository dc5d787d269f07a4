"""What the parts of a plan find, in the terms of conditions."""

from dataclasses import dataclass
from enum import StrEnum


class Truth(StrEnum):
    """Status of a condition. Unknown is neither of the others."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Severity(StrEnum):
    """What a finding means for the instance."""

    GOOD = "Good"
    PROGRESS = "Progress"  # under way; a deadline counts
    UNKNOWN = "Unknown"  # cannot tell; never a reason for an Error or a deletion
    STALLED = "Stalled"  # waits for a person; what runs goes on
    ERROR = "Error"  # does not serve, and will not by itself


@dataclass(frozen=True)
class Finding:
    """One thing that was found out: a CamelCase reason and one line."""

    severity: Severity
    reason: str
    message: str
