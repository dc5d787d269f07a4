"""A dump is proved by loading it into a scratch instance, and what comes in between."""

import asyncio
from typing import Final

from coffer_common import naming
from coffer_operator.kube.api import BACKUP, INSTANCE, OPERATION
from sim_stories_backups import (
    FINISHED,
    Backups,
    BackupStory,
    BackupWish,
    back_up,
    furnish,
    trouble,
    until_ended,
    verify,
)
from sim_tasks import LoadFault
from sim_user import User, Wish

_TOOL: Final = "ToolFailed"
FAULTS: Final = (
    LoadFault("BackupDamaged", "part 1 is not what was written", permanent=True, guilty=True),
    LoadFault(_TOOL, "mariadb exit 1: ERROR 1064 (42000) at line 7", permanent=False, guilty=True),
    LoadFault(_TOOL, "mariadb exit 1: ERROR 1114 (HY000) at line 7", permanent=False, guilty=False),
)


async def verify_a_dump(user: User, wish: Wish, backups: Backups) -> None:
    """It may be broken; agent and pod of the scratch instance go away while it is loaded."""
    await furnish(user, wish, backups)
    taken = back_up(user, wish, backups, strategy="MySQLDump")
    fault = user.rng.choice((None, None, None, *FAULTS))
    if fault is not None:
        instance = user.instance(wish) or {}
        path = f"{instance['metadata']['uid']}/base/{taken.uid}"
        user.world.around.bucket.faults[path] = fault
    if user.rng.random() < 0.8:
        await until_ended(user, taken, 1200)
    names = [verify(user, backups, taken) for _ in range(user.rng.choice((1, 1, 2)))]
    scratch = Wish(wish.namespace, naming.scratch_instance(taken.name))
    disturbing = asyncio.create_task(trouble(user, scratch), name="trouble of the scratch")
    if user.rng.random() < 0.5:
        disturbing.cancel()
    await user.pause(0, user.rng.choice((1, 20, 120)))
    await _take_away(user, wish, scratch, backups, taken, names[0])
    await user.pause(0, 120)
    disturbing.cancel()
    await asyncio.gather(disturbing, return_exceptions=True)


async def _take_away(
    user: User, wish: Wish, scratch: Wish, backups: Backups, taken: BackupWish, name: str
) -> None:
    """Something that it needs, or nothing."""
    match user.rng.randrange(9):
        case 0:
            user.delete(OPERATION, backups.namespace, name)
        case 1:
            user.delete(BACKUP, taken.namespace, taken.name)
            taken.end = "gone"
        case 2:
            user.delete(INSTANCE, scratch.namespace, scratch.name)
        case 3:
            user.delete_instance(wish)
            wish.end = "gone"
        case 4:
            # what was loaded is gone with it: an empty engine would be found sound, by an operator
            # that died between making the new instance and telling that it begins anew
            await user.until(lambda: _step(user, backups, name) in ("Checking", "ended"), 600)
            for life in user.world.alive():
                life.die_after(user.rng.randint(0, 12))
            user.delete(INSTANCE, scratch.namespace, scratch.name)
        case 5 if (guest := user.guest(scratch)) is not None:
            user.log("the scratch engine is killed")
            user.world.disturbed()
            guest.crash_engine()
        case _:
            pass


def _step(user: User, backups: Backups, name: str) -> str:
    """Of the Operation; `ended` once it has, or is gone."""
    found = user.world.server.peek(OPERATION, backups.namespace, name)
    status = (found or {}).get("status") or {}
    if found is None or status.get("phase") in FINISHED:
        return "ended"
    return str(status.get("step"))


DUMP_STORIES: Final[tuple[BackupStory, ...]] = (verify_a_dump, verify_a_dump)
