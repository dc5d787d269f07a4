"""The disks behind volume claims: what is on them, who holds their lock, what ever happened.

A disk outlives pods and goes with its claim. It notes every layout and every engine process, so
that the checks can tell what must never happen.
"""

from dataclasses import dataclass, field

from coffer_common.wire import TaskStatus
from sim_configuration import OnDisk


@dataclass
class Disk:
    """One volume."""

    name: str
    claim_uid: str
    data_id: str | None = None
    datastore: str | None = None
    version: str | None = None
    locked_by: str | None = None  # uid of the pod whose launcher holds the lock
    engines: set[str] = field(default_factory=set)  # uids of pods whose engine runs on it
    restarted_for: str | None = None  # the latest token of a restart
    pending_token: str | None = None  # of a restart that is not done yet
    tokens: list[str] = field(default_factory=list)  # every restart that was carried out
    databases: set[str] = field(default_factory=set)
    users: dict[str, str] = field(default_factory=dict)  # name@host: password
    configuration: OnDisk | None = None
    tasks: dict[str, TaskStatus] = field(default_factory=dict)
    restored_from: str | None = None  # path of a backup
    loaded: dict[str, str] = field(default_factory=dict)  # dumps: task id to path
    gone: bool = False  # destroyed while somebody may still have it mounted


class Disks:
    """All disks, by the uid of their claim."""

    def __init__(self) -> None:
        self._disks: dict[str, Disk] = {}
        self.all: list[Disk] = []

    def new(self, claim_uid: str) -> Disk:
        disk = Disk(f"pv-{claim_uid[:13]}", claim_uid)
        self._disks[claim_uid] = disk
        self.all.append(disk)
        return disk

    def of(self, claim_uid: str) -> Disk | None:
        return self._disks.get(claim_uid)

    def claim_deleted(self, claim_uid: str) -> None:
        disk = self._disks.pop(claim_uid, None)
        if disk is not None:
            disk.gone = True
