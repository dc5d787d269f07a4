"""A list of what a storage holds, on request: what `kubectl coffer backup import` begins with.

Pure. The request is an annotation with a value of its own each time; the status says which value
was answered. A storage worker lists; what it wrote is kept before the status says so.
"""

from dataclasses import dataclass

from coffer_common import naming
from coffer_common.resources.backup_storage import (
    StorageListing,
)
from coffer_common.wire import StorageOperation
from coffer_operator.build.worker import WorkerOrder
from coffer_operator.plan.backup_world import StorageWorld
from coffer_operator.plan.clock import to_text
from coffer_operator.plan.errand import Collection
from coffer_operator.plan.wording import one_line
from coffer_operator.plan.worker import WorkerState, WorkerVerdict, judge_worker


@dataclass(frozen=True)
class Listing:
    """What there is to do: `task` is the worker to be kept, `order` to be made.

    `collection`: what it wrote is to be kept. `answer`: what the status says then.
    """

    task: str | None = None
    order: WorkerOrder | None = None
    collection: Collection | None = None
    answer: StorageListing | None = None


def judge_listing(world: StorageWorld) -> Listing | None:
    """For a storage that is Ready; None: nobody waits for a list."""
    storage = world.storage
    request = storage.metadata.annotations.get(naming.ANNOTATION_LIST_REQUESTED)
    answered = storage.status.listing
    if not request or not world.image or (answered is not None and answered.request == request):
        return None
    task = naming.short_hash(f"list/{request}", 16)
    verdict = judge_worker(world.workers, task, world.now)
    answer = StorageListing(request=request, time=to_text(world.now), error=_error(world, verdict))
    if answer.error is not None:
        return Listing(answer=answer)
    if verdict.state is WorkerState.NONE:
        return Listing(task, _order(world, task))
    if verdict.state is WorkerState.AT_WORK:
        return Listing(task)
    worker = next(fact.name for fact in world.workers if fact.task == task)
    collection = Collection(worker, request)
    if world.failure is not None:  # it does not count before it was kept
        return Listing(task, collection=collection)
    return Listing(collection=collection, answer=answer)


def _error(world: StorageWorld, verdict: WorkerVerdict) -> str | None:
    """Why there is never going to be that list."""
    if world.failure is not None and world.failure.permanent:
        return one_line(f"{world.failure.step}: {world.failure.message}")
    return verdict.message if verdict.state is WorkerState.FAILED else None


def _order(world: StorageWorld, task: str) -> WorkerOrder:
    return WorkerOrder(
        owner_kind="BackupStorage",
        owner=world.storage.metadata,
        task=task,
        operation=StorageOperation.FIND,
        storage=world.storage.spec,
        image=world.image,
    )
