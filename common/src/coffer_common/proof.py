"""What is kept of a test restore beside its backup, and the task that keeps it.

Owns the models: the agent writes and reads them, the operator says what happened. No secrets, and
nothing of what the data hold: a bucket is read by others.
"""

from typing import Literal

from coffer_common.wire import StorageAccess, Wire


class Proof(Wire):
    """Outcome of a test restore."""

    time: str  # RFC 3339
    result: Literal["Passed", "Failed"]
    duration_s: int | None = None  # from the restore's begin to the checked data
    recovery_s: int | None = None  # from the restore's begin until the engine served
    engine_version: str | None = None  # of the engine that it was restored into


class NoteTask(Wire):
    """Payload of the task `noteVerified`: keep a proof beside the backup that it speaks of."""

    storage: StorageAccess
    path: str  # of the backup, below the prefix
    digest: str | None = None  # of its manifest, where it is recorded
    proof: Proof
