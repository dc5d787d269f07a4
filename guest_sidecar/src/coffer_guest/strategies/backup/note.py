"""The task `noteVerified`: keep the outcome of a test restore beside the backup."""

from coffer_common.proof import NoteTask
from coffer_guest.pipeline import proofs
from coffer_guest.pipeline.stop import stopped_by_signal
from coffer_guest.strategies.backup.access import opened
from coffer_guest.task_child import Outcome, TaskContext


def note_verified(context: TaskContext) -> Outcome:
    """Payload: a NoteTask; result: {path}. Raises CofferError.

    Whether the data can be restored is not asked again: the proof may say that they cannot.
    """
    task = context.request(NoteTask)
    with stopped_by_signal() as stop, opened(task.storage) as access:
        location = access.location(task.path)
        proofs.keep(access.store, location, access.ring, task.proof, stop, task.digest)
    return Outcome(f"the proof of {task.path} was kept", {"path": task.path})
