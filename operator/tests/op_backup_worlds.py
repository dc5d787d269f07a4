"""StorageWorlds and BackupWorlds for the tests of plan, and the statuses that plans lead to."""

import base64
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from coffer_common.resources.backup import Backup
from coffer_common.resources.backup_storage import (
    BackupStorage,
)
from coffer_common.wire import (
    DataState,
    DataStatus,
    EngineState,
    EngineStatus,
    GuestStatus,
    OfferedStrategy,
    TaskStatus,
)
from coffer_operator.plan.backup_world import BackupWorld, SecretsFact, StorageWorld
from coffer_operator.plan.errand import Errand
from coffer_operator.plan.world import AgentFact, PodFact
from op_plan_worlds import NOW, UID, catalogue, datastore_version, instance_obj
from op_plan_worlds import instance as make_instance

IMAGE = "coffer/operator:1"
BACKUP_UID = "b0000000-0000-4000-8000-000000000001"
STRATEGIES = {"full": "MariaBackup", "incremental": "MariaBackupIncremental"}


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


KEY = base64.b64encode(bytes(range(32))).decode()
CREDENTIALS = {"accessKeyId": encoded("AKIA"), "secretAccessKey": encoded("s3cr3t-value\n")}
KEYS = {"current": encoded("k1"), "k1": encoded(KEY)}


def storage_obj(**s3: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "minio",
            "namespace": "prod",
            "uid": "s-uid",
            "generation": 1,
            "resourceVersion": "5",
        },
        "spec": {
            "s3": {
                "bucket": "backups",
                "endpoint": "https://s3.test",
                "prefix": "team",
                "credentialsSecretRef": {"name": "s3-credentials"},
            }
            | s3,
            "encryption": {"keySecretRef": {"name": "backup-keys"}},
        },
    }


def storage(*, ready: bool = True, **s3: Any) -> BackupStorage:
    obj = storage_obj(**s3)
    if ready:
        condition = {
            "type": "Ready",
            "status": "True",
            "reason": "Ready",
            "message": "x",
            "observedGeneration": 1,
        }
        obj["status"] = {"conditions": [condition]}
    return BackupStorage.model_validate(obj)


def storage_world(**facts: Any) -> StorageWorld:
    plain = StorageWorld(
        now=NOW, storage=storage(ready=False), secrets=SecretsFact("r1", "k1"), image=IMAGE
    )
    return replace(plain, **facts)


def after_storage(before: StorageWorld, errand: Errand, seconds: float = 1.0) -> StorageWorld:
    """The World once the errand was carried out."""
    content = before.storage.model_dump(by_alias=True, mode="json")
    if errand.status is not None:
        content["status"] = dict(errand.status)
    gone = {uid for _, uid in errand.spent_workers}
    return replace(
        before,
        now=before.now + timedelta(seconds=seconds),
        storage=BackupStorage.model_validate(content),
        workers=tuple(w for w in before.workers if w.uid not in gone),
    )


def backup_obj(name: str = "monday", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "namespace": "prod",
            "uid": BACKUP_UID if name == "monday" else f"uid-{name}",
            "generation": 1,
            "resourceVersion": "7",
            "creationTimestamp": "2026-11-22T12:00:00Z",
        },
        "spec": {"instanceRef": {"name": "shop"}, "storageRef": {"name": "minio"}} | spec,
    }


def backup(name: str = "monday", status: Mapping[str, Any] | None = None, **spec: Any) -> Backup:
    return Backup.model_validate({**backup_obj(name, **spec), "status": dict(status or {})})


OFFERS = (  # of the image for MariaDB
    OfferedStrategy(name="MariaBackup"),
    OfferedStrategy(name="MariaBackupIncremental", incremental=True),
    OfferedStrategy(name="MySQLDump", logical=True),
)


def agent(
    *tasks: TaskStatus,
    state: EngineState = EngineState.RUNNING,
    offers: tuple[OfferedStrategy, ...] | None = OFFERS,
) -> AgentFact:
    status = GuestStatus(
        etag="e",
        agent_version="1",
        boot_id="b",
        instance_uid=UID,
        pod_uid="p1",
        data=DataStatus(state=DataState.LAID_OUT, data_id="d1"),
        engine=EngineStatus(state=state),
        tasks=tasks,
        backup_strategies=offers,
    )
    return AgentFact(status, "p1", 0.0)


POD = PodFact(
    name="shop-0",
    uid="p1",
    phase="Running",
    ip="10.0.0.9",
    node="n1",
    ready=True,
    deleting=False,
    template_hash="h",
    unschedulable=None,
    guest=None,
    database=None,
)


def backup_world(subject: Backup | None = None, **facts: Any) -> BackupWorld:
    """A Backup that may begin."""
    status = {"datastore": {"type": "mariadb", "version": "10.11", "name": "mariadb-10.11"}}
    shop = make_instance().model_validate({**instance_obj(), "status": status})
    plain = BackupWorld(
        now=NOW,
        backup=subject or backup(),
        catalogue=catalogue(datastore_version(backupStrategies=STRATEGIES)),
        instance=shop,
        pod=POD,
        agent=agent(),
        storage=storage(),
        secrets=SecretsFact("r1", "k1"),
        image=IMAGE,
    )
    return replace(plain, **facts)


def after_backup(before: BackupWorld, errand: Errand, seconds: float = 1.0) -> BackupWorld:
    """The World once the errand was carried out."""
    content = before.backup.model_dump(by_alias=True, mode="json")
    if errand.finalizers is not None:
        content["metadata"]["finalizers"] = list(errand.finalizers)
    elif errand.status is not None:
        content["status"] = dict(errand.status)
    gone = {uid for _, uid in errand.spent_workers}
    return replace(
        before,
        now=before.now + timedelta(seconds=seconds),
        backup=Backup.model_validate(content),
        workers=tuple(w for w in before.workers if w.uid not in gone),
    )


def result(**fields: Any) -> dict[str, Any]:
    return {
        "path": f"{UID}/base/{BACKUP_UID}",
        "location": f"s3://backups/team/{UID}/base/{BACKUP_UID}",
        "type": "full",
        "strategy": "MariaBackup",
        "size_bytes": 400,
        "plain_bytes": 1000,
        "plain_sha256": "ab",
        "manifest_digest": "cd",
        "key_id": "k1",
        "datastore": "mariadb",
        "engine_version": "10.11.6",
        "data_id": "d1",
        "position": {"gtid": "0-1-7", "lsnFrom": "0", "lsnTo": "99"},
    } | fields


def deleted(before: BackupWorld, **facts: Any) -> BackupWorld:
    """With a deletionTimestamp of now."""
    content = before.backup.model_dump(by_alias=True, mode="json")
    content["metadata"]["deletionTimestamp"] = before.now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return replace(before, backup=Backup.model_validate(content), **facts)
