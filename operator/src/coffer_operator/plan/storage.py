"""plan_storage: whether a BackupStorage can be used, proved by writing, reading, listing, deleting.

Pure and level-triggered. What was proved holds for the spec and the Secrets that it was proved
with; with others it is proved anew. One that fails is tried again, since what is wrong may be
mended where nobody tells us.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from coffer_common import naming
from coffer_common.resources.backup_storage import (
    BackupStorage,
    BackupStorageStatus,
)
from coffer_common.resources.base import Condition
from coffer_common.wire import StorageOperation
from coffer_operator.build.worker import WorkerOrder
from coffer_operator.plan import reasons
from coffer_operator.plan.backup_world import SecretsFact, StorageWorld
from coffer_operator.plan.clock import after, from_text, to_text
from coffer_operator.plan.conditions import Conditions, by_type
from coffer_operator.plan.errand import Errand
from coffer_operator.plan.finding import Finding, Severity, Truth
from coffer_operator.plan.model import EventNote
from coffer_operator.plan.storage_listing import judge_listing
from coffer_operator.plan.storage_spec import check_storage
from coffer_operator.plan.storage_sweep import judge_sweep
from coffer_operator.plan.worker import WorkerState, WorkerVerdict, judge_worker, spent
from coffer_operator.plan.world import ActFailure

SECRETS_EVERY_S: Final = 180.0  # Secrets are not watched
PROBE_SOON_S: Final = 10.0
PROBE_AGAIN_S: Final = 120.0
WORKER_EVERY_S: Final = 60.0  # its end is told; its being late is not


def is_ready(storage: BackupStorage) -> bool:
    """Whether it was proved to work as it is now."""
    ready = by_type(storage.status.conditions).get("Ready")
    return (
        ready is not None
        and ready.status == Truth.TRUE
        and ready.observed_generation == storage.metadata.generation
    )


def revision(storage: BackupStorage, secrets: SecretsFact) -> str:
    """Of all that a probe depends on."""
    spec = storage.spec.model_dump(mode="json", exclude={"upload"})
    return naming.short_hash(f"{json.dumps(spec, sort_keys=True)}/{secrets.revision}", 16)


def plan_storage(world: StorageWorld) -> Errand:
    """What to do for the storage now. Never raises, whatever the StorageWorld is."""
    if world.storage.metadata.deletion_timestamp is not None:
        return Errand()
    error = next(iter(check_storage(world.storage.spec)), world.secrets.error)
    if error is not None:
        found = Finding(Severity.STALLED, error.reason, error.message)
        ready = by_type(world.storage.status.conditions).get("Ready")
        told_before = ready is not None and ready.reason == error.reason
        wait_s = _again_s(ready, world.now) if ready is not None and told_before else PROBE_SOON_S
        return _told(world, found, requeue_s=wait_s)
    if not world.image:
        text = "the operator was not told which image to probe with; "
        text += "set COFFER_IMAGE"
        return _told(world, Finding(Severity.STALLED, reasons.WORKER_UNAVAILABLE, text))
    return _judge(world, revision(world.storage, world.secrets))


def _judge(world: StorageWorld, wanted: str) -> Errand:
    status = world.storage.status
    ready = by_type(status.conditions).get("Ready")
    same = status.secrets_revision == wanted and ready is not None
    if same and ready is not None and ready.status == Truth.TRUE:
        good = Finding(Severity.GOOD, ready.reason, ready.message)
        return _serve(world, good)
    if same and ready is not None and ready.reason == reasons.PROBE_FAILED:
        failed = Finding(Severity.STALLED, ready.reason, ready.message)
        probed_at = from_text(status.probed_at) or world.now
        due = after(probed_at, _again_s(ready, probed_at))
        if world.now < due:
            return _told(world, failed, requeue_s=(due - world.now).total_seconds())
        return _probe(world, wanted, failed)
    return _probe(world, wanted, None)


def _serve(world: StorageWorld, good: Finding) -> Errand:
    """All is well; now and then there is something to do, one thing at a time."""
    sweep, listing = judge_sweep(world), judge_listing(world)
    under_way = sweep.swept_at is not None or (sweep.task is not None and sweep.order is None)
    if listing is not None and not under_way:
        told = _told(
            world,
            good,
            worker=listing.order,
            task=listing.task,
            update={"listing": listing.answer} if listing.answer is not None else None,
            requeue_s=WORKER_EVERY_S,
        )
        return replace(told, collection=listing.collection)
    return _told(
        world,
        good,
        worker=sweep.order,
        task=sweep.task,
        update={"swept_at": sweep.swept_at} if sweep.swept_at is not None else None,
        more=(sweep.event,) if sweep.event is not None else (),
        requeue_s=SECRETS_EVERY_S,
    )


def _again_s(failed: Condition, at: datetime) -> float:
    """Soon at first, for somebody may be about to mend it, and then ever more rarely."""
    since = from_text(failed.last_transition_time) or at
    return min(max((at - since).total_seconds(), PROBE_SOON_S), PROBE_AGAIN_S)


def _probe(world: StorageWorld, wanted: str, failed: Finding | None) -> Errand:
    """One round of it; `failed` is what the former one came to, told until there is news."""
    task = naming.short_hash(f"{wanted}/{world.storage.status.probed_at or ''}", 16)
    verdict = judge_worker(world.workers, task, world.now)
    if verdict.has_ended:
        return _proved(world, wanted, verdict)
    under_way = failed or Finding(
        Severity.PROGRESS,
        reasons.PROBING,
        verdict.message or "it is being written to, read, listed and deleted from",
    )
    if world.failure is not None:
        under_way = _obstacle(world.failure)
    order = WorkerOrder(
        owner_kind="BackupStorage",
        owner=world.storage.metadata,
        task=task,
        operation=StorageOperation.PROBE,
        storage=world.storage.spec,
        image=world.image,
    )
    return _told(
        world,
        under_way,
        worker=order if verdict.state is WorkerState.NONE else None,
        task=task,
        requeue_s=WORKER_EVERY_S,
    )


def _proved(world: StorageWorld, wanted: str, verdict: WorkerVerdict) -> Errand:
    if verdict.state is WorkerState.DONE:
        found = Finding(
            Severity.GOOD, reasons.READY, "it was written to, read, listed and deleted from"
        )
    else:
        found = Finding(
            Severity.STALLED,
            reasons.PROBE_FAILED,
            f"{verdict.message} (it is tried again)",
        )
    update = {"probed_at": to_text(world.now), "secrets_revision": wanted}
    if verdict.state is WorkerState.DONE:
        update["key_id"] = world.secrets.key_id or ""
    requeue_s = SECRETS_EVERY_S if verdict.state is WorkerState.DONE else PROBE_SOON_S
    return _told(world, found, update=update, requeue_s=requeue_s)


def _obstacle(failure: ActFailure) -> Finding:
    severity = Severity.STALLED if failure.permanent else Severity.PROGRESS
    return Finding(severity, failure.reason, f"{failure.step}: {failure.message}")


def _told(
    world: StorageWorld,
    found: Finding,
    *,
    worker: WorkerOrder | None = None,
    task: str | None = None,
    update: Mapping[str, Any] | None = None,
    more: tuple[EventNote, ...] = (),
    requeue_s: float | None = None,
) -> Errand:
    status = world.storage.status.model_copy(
        update={
            **(update or {}),
            "observed_generation": world.storage.metadata.generation,
            "conditions": conditions_of(
                world.storage.status, world.storage.metadata.generation, found, world.now
            ),
        }
    )
    return Errand(
        status=as_api(status),
        worker=worker,
        events=(*_events(world, found), *more),
        spent_workers=spent(world.workers, task),
        requeue_after_s=requeue_s,
    )


def conditions_of(
    former: BackupStorageStatus, generation: int, found: Finding, now: datetime
) -> tuple[Any, ...]:
    """Ready, and Reconciling or Stalled only while true (kstatus)."""
    conditions = Conditions(by_type(former.conditions), generation, now)
    good = found.severity is Severity.GOOD
    conditions.add("Ready", Truth.TRUE if good else Truth.FALSE, found.reason, found.message)
    if found.severity is Severity.PROGRESS:
        conditions.add("Reconciling", Truth.TRUE, found.reason, found.message)
    elif not good:
        conditions.add("Stalled", Truth.TRUE, found.reason, found.message)
    return conditions.result()


def as_api(status: BackupStorageStatus) -> dict[str, Any]:
    """A status as the API has it: no nulls, no empty lists."""
    content = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {key: value for key, value in content.items() if value != []}


def _events(world: StorageWorld, found: Finding) -> tuple[EventNote, ...]:
    """That it became Ready, and each new reason why it is not."""
    before = by_type(world.storage.status.conditions).get("Ready")
    if found.severity is Severity.PROGRESS:
        return ()
    if before is not None and (before.reason, before.message) == (found.reason, found.message):
        return ()
    return (EventNote(found.reason, found.message, warning=found.severity is not Severity.GOOD),)
