"""The World of a BackupSchedule, immutable; see `world`."""

from dataclasses import dataclass
from datetime import datetime

from coffer_common.naming import LABEL_SCHEDULE
from coffer_common.resources.backup import Backup
from coffer_common.resources.backup_storage import (
    BackupStorage,
)
from coffer_common.resources.instance import DatabaseInstance
from coffer_common.resources.operation import Operation
from coffer_common.resources.schedule import BackupSchedule
from coffer_common.wire import OfferedStrategy
from coffer_operator.plan.world import ActFailure, Catalogue


@dataclass(frozen=True)
class ScheduleWorld:
    """A BackupSchedule with everything around it, at one moment.

    `instance` and `storage` are those that it names, `offers` the backup strategies of that
    instance's agent, None: not known. Of its namespace: `backups` are all,
    `operations` those that verify backups, `restoring` the instances that are to be restored and
    have no data yet.
    """

    now: datetime
    schedule: BackupSchedule
    catalogue: Catalogue
    instance: DatabaseInstance | None = None
    storage: BackupStorage | None = None
    backups: tuple[Backup, ...] = ()
    operations: tuple[Operation, ...] = ()
    restoring: tuple[DatabaseInstance, ...] = ()
    offers: tuple[OfferedStrategy, ...] | None = None
    failure: ActFailure | None = None

    @property
    def own(self) -> tuple[Backup, ...]:
        """The Backups that the schedule has made."""
        name = self.schedule.metadata.name
        return tuple(b for b in self.backups if b.metadata.labels.get(LABEL_SCHEDULE) == name)
