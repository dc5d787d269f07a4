"""What a storage worker's pod says of itself, and what it is called."""

from dataclasses import replace
from datetime import timedelta

import pytest

from coffer_common.resources.base import Metadata
from coffer_common.wire import StorageOperation
from coffer_operator.build.worker import WorkerOrder
from coffer_operator.plan.backup_world import WorkerFact
from coffer_operator.plan.worker import OVERDUE_S, START_S, WorkerState, judge_worker
from op_backup_worlds import storage
from op_plan_worlds import NOW

PENDING = WorkerFact(
    name="store-probe-1",
    uid="w1",
    task="t",
    owner_uid="s1",
    phase="Pending",
    deleting=False,
    created_at=NOW,
)


@pytest.mark.parametrize(
    ("fact", "after_s", "state", "words"),
    [
        (PENDING, 5, WorkerState.AT_WORK, "is at work"),
        (PENDING, START_S, WorkerState.AT_WORK, "kubectl describe pod says why"),
        (replace(PENDING, phase="Running"), 2 * START_S, WorkerState.AT_WORK, "is at work"),
        (
            replace(PENDING, waiting="ErrImagePull: no such image"),
            5,
            WorkerState.AT_WORK,
            "does not run yet: ErrImagePull: no such image",
        ),
        (PENDING, OVERDUE_S, WorkerState.FAILED, "for more than 10 minutes"),
        (replace(PENDING, phase="Failed", how="OOMKilled"), 5, WorkerState.FAILED, "OOMKilled"),
    ],
)
def test_a_worker_that_does_not_answer_says_why(
    fact: WorkerFact, after_s: float, state: WorkerState, words: str
) -> None:
    found = judge_worker((fact,), "t", NOW + timedelta(seconds=after_s))
    assert found.state is state
    assert words in found.message


@pytest.mark.parametrize("operation", list(StorageOperation))
def test_its_name_is_a_label_however_long_its_owners_is(operation: StorageOperation) -> None:
    """Namespace, pod name and uid together are a folder's name on the node."""
    owner = Metadata(name="a" * 253, namespace="n" * 63, uid="u" * 36)
    order = WorkerOrder("Backup", owner, "t", operation, storage().spec, "image")
    assert len(order.name) <= 63
    other = replace(order, owner=owner.model_copy(update={"uid": "v" * 36}))
    assert order.name != other.name
