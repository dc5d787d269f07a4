"""Once a day a bucket is swept of what dead backups left; and a storage that fails waits."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

from coffer_common.wire import StorageOperation, StorageRequest
from coffer_operator.build.worker import ANNOTATION_REQUEST, worker_pod
from coffer_operator.plan.backup_world import StorageWorld, WorkerFact
from coffer_operator.plan.storage import PROBE_AGAIN_S, PROBE_SOON_S, plan_storage
from coffer_operator.plan.storage_sweep import SWEEP_EVERY_S
from op_backup_worlds import after_storage, storage_world


def employed(world: StorageWorld, **fields: Any) -> StorageWorld:
    """The World with the worker that the plan asks for."""
    order = plan_storage(world).worker
    assert order is not None
    fact = WorkerFact(order.name, "w1", order.task, "s-uid", "Running", deleting=False)
    return replace(world, workers=(replace(fact, **fields),))


def answered(world: StorageWorld, result: dict[str, Any]) -> StorageWorld:
    said = json.dumps({"result": result})
    return employed(world, phase="Succeeded", said=said, how="exit 0")


def probed() -> StorageWorld:
    world = answered(storage_world(), {"keyId": "k1"})
    return after_storage(world, plan_storage(world))


def later(world: StorageWorld, seconds: float) -> StorageWorld:
    return replace(world, now=world.now + timedelta(seconds=seconds))


def test_it_is_swept_once_a_day() -> None:
    assert plan_storage(later(probed(), SWEEP_EVERY_S - 60)).worker is None
    due = replace(later(probed(), SWEEP_EVERY_S), running=("b1", "b2"))
    order = plan_storage(due).worker
    assert order is not None
    annotation = worker_pod(order)["metadata"]["annotations"][ANNOTATION_REQUEST]
    content = json.loads(annotation)
    content["storage"] |= {"current_key": "k1", "keys": {}}
    request = StorageRequest.model_validate(content)
    assert request.operation is StorageOperation.SWEEP
    assert request.running == ("b1", "b2")
    assert request.older_than_s == SWEEP_EVERY_S
    at_work = plan_storage(employed(due))
    assert at_work.worker is None
    assert at_work.spent_workers == ()
    swept = answered(due, {"uploads": ["a", "b"], "folders": ["c"]})
    errand = plan_storage(swept)
    assert errand.status is not None
    assert errand.status["sweptAt"]
    assert ["2 uploads, 1 places" in note.message for note in errand.events] == [True]
    assert len(errand.spent_workers) == 1
    after = after_storage(swept, errand)
    assert plan_storage(after).worker is None
    assert not plan_storage(after).events
    assert plan_storage(later(after, SWEEP_EVERY_S)).worker is not None


def test_a_sweep_that_finds_nothing_is_silent_and_one_that_fails_is_told() -> None:
    due = later(probed(), SWEEP_EVERY_S)
    assert plan_storage(answered(due, {"uploads": [], "folders": []})).events == ()
    said = json.dumps({"message": "403 AccessDenied", "reason": "AccessDenied"})
    failed = employed(due, phase="Failed", said=said, how="exit 1")
    errand = plan_storage(failed)
    assert [(note.reason, note.warning) for note in errand.events] == [("SweepFailed", True)]
    assert "403" in errand.events[0].message
    assert plan_storage(after_storage(failed, errand)).worker is None, "the next day"
    assert errand.status is not None
    ready = next(c for c in errand.status["conditions"] if c["type"] == "Ready")
    assert ready["status"] == "True"


def test_a_storage_that_fails_is_probed_soon_at_first_and_then_rarely() -> None:
    said = json.dumps({"message": "404 NoSuchBucket", "reason": "NoSuchBucket"})
    waits: list[float] = []
    world = storage_world()
    for _ in range(12):
        failed = employed(world, phase="Failed", said=said, how="exit 1")
        world = after_storage(failed, plan_storage(failed), seconds=0)
        wait_s = plan_storage(world).requeue_after_s
        assert wait_s is not None
        waits.append(wait_s)
        world = later(world, wait_s)
    assert waits == sorted(waits)
    assert waits[0] == PROBE_SOON_S
    assert waits[-1] == PROBE_AGAIN_S
