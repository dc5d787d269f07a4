"""What happens to schedules: runs, retention, and users who suspend, edit, keep and delete."""

from typing import Any, Final

from coffer_common.naming import LABEL_SCHEDULE
from coffer_operator.kube.api import BACKUP, BACKUP_SCHEDULE, Object
from sim_stories_backups import Backups, BackupStory, create, furnish
from sim_user import User, Wish

SCHEDULE: Final = "clock"
NEVER: Final = "0 0 29 2 *"  # not within a run
COUNT: Final = 2


def scheduled(user: User, namespace: str) -> list[Object]:
    """The Backups that the schedule has made and that are there, the oldest first."""
    found = [
        backup
        for backup in user.world.server.every(BACKUP)
        if backup["metadata"]["namespace"] == namespace
        and (backup["metadata"].get("labels") or {}).get(LABEL_SCHEDULE) == SCHEDULE
    ]
    return sorted(found, key=lambda b: str(b["metadata"]["name"]).split("-", 2)[2])


def _edit(user: User, backups: Backups, **spec: Any) -> None:
    user.edit(BACKUP_SCHEDULE, backups.namespace, SCHEDULE, {"spec": spec})


async def back_up_by_the_clock(user: User, wish: Wish, backups: Backups) -> None:
    """For an hour or so; in the end nothing is due any more, and the rules still hold."""
    spec: Object = {
        "instanceRef": {"name": wish.name},
        "storageRef": {"name": "bucket"},
        "full": {"cron": user.rng.choice(("*/10 * * * *", "*/25 * * * *"))},
        "incremental": {"cron": "*/5 * * * *"},
        "concurrencyPolicy": user.rng.choice(("Forbid", "Queue")),
        "retention": {"count": COUNT},
    }
    if user.rng.random() < 0.3:
        spec["verify"] = {"cron": "*/15 * * * *"}
    create(user, BACKUP_SCHEDULE, backups.namespace, SCHEDULE, {"spec": spec})
    await furnish(user, wish, backups)
    for _ in range(user.rng.randint(2, 8)):
        await user.pause(60, 900)
        there = scheduled(user, backups.namespace)
        match user.rng.randrange(7):
            case 0:
                _edit(user, backups, suspend=True)
                await user.pause(0, 900)
                _edit(user, backups, suspend=False)
            case 1:
                _edit(user, backups, full={"cron": "nonsense"})
                await user.pause(0, 300)
                _edit(user, backups, full={"cron": "*/10 * * * *"})
            case 2 if there:
                name = user.rng.choice(there)["metadata"]["name"]
                user.edit(BACKUP, backups.namespace, name, {"spec": {"keep": True}})
            case 3 if there[:-2]:  # the schedule has told of it
                name = user.rng.choice(there[:-2])["metadata"]["name"]
                user.delete(BACKUP, backups.namespace, name)
            case _:
                pass
    if user.rng.random() < 0.2:
        user.delete(BACKUP_SCHEDULE, backups.namespace, SCHEDULE)
        return
    never = {"cron": NEVER}
    _edit(user, backups, full=never, incremental=never, verify=None)


SCHEDULE_STORIES: Final[tuple[BackupStory, ...]] = (back_up_by_the_clock,) * 4
