"""A list of a bucket on request: kept in a ConfigMap, and told in the status after that."""

import json
from typing import Any

import pytest

from coffer_common.errors import UserError
from coffer_common.resources.base import Metadata
from coffer_operator.build.listing import listing_config_map
from coffer_operator.build.worker import ANNOTATION_REQUEST, COMPONENT
from coffer_operator.kube.api import (
    BACKUP_STORAGE,
    CONFIG_MAP,
    POD,
    SECRET,
    Object,
    UnavailableError,
)
from coffer_operator.plan.model import Plan
from op_backup_worlds import CREDENTIALS, KEYS, storage_obj
from op_stage import NS, Stage, always

pytestmark = [pytest.mark.looptime, pytest.mark.simulation]

SHOWN = {
    "path": "u-1/base/b-1",
    "id": "b-1",
    "digest": "cd",
    "type": "full",
    "strategy": "MariaBackup",
    "datastore": "mariadb",
    "engineVersion": "10.11.6",
    "instance": {"uid": "u-1", "name": "orders", "namespace": "prod"},
    "finishedAt": "2026-01-01T00:00:16Z",
    "sizeBytes": 5,
    "plainBytes": 9,
    "parent": None,
    "verified": {"result": "Passed", "time": "2026-01-03T00:00:00Z", "duration_s": 5},
}
ENTRY = {
    "path": "u-1/base/b-1",
    "type": "full",
    "strategy": "MariaBackup",
    "instance": "orders",
    "instanceUid": "u-1",
    "datastore": "mariadb",
    "engineVersion": "10.11.6",
    "finishedAt": "2026-01-01T00:00:16Z",
    "sizeBytes": 5,
    "rawBytes": 9,
    "parent": None,
    "verified": {"result": "Passed", "time": "2026-01-03T00:00:00Z"},
}


@pytest.fixture
async def stage() -> Stage:
    return Stage()


def worker(stage: Stage) -> Object | None:
    label = "app.kubernetes.io/component"
    pods = [p for p in stage.server.every(POD) if p["metadata"]["labels"].get(label) == COMPONENT]
    return next((p for p in pods if "deletionTimestamp" not in p["metadata"]), None)


def asked(pod: Object | None) -> str:
    assert pod is not None
    return str(json.loads(pod["metadata"]["annotations"][ANNOTATION_REQUEST])["operation"])


def answer(stage: Stage, said: dict[str, Any]) -> None:
    pod = worker(stage)
    assert pod is not None
    good = said.get("result") is not None
    ended = {"exitCode": 0 if good else 1, "message": json.dumps(said)}
    status = {
        "phase": "Succeeded" if good else "Failed",
        "containerStatuses": [{"name": "worker", "state": {"terminated": ended}}],
    }
    name = pod["metadata"]["name"]
    stage.server.patch(POD, NS, name, {"status": status}, subresource="status", manager="kubelet")


def request(stage: Stage, nonce: str) -> None:
    mark = {"metadata": {"annotations": {"coffer.dev/list-requested": nonce}}}
    stage.server.patch(BACKUP_STORAGE, NS, "minio", mark, manager="kubectl-coffer")


def told(stage: Stage) -> dict[str, Any]:
    status = stage.server.get(BACKUP_STORAGE, NS, "minio")["status"]
    return dict(status.get("listing") or {})


def listed(stage: Stage) -> dict[str, str] | None:
    found = stage.server.peek(CONFIG_MAP, NS, "minio-listing")
    return dict(found["data"]) if found is not None else None


async def ready(stage: Stage) -> None:
    for name, data in (("s3-credentials", CREDENTIALS), ("backup-keys", KEYS)):
        stage.write(SECRET, {"metadata": {"name": name, "namespace": NS}, "data": data})
    spec = storage_obj()["spec"]
    stage.write(BACKUP_STORAGE, {"metadata": {"name": "minio", "namespace": NS}, "spec": spec})
    await stage.settle()
    answer(stage, {"result": {"keyId": "k1"}})
    await stage.settle(40)
    assert worker(stage) is None


