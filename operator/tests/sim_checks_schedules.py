"""What must hold of schedules: in the end, and at every moment."""

from collections.abc import Iterator

from coffer_common.naming import LABEL_SCHEDULE
from coffer_operator.kube.api import BACKUP, BACKUP_SCHEDULE, Kind, Object
from sim_stories_backups import FINISHED
from sim_stories_schedules import COUNT
from sim_watch import Change
from sim_world import World


def unsettled(world: World) -> Iterator[str]:
    """Backups that have not ended, more of them than are to stay, schedules that say otherwise."""
    for backup in _labelled(world):
        phase = _status(backup).get("phase")
        waits = phase == "Deleting" and _status(backup).get("children")
        if phase not in FINISHED and not waits:
            yield f"Backup {backup['metadata']['name']}: {phase}"
    for schedule in world.server.every(BACKUP_SCHEDULE):
        yield from _retention(world, schedule)
        for name in ("lastFull", "lastIncremental"):
            last = _status(schedule).get(name) or {}
            if last.get("phase") in ("New", "Running"):
                yield f"BackupSchedule {schedule['metadata']['name']}: {name} is {last}"


def _retention(world: World, schedule: Object) -> Iterator[str]:
    """So many full ones, what is kept by hand, and what increments that stay need."""
    mine = [b for b in _labelled(world) if _status(b).get("phase") == "Completed"]
    fulls = sorted((b for b in mine if _status(b)["type"] == "full"), key=_taken)
    needed = {_status(b).get("parent") for b in world.server.every(BACKUP)}
    proved = {
        b["metadata"]["name"]
        for b in mine
        if (_status(b).get("verified") or {}).get("result") == "Passed"
    }
    for backup in fulls[:-COUNT]:
        name = backup["metadata"]["name"]
        kept = backup["spec"].get("keep") or name in proved or _status(backup)["path"] in needed
        if not kept:
            yield f"Backup {name} of {schedule['metadata']['name']} is to go"


def _labelled(world: World) -> list[Object]:
    return [
        backup
        for backup in world.server.every(BACKUP)
        if LABEL_SCHEDULE in (backup["metadata"].get("labels") or {})
    ]


def _status(obj: Object) -> Object:
    return obj.get("status") or {}


def _taken(backup: Object) -> str:
    return str(_status(backup).get("startedAt"))


class ScheduleRules:
    """Listens: what a schedule makes is made once, what the operator removes may go."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._names: dict[str, str] = {}
        world.server.listeners.append(self._heard)
        world.retiring = self._retires

    def _heard(self, kind: Kind, change: Change) -> None:
        if kind != BACKUP or change.after is None:
            return
        metadata = change.after["metadata"]
        if LABEL_SCHEDULE not in (metadata.get("labels") or {}):
            return
        if self._names.setdefault(metadata["name"], metadata["uid"]) != metadata["uid"]:
            self._world.book.wrong(f"the Backup {metadata['name']} was made a second time")

    def _retires(self, namespace: str, name: str) -> None:
        """A newer full one stays, and nothing that stays needs it."""
        found = self._world.server.peek(BACKUP, namespace, name)
        if found is None or _status(found).get("phase") != "Completed":
            return
        staying = [
            b
            for b in self._world.server.every(BACKUP)
            if "deletionTimestamp" not in b["metadata"] and b["metadata"]["name"] != name
        ]
        newer = [
            b
            for b in staying
            if _status(b).get("phase") == "Completed"
            and _status(b)["type"] == "full"
            and _taken(b) > _taken(found)
        ]
        if not newer:
            self._world.book.wrong(f"the operator removes {name}, and no newer full one stays")
        for backup in staying:
            if _status(backup).get("parent") == _status(found)["path"]:
                self._world.book.wrong(
                    f"the operator removes {name}, which {backup['metadata']['name']} needs"
                )
