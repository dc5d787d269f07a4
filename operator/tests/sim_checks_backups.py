"""What must hold of backups: in the end, and at every moment."""

from collections.abc import Iterator

from coffer_common import naming
from coffer_common.wire import TaskState
from coffer_operator.kube.api import (
    BACKUP,
    BACKUP_STORAGE,
    INSTANCE,
    OPERATION,
    POD,
    PVC,
    SECRET,
    Kind,
    Object,
)
from sim_checks import disk_of
from sim_stories_backups import FINISHED, Backups, BackupWish, Load
from sim_watch import Change
from sim_workers import is_worker
from sim_world import World


def unfinished(world: World, backups: Backups) -> list[str]:
    """What is not yet as it was asked for."""
    lines = [
        f"Backup {wish.label} ({wish.end}): {line}"
        for wish in backups.wishes
        for line in _backup(world, wish)
    ]
    for wish, path in backups.restored:
        disk = disk_of(world, wish)
        if disk is None or disk.restored_from != path:
            found = disk.restored_from if disk is not None else "no volume"
            lines.append(f"{wish.label}: restored from {found}, wanted {path}")
    lines += [line for load in backups.loads for line in _load(world, load)]
    lines += [*_verifications(world, backups), *_left_over(world, backups)]
    return [*lines, *_instances(world), *_storages(world)]


def _load(world: World, load: Load) -> Iterator[str]:
    """It has ended, and done what it says; what nobody waits for is not at work any more."""
    found = world.server.peek(OPERATION, load.wish.namespace, load.name)
    for guest in world.kubelets.guests():
        for task in guest.tasks.statuses():
            if task.kind == "restoreDump" and task.state is TaskState.RUNNING:
                yield f"{guest.pod.name} is still at {task.id}"
    if found is None:
        return
    status, uid = found.get("status") or {}, found["metadata"]["uid"]
    if status.get("phase") not in FINISHED:
        yield f"Operation {load.name}: {_shown(found)}"
    done = {
        path
        for disk in world.disks.all
        for task_id, path in disk.loaded.items()
        if task_id.startswith(f"load-{uid}-")
    }
    if status.get("phase") == "Completed":
        if not done or load.unknown:
            yield f"Operation {load.name} is Completed, and nothing was loaded"
        if (status.get("progress") or {}).get("percent") != 100:
            yield f"Operation {load.name} is Completed at {status.get('progress')}"
    if any(not path.endswith(f"/{load.backup.uid}") for path in done):
        yield f"Operation {load.name} has loaded {done}"


def _instances(world: World) -> Iterator[str]:
    """They name the newest of their backups."""
    for instance in world.server.every(INSTANCE):
        metadata, status = instance["metadata"], instance.get("status") or {}
        taken = [
            (backup["status"]["finishedAt"], backup["metadata"]["name"])
            for backup in world.server.every(BACKUP)
            if (backup.get("status") or {}).get("phase") == "Completed"
            and backup["status"].get("instanceUid") == metadata["uid"]
        ]
        wanted = max(taken)[1] if taken else None
        found = (status.get("lastBackup") or {}).get("name")
        if found != wanted:
            yield f"{metadata['name']}: lastBackup is {found}, wanted: {wanted}"
        told = [c["status"] for c in status.get("conditions") or () if c["type"] == "BackupHealthy"]
        if taken and told not in (["True"], ["False"]):
            yield f"{metadata['name']}: BackupHealthy is {told}"


def _verifications(world: World, backups: Backups) -> Iterator[str]:
    """They have ended, and say what their Backups say."""
    for name in backups.verifications:
        found = world.server.peek(OPERATION, backups.namespace, name)
        if found is None:
            continue
        status = found.get("status") or {}
        if status.get("phase") not in FINISHED:
            yield f"Operation {name}: {_shown(found)}"
        taken = found["spec"]["backupRef"]["name"]
        backup = world.server.peek(BACKUP, backups.namespace, taken)
        verified = ((backup or {}).get("status") or {}).get("verified")
        if status.get("phase") == "Completed" and backup is not None and verified is None:
            yield f"Operation {name} is Completed, and its Backup does not say so"
        if backup is not None and verified is not None and verified["operation"] == name:
            yield from _proof(world, backup, str(status.get("message")))
            if (status.get("phase") == "Completed") != (verified["result"] == "Passed"):
                yield f"Operation {name} is {status.get('phase')}, and found out {verified}"


def _left_over(world: World, backups: Backups) -> Iterator[str]:
    """What only a test restore needs."""
    for instance in world.server.every(INSTANCE):
        if naming.LABEL_SCRATCH in (instance["metadata"].get("labels") or {}):
            yield f"the scratch instance {instance['metadata']['name']} is still there"
    for taken in backups.wishes:
        volume = naming.data_volume(naming.scratch_instance(taken.name))
        if world.server.peek(PVC, backups.namespace, volume) is not None:
            yield f"the scratch volume {volume} is still there"


