"""The Worlds of a BackupStorage and of a Backup, immutable; see `world`."""

from dataclasses import dataclass
from datetime import datetime

from coffer_common.errors import UserError
from coffer_common.resources.backup import Backup
from coffer_common.resources.backup_storage import (
    BackupStorage,
)
from coffer_common.resources.instance import DatabaseInstance
from coffer_operator.plan.world import ActFailure, AgentFact, Catalogue, PodFact


@dataclass(frozen=True)
class WorkerFact:
    """The pod of a storage worker.

    `said` is the container's termination message, None while it has not ended; `how` it ended.
    `waiting`: why it does not run yet, as scheduler or kubelet say it.
    """

    name: str
    uid: str
    task: str
    owner_uid: str
    phase: str  # Pending | Running | Succeeded | Failed | Unknown
    deleting: bool
    said: str | None = None
    how: str | None = None  # "exit 1", "OOMKilled", "DeadlineExceeded"
    waiting: str | None = None
    created_at: datetime | None = None


@dataclass(frozen=True)
class SecretsFact:
    """What is known of a storage's Secrets, and nothing of what they hold.

    `revision` is another whenever one of them is; `error` says why they cannot be used.
    """

    revision: str
    key_id: str | None = None
    error: UserError | None = None


@dataclass(frozen=True)
class StorageWorld:
    """A BackupStorage with everything around it, at one moment.

    `running` are the ids of the namespace's backups that are being taken.
    """

    now: datetime
    storage: BackupStorage
    secrets: SecretsFact
    workers: tuple[WorkerFact, ...] = ()
    running: tuple[str, ...] = ()
    image: str = ""  # of storage workers; "": there is none to make them of
    failure: ActFailure | None = None


@dataclass(frozen=True)
class BackupWorld:
    """A Backup with everything around it, at one moment.

    `instance`, `pod` and `agent` are of the instance that it names; `storage` is the one that it
    names, `secrets` that storage's, looked at only for a Backup under deletion or to be adopted.
    `others` are the other Backups of the namespace.
    """

    now: datetime
    backup: Backup
    catalogue: Catalogue
    instance: DatabaseInstance | None = None
    pod: PodFact | None = None
    agent: AgentFact | None = None
    storage: BackupStorage | None = None
    secrets: SecretsFact | None = None
    others: tuple[Backup, ...] = ()
    workers: tuple[WorkerFact, ...] = ()
    image: str = ""
    failure: ActFailure | None = None
    namespace_terminating: bool = False
