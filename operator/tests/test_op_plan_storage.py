"""BackupStorages: probed before they are Ready, and again when spec or Secrets are others."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from coffer_common.errors import UserError
from coffer_common.wire import StorageOperation, StorageRequest
from coffer_operator.build.worker import ANNOTATION_REQUEST, worker_pod
from coffer_operator.observe.workers import worker
from coffer_operator.plan.backup_world import SecretsFact, StorageWorld, WorkerFact
from coffer_operator.plan.errand import Errand
from coffer_operator.plan.storage import PROBE_AGAIN_S, PROBE_SOON_S, plan_storage
from coffer_operator.plan.storage_secrets import open_secrets, whole_access
from coffer_operator.plan.worker import OVERDUE_S
from op_backup_worlds import (
    CREDENTIALS,
    KEYS,
    after_storage,
    encoded,
    storage,
    storage_world,
)
from op_plan_worlds import NOW


def ready(errand: Errand) -> tuple[str, str, str]:
    assert errand.status is not None
    found = next(c for c in errand.status["conditions"] if c["type"] == "Ready")
    return found["status"], found["reason"], found["message"]


def employed(world: StorageWorld, **fields: Any) -> StorageWorld:
    """The World with the worker that the plan asks for."""
    order = plan_storage(world).worker
    assert order is not None
    fact = WorkerFact(order.name, "w1", order.task, "s-uid", "Running", deleting=False)
    return replace(world, workers=(replace(fact, **fields),))


DONE = json.dumps({"result": {"keyId": "k1"}})
DENIED = json.dumps({"message": "403 AccessDenied\nby policy", "reason": "AccessDenied"})


def test_a_new_storage_is_probed_and_then_ready() -> None:
    world = storage_world()
    errand = plan_storage(world)
    assert ready(errand)[:2] == ("False", "Probing")
    assert errand.worker is not None
    assert errand.worker.operation is StorageOperation.PROBE
    at_work = employed(world)
    assert plan_storage(at_work).worker is None
    done = plan_storage(employed(world, phase="Succeeded", said=DONE, how="exit 0"))
    assert ready(done)[:2] == ("True", "Ready")
    assert done.status is not None
    assert done.status["keyId"] == "k1"
    assert [note.reason for note in done.events] == ["Ready"]


def test_the_worker_goes_once_its_answer_was_kept_and_nothing_more_is_written() -> None:
    world = employed(storage_world(), phase="Succeeded", said=DONE, how="exit 0")
    first = plan_storage(world)
    assert first.spent_workers == ((world.workers[0].name, "w1"),)
    unkept = replace(after_storage(world, first), workers=world.workers)  # died before deleting
    again = plan_storage(unkept)
    assert again.spent_workers == first.spent_workers
    assert again.worker is None
    end = after_storage(unkept, again)
    last = plan_storage(end)
    assert not last.writes
    assert not last.events
    assert last.status == plan_storage(after_storage(end, last)).status


def test_a_failed_probe_is_told_in_the_stores_words_and_tried_again() -> None:
    world = employed(storage_world(), phase="Failed", said=DENIED, how="exit 1")
    errand = plan_storage(world)
    status, reason, message = ready(errand)
    assert (status, reason) == ("False", "ProbeFailed")
    assert "403 AccessDenied by policy" in message
    assert errand.events[0].warning
    kept = after_storage(world, errand)
    quiet = plan_storage(kept)
    assert quiet.worker is None
    assert not quiet.events
    due = replace(kept, now=kept.now + timedelta(seconds=PROBE_AGAIN_S))
    again = plan_storage(due)
    assert again.worker is not None
    assert again.worker.name != world.workers[0].name
    assert ready(again)[2] == message


@pytest.mark.parametrize("change", ["secrets", "bucket"])
def test_what_a_probe_depends_on_has_it_probed_anew(change: str) -> None:
    world = employed(storage_world(), phase="Succeeded", said=DONE, how="exit 0")
    good = after_storage(world, plan_storage(world))
    if change == "secrets":
        edited = replace(good, secrets=SecretsFact("r2", "k2"))
    else:
        moved = storage(ready=False, bucket="others").model_copy(
            update={"status": good.storage.status}
        )
        edited = replace(good, storage=moved)
    errand = plan_storage(edited)
    assert errand.worker is not None
    assert ready(errand)[:2] == ("False", "Probing")


def test_missing_secrets_are_told_before_anything_is_started() -> None:
    error = UserError("SecretMissing", "spec.s3.credentialsSecretRef: there is no Secret x")
    errand = plan_storage(storage_world(secrets=SecretsFact("r", error=error)))
    assert errand.worker is None
    assert ready(errand) == ("False", "SecretMissing", error.message)
    assert errand.requeue_after_s


def test_a_secret_that_is_missing_is_looked_for_soon_at_first() -> None:
    error = UserError("SecretMissing", "spec.s3.credentialsSecretRef: there is no Secret x")
    world = storage_world(secrets=SecretsFact("r", error=error))
    first = plan_storage(world)
    assert first.requeue_after_s == PROBE_SOON_S
    later = replace(after_storage(world, first), now=NOW + timedelta(hours=1))
    assert plan_storage(later).requeue_after_s == PROBE_AGAIN_S


def test_without_an_image_it_says_so() -> None:
    assert ready(plan_storage(storage_world(image="")))[1] == "WorkerUnavailable"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"phase": "Failed", "how": "DeadlineExceeded"}, "DeadlineExceeded"),
        ({"phase": "Failed", "how": "exit 1", "said": "Traceback"}, "Traceback"),
        ({"phase": "Failed", "how": "OOMKilled"}, "OOMKilled"),
        (
            {"phase": "Pending", "waiting": "no node fits", "created_at": NOW - timedelta(days=1)},
            "no node fits",
        ),
    ],
)
def test_a_worker_without_an_answer_has_failed(fields: dict[str, Any], words: str) -> None:
    _, reason, message = ready(plan_storage(employed(storage_world(), **fields)))
    assert reason == "ProbeFailed"
    assert words in message


def test_a_worker_that_waits_says_for_what() -> None:
    just = NOW - timedelta(seconds=OVERDUE_S - 1)
    world = employed(
        storage_world(), phase="Pending", waiting="ImagePullBackOff: no such", created_at=just
    )
    assert "ImagePullBackOff: no such" in ready(plan_storage(world))[2]


def test_one_that_is_deleted_is_left_alone() -> None:
    going = storage().model_copy(
        update={
            "metadata": storage().metadata.model_copy(update={"deletion_timestamp": "2026-01-01"})
        }
    )
    assert plan_storage(storage_world(storage=going)) == Errand()


# --- Secrets -------------------------------------------------------------------------------------
SECRETS = {"s3-credentials": CREDENTIALS, "backup-keys": KEYS}


def test_secrets_become_an_access_that_does_not_show_them() -> None:
    opened = open_secrets(storage().spec, SECRETS)
    access = whole_access(storage().spec, opened)
    assert access.settings["secret_key"] == "s3cr3t-value"
    assert access.current_key == "k1"
    assert access.part_size_bytes == 16 * 1024**2
    for shown in (repr(opened), repr(access)):
        assert "s3cr3t" not in shown
        assert "AKIA" not in shown
        assert KEYS["k1"] not in shown


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        ({"s3-credentials": None}, "SecretMissing", "no Secret s3-credentials"),
        ({"s3-credentials": {"accessKeyId": encoded("x")}}, "SecretMissing", "secretAccessKey"),
        ({"backup-keys": {"k1": KEYS["k1"]}}, "SecretMissing", "current"),
        ({"backup-keys": {**KEYS, "current": encoded("k9")}}, "KeyInvalid", "there: k1"),
        ({"backup-keys": {**KEYS, "k1": encoded("c2hvcnQ=")}}, "KeyInvalid", "32 bytes"),
        ({"backup-keys": {**KEYS, "k1": "%%%"}}, "SecretMissing", "k1"),
    ],
)
def test_wrong_secrets_are_named_without_their_values(
    change: dict[str, Any], reason: str, words: str
) -> None:
    with pytest.raises(UserError) as caught:
        open_secrets(storage().spec, SECRETS | change)
    assert caught.value.reason == reason
    assert words in caught.value.message
    assert "s3cr3t" not in caught.value.message


def test_an_authority_must_be_a_certificate() -> None:
    spec = storage(caSecretRef={"name": "ca", "key": "root.pem"}).spec
    pem = "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"
    opened = open_secrets(spec, SECRETS | {"ca": {"root.pem": encoded(pem)}})
    assert opened.ca == pem.strip()
    with pytest.raises(UserError, match="holds no certificate"):
        open_secrets(spec, SECRETS | {"ca": {"root.pem": encoded("nonsense")}})


# --- the pod -------------------------------------------------------------------------------------
def test_the_pod_holds_a_request_without_secrets_and_mounts_the_rest() -> None:
    world = storage_world(storage=storage(ready=False, caSecretRef={"name": "ca", "key": "r.pem"}))
    order = plan_storage(world).worker
    assert order is not None
    pod = worker_pod(order)
    text = pod["metadata"]["annotations"][ANNOTATION_REQUEST]
    request = json.loads(text)
    request["storage"] |= {"current_key": "k", "keys": {}}  # as the worker adds them
    assert StorageRequest.model_validate(request).operation is StorageOperation.PROBE
    spec = pod["spec"]
    assert spec["automountServiceAccountToken"] is False
    mounted = {v["secret"]["secretName"] for v in spec["volumes"] if "secret" in v}
    assert mounted == {"s3-credentials", "backup-keys", "ca"}
    arguments = spec["containers"][0]["args"]
    folders = {m["mountPath"] for m in spec["containers"][0]["volumeMounts"]}
    assert arguments[::2] == ["--request", "--credentials", "--keys", "--ca"]
    assert all(any(a.startswith(folder) for folder in folders) for a in arguments[1::2])
    assert "imagePullSecrets" not in spec
    secrets = worker_pod(order, ("hub", "mirror"))["spec"]["imagePullSecrets"]
    assert secrets == [{"name": "hub"}, {"name": "mirror"}]
    security = spec["containers"][0]["securityContext"]
    assert security["readOnlyRootFilesystem"] is True
    assert security["capabilities"] == {"drop": ["ALL"]}


def test_what_is_kept_of_the_pod_is_what_the_plan_asks_for() -> None:
    order = plan_storage(storage_world()).worker
    assert order is not None
    pod = worker_pod(order)
    pod["metadata"] |= {"uid": "w9", "creationTimestamp": "2026-11-22T12:00:00Z"}
    ended = {"terminated": {"exitCode": 1, "reason": "Error", "message": DENIED}}
    pod["status"] = {
        "phase": "Failed",
        "containerStatuses": [{"name": "worker", "state": ended}],
    }
    fact, owner = worker(pod)
    assert owner == ("prod", "minio")
    assert (fact.task, fact.owner_uid, fact.said) == (order.task, "s-uid", DENIED)
    assert fact.how == "exit 1"
    pod["status"] = {"phase": "Failed", "reason": "DeadlineExceeded"}
    assert worker(pod)[0].how == "DeadlineExceeded"
    pod["status"] = {
        "phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "False", "message": "no node fits"}],
    }
    assert worker(pod)[0].waiting == "no node fits"