def _proof(world: World, backup: Object, told: str) -> Iterator[str]:
    """It lies beside the backup, or the Operation has said why it does not."""
    kept = world.around.bucket.proofs.get(backup["status"]["path"])
    verified = backup["status"]["verified"]
    same = kept is not None and (kept.time, kept.result) == (verified["time"], verified["result"])
    if not same and "could not be kept" not in told:
        yield f"the proof of {backup['metadata']['name']} in the bucket is {kept}: {verified}"


def _backup(world: World, wish: BackupWish) -> Iterator[str]:
    found = world.server.peek(BACKUP, wish.namespace, wish.name)
    paths = [p for p in world.around.bucket.backups if p.endswith(f"/{wish.uid}")]
    if wish.end == "gone":
        if found is not None:
            yield f"it is still there: {_shown(found)}"
        elif wish.objects is not None and bool(paths) != wish.objects:
            yield f"its objects: {paths}, wanted: {wish.objects}"
        return
    status = (found or {}).get("status") or {}
    if status.get("phase") not in FINISHED:
        yield _shown(found or {})
    elif status["phase"] == "Completed" and not paths:
        yield "it is Completed, and not in the bucket"
    elif wish.end == "refused" and (status["phase"] == "Completed" or paths):
        yield f"it was taken by a strategy that there is not: {_shown(found or {})}, {paths}"


def _storages(world: World) -> Iterator[str]:
    """They say what they are, and no worker is left over."""
    for storage in world.server.every(BACKUP_STORAGE):
        conditions = (storage.get("status") or {}).get("conditions") or ()
        ready: Object = next((c for c in conditions if c["type"] == "Ready"), {})
        lost = world.server.peek(SECRET, storage["metadata"]["namespace"], "keys") is None
        if ready.get("reason") != ("SecretMissing" if lost else "Ready"):
            yield f"BackupStorage {storage['metadata']['name']}: {ready}"
    for pod in world.server.every(POD):
        if is_worker(pod):
            yield f"the storage worker {pod['metadata']['name']} is still there"


def _shown(backup: Object) -> str:
    status = backup.get("status") or {}
    return f"{status.get('phase')}: {status.get('message')}"


class BackupRules:
    """Listens to the store: what is Completed is in the bucket, and a verdict is final and true."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._completed: set[str] = set()
        self._verdicts: dict[tuple[str, str], Object] = {}  # by Backup and Operation
        self._operations: dict[tuple[str, str], str] = {}  # the latest of a name: its uid
        world.server.listeners.append(self._heard)

    def _heard(self, kind: Kind, change: Change) -> None:
        if kind == OPERATION and change.after is not None:
            metadata = change.after["metadata"]
            self._operations[metadata["namespace"], metadata["name"]] = metadata["uid"]
        if kind != BACKUP or change.after is None:
            return
        uid, status = change.after["metadata"]["uid"], change.after.get("status") or {}
        verdict = status.get("verified")
        if verdict is not None:
            if (uid, verdict["operation"]) not in self._verdicts:
                self._is_true(change.after, verdict)
            known = self._verdicts.setdefault((uid, verdict["operation"]), verdict)
            if verdict != known:
                self._world.book.wrong(f"Backup {uid} was verified as {known}, now as {verdict}")
        if status.get("phase") == "Completed" and uid not in self._completed:
            self._completed.add(uid)
            if status["path"] not in self._world.around.bucket.backups:
                self._world.book.wrong(f"Backup {uid} is Completed and not in the bucket")
        elif uid in self._completed and status.get("phase") not in ("Completed", "Deleting"):
            self._world.book.wrong(f"Backup {uid} was Completed and is {status.get('phase')}")

    def _is_true(self, backup: Object, verdict: Object) -> None:
        """Passed: a volume that held it was checked. Failed: it is to blame."""
        metadata, path = backup["metadata"], backup["status"]["path"]
        bucket = self._world.around.bucket
        operation = self._operations[metadata["namespace"], verdict["operation"]]
        prefix = f"verify-{naming.short_hash(operation)}-"
        proved = any(
            task_id.startswith(prefix) and path in held for task_id, held in bucket.checked.items()
        )
        fault = bucket.faults.get(path)
        to_blame = path not in bucket.backups or (fault is not None and fault.guilty)
        if not (proved if verdict["result"] == "Passed" else to_blame):
            self._world.book.wrong(f"Backup {metadata['name']} ({fault}) was found {verdict}")
