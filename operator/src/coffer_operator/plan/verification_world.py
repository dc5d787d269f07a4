"""The World of an Operation that verifies a Backup, immutable; see `world`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from coffer_common.resources.backup import Backup
from coffer_common.resources.backup_storage import BackupStorage
from coffer_common.resources.instance import DatabaseInstance
from coffer_common.resources.operation import Operation
from coffer_operator.plan.world import ActFailure, AgentFact, Catalogue, PodFact


@dataclass(frozen=True)
class VerificationWorld:
    """An Operation of type VerifyBackup with everything around it, at one moment.

    `chain` are the Backups that its Backup needs, by path. `source` is the instance that the Backup
    was taken of, None where that is gone. `scratch` is the instance of the name that the test
    restore needs, whosever it is; `pod` and `agent` are of that. `others` are the other Operations
    that verify the same Backup. `storage` is where it is.
    """

    now: datetime
    operation: Operation
    catalogue: Catalogue
    backup: Backup | None = None
    chain: Mapping[str, Backup] = field(default_factory=dict)
    storage: BackupStorage | None = None
    source: DatabaseInstance | None = None
    scratch: DatabaseInstance | None = None
    pod: PodFact | None = None
    agent: AgentFact | None = None
    others: tuple[Operation, ...] = ()
    failure: ActFailure | None = None
    namespace_terminating: bool = False