async def test_who_asks_gets_a_list_each_time(stage: Stage) -> None:
    async with stage.running(always(Plan())):
        await ready(stage)
        for nonce, found in (("n1", []), ("n2", [SHOWN])):
            request(stage, nonce)
            await stage.settle()
            assert asked(worker(stage)) == "find"
            answer(stage, {"result": {"backups": found}})
            await stage.settle(40)
            assert told(stage)["request"] == nonce
            assert "error" not in told(stage)
            assert worker(stage) is None
            data = listed(stage)
            assert data is not None
            assert (data["nonce"], len(json.loads(data["listing.json"]))) == (nonce, len(found))
        await stage.settle(600)
        assert worker(stage) is None, "what was answered is not asked again"


async def test_a_list_that_there_cannot_be_says_why(stage: Stage) -> None:
    async with stage.running(always(Plan())):
        await ready(stage)
        request(stage, "n1")
        await stage.settle()
        answer(stage, {"message": "403 of the server", "reason": "AccessDenied"})
        await stage.settle(40)
        assert (told(stage)["request"], told(stage)["error"]) == ("n1", "403 of the server")
        assert listed(stage) is None


async def test_a_config_map_of_somebody_else_is_left_alone(stage: Stage) -> None:
    async with stage.running(always(Plan())):
        await ready(stage)
        theirs = {"metadata": {"name": "minio-listing", "namespace": NS}, "data": {"a": "b"}}
        stage.write(CONFIG_MAP, theirs)
        request(stage, "n1")
        await stage.settle()
        answer(stage, {"result": {"backups": [SHOWN]}})
        await stage.settle(60)
        assert "minio-listing exists" in told(stage)["error"]
        assert listed(stage) == {"a": "b"}


async def test_it_is_told_only_once_it_was_kept(stage: Stage) -> None:
    async with stage.running(always(Plan())):
        await ready(stage)
        request(stage, "n1")
        await stage.settle()
        stage.faults.errors["create", "ConfigMap"] = [UnavailableError("503")] * 8
        answer(stage, {"result": {"backups": [SHOWN]}})
        await stage.settle(5)
        assert told(stage) == {}
        await stage.settle(900)
        assert told(stage)["request"] == "n1"
        data = listed(stage)
        assert data is not None
        assert json.loads(data["listing.json"]) == [ENTRY]


# --- the ConfigMap --------------------------------------------------------------------------------
OWNER = Metadata(name="minio", namespace="prod", uid="s-uid")


def line(*backups: dict[str, Any]) -> str:
    return json.dumps({"result": {"backups": list(backups)}, "message": ""})


def test_the_answer_is_found_among_warnings() -> None:
    log = "\n".join(["a/manifest.json is damaged", line(SHOWN), "another warning", ""])
    made = listing_config_map(OWNER, "n1", log)
    assert json.loads(made["data"]["listing.json"]) == [ENTRY]
    assert made["data"]["truncated"] == "false"
    [owner] = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("BackupStorage", "s-uid")


def test_the_oldest_are_left_out_where_there_are_too_many() -> None:
    many = [SHOWN | {"finishedAt": f"2026-01-01T00:{n:05}Z", "path": "p" * 99} for n in range(4000)]
    data = listing_config_map(OWNER, "n1", line(*many))["data"]
    kept = json.loads(data["listing.json"])
    assert data["truncated"] == "true"
    assert 1000 < len(kept) < 4000
    assert len(data["listing.json"].encode()) <= 1024 * 1024 - 64 * 1024
    assert kept[0]["finishedAt"].endswith("03999Z")


@pytest.mark.parametrize("log", ["", "no answer", line(SHOWN)[:-20], '{"result": {"path": "x"}}'])
def test_a_log_without_an_answer_is_an_error(log: str) -> None:
    with pytest.raises(UserError, match="not readable"):
        listing_config_map(OWNER, "n1", log)
