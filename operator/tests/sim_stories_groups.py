"""What happens to ConfigurationGroups and the instances that share one.

As the stories of `sim_stories`: users, administrators and fate act, and the wishes say what must
come of it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from coffer_common import naming
from coffer_operator.kube.api import CONFIGURATION_GROUP, PVC, Object
from sim_checks_configuration import configuration_of
from sim_configuration import DEADLY, DYNAMIC, DYNAMIC_TOO, REFUSED
from sim_user import GroupWish, User, Wish

GroupStory = Callable[[User, GroupWish, Sequence[Wish]], Awaitable[None]]

_OPEN: Final[Object] = {"window": {"start": "00:00", "duration": "24h"}, "autoRestart": True}


def _values(user: User, *, static: bool = False) -> dict[str, Any]:
    """Some values; what is left out returns to the template's."""
    rng = user.rng
    found: dict[str, Any] = {}
    if rng.random() < 0.8:
        found[DYNAMIC] = rng.randint(20, 90)
    if rng.random() < 0.6:
        found[DYNAMIC_TOO] = rng.randint(10, 90)
    if static and rng.random() < 0.7:
        found["back_log"] = rng.randint(10, 90)
    if static and rng.random() < 0.4:
        found["port"] = rng.choice((3307, 3308))
    return found


def _furnish(user: User, group: GroupWish, wishes: Sequence[Wish], **spec: Any) -> None:
    """A group, and instances that name it from the start, as most do."""
    group.most_at_once = user.rng.choice((1, 2, 5))
    first = user.rng.random() < 0.7
    if first:
        user.create_group(group, **_values(user))
    for wish in wishes:
        wish.group = group
        user.create(wish, configurationRef={"name": group.name}, **spec)
    if not first:
        user.create_group(group, **_values(user))


async def _edit(user: User, group: GroupWish, *, static: bool = False) -> None:
    """One edit, or several within a moment."""
    for _ in range(user.rng.choice((1, 1, 2, 10))):
        user.set_values(group, **_values(user, static=static))
        await user.pause(0, 0.2)


async def edit_quickly(user: User, group: GroupWish, wishes: Sequence[Wish]) -> None:
    _furnish(user, group, wishes)
    for _ in range(user.rng.randint(1, 4)):
        await user.pause(0, 60)
        await _edit(user, group)


async def attach_and_detach(user: User, group: GroupWish, wishes: Sequence[Wish]) -> None:
    """Racing with edits, and never a mixture of two."""
    user.create_group(group, **_values(user))
    for wish in wishes:
        user.create(wish)
    for _ in range(user.rng.randint(2, 8)):
        await user.pause(0, user.rng.choice((0.5, 30)))
        wish = user.rng.choice(wishes)
        user.attach(wish, group if wish.group is None else None)
        if user.rng.random() < 0.4:
            await _edit(user, group)


async def restart_for_values(user: User, group: GroupWish, wishes: Sequence[Wish]) -> None:
    """Values that need a restart: asked for, in a window, or not at all."""
    by_itself = user.rng.random() < 0.5
    _furnish(user, group, wishes, **({"maintenance": _OPEN} if by_itself else {}))
    for _ in range(user.rng.randint(1, 2)):
        await user.pause(0, 90)
        await _edit(user, group, static=True)
    for wish in wishes:
        if not by_itself and user.rng.random() < 0.7:
            await user.pause(0, 20)
            user.operate(wish, "Restart")


async def refuse(user: User, group: GroupWish, wishes: Sequence[Wish]) -> None:
    """Some engines do not take a value; the rollout stops, or is mended in one of two ways."""
    _furnish(user, group, wishes)
    await user.pause(0, 60)
    picky = user.rng.sample(list(wishes), user.rng.randint(1, len(wishes)))
    for wish in picky:
        user.world.around.picky.add((wish.namespace, wish.name))
    user.set_values(group, **{DYNAMIC: REFUSED})
    group.end = "stopped"
    await _until_failed(user, picky, 300)
    await user.pause(0, 60)
    fate = user.rng.random()
    if fate < 0.4:
        group.end = "ready"
        user.set_values(group, **_values(user))
    elif fate < 0.7:
        await _try_again(user, group, picky)


async def _try_again(user: User, group: GroupWish, picky: Sequence[Wish]) -> None:
    """The cause is mended, and those that refused are told so."""
    for wish in picky:
        user.world.around.picky.discard((wish.namespace, wish.name))
    group.end = "ready"
    for wish in picky:
        for _ in range(20):
            if not _failed(user, wish):
                break
            user.operate(wish, "ResetStatus")
            await user.until(lambda wish=wish: not _failed(user, wish), 150)  # type: ignore[misc]


async def do_not_start(user: User, group: GroupWish, wishes: Sequence[Wish]) -> None:
    """Values with which no engine starts are rolled back where one was restarted with them."""
    _furnish(user, group, wishes)
    for wish in wishes:
        await user.until_active(wish, 200)
    user.set_values(group, back_log=DEADLY)
    group.end = "stopped"
    tried = user.rng.sample(list(wishes), user.rng.randint(1, len(wishes)))
    for wish in tried:
        await user.until(lambda wish=wish: _waits(user, wish), 120)  # type: ignore[misc]
        user.operate(wish, "Restart")
    await _until_failed(user, tried, 600)
    if user.rng.random() < 0.6 or not any(_failed(user, wish) for wish in wishes):
        await user.pause(0, 60)
        group.end = "ready"
        user.set_values(group, **_values(user))


def _waits(user: User, wish: Wish) -> bool:
    found = configuration_of(user.world, wish)
    return found is not None and bool(found.status().pending_restart)


def _failed(user: User, wish: Wish) -> bool:
    """What is on the disk says so, whatever becomes of the pod."""
    claim = user.world.server.peek(PVC, wish.namespace, naming.data_volume(wish.name))
    disk = user.world.disks.of(claim["metadata"]["uid"]) if claim is not None else None
    kept = disk.configuration if disk is not None else None
    return kept is not None and kept.rejected is not None


async def _until_failed(user: User, wishes: Sequence[Wish], most_s: float) -> None:
    await user.until(lambda: any(_failed(user, wish) for wish in wishes), most_s)


async def invalid(user: User, group: GroupWish, wishes: Sequence[Wish]) -> None:
    """With the webhook off: the last valid values run on."""
    _furnish(user, group, wishes)
    await user.pause(0, 60)

    def recorded() -> bool:
        status = (user.group(group) or {}).get("status") or {}
        history = status.get("history") or [{}]
        return bool(status) and history[0].get("values", {}) == group.values

    if not await user.until(recorded, 300):
        return
    wrong = user.rng.choice(({"max_conections": 5}, {DYNAMIC: "many"}, {"datadir": "/"}))
    user.write_values(group, **wrong)
    group.end = "invalid"
    await user.pause(0, 60)
    if user.rng.random() < 0.6:
        group.end = "ready"
        user.set_values(group, **_values(user))


async def lose_group(user: User, group: GroupWish, wishes: Sequence[Wish]) -> None:
    """The group is deleted all the same: what runs keeps its values; perhaps it comes back."""
    _furnish(user, group, wishes)
    for wish in wishes:
        if not await user.until_active(wish, 300):
            return
    user.delete(CONFIGURATION_GROUP, group.namespace, group.name)
    group.end = "gone"
    for wish in wishes:
        wish.end, wish.reasons = "stalled", ("ConfigurationNotFound",)
    await user.pause(0, 60)
    if user.rng.random() < 0.6:
        group.end = "ready"
        user.create_group(group, **_values(user))
        for wish in wishes:
            wish.end = "active"


async def drift(user: User, group: GroupWish, wishes: Sequence[Wish]) -> None:
    """Values are changed by hand inside the engines."""
    _furnish(user, group, wishes)
    for _ in range(user.rng.randint(1, 4)):
        await user.pause(0, 60)
        guest = user.guest(user.rng.choice(wishes))
        if guest is not None:
            guest.meddle(user.rng.randint(200, 300))
        if user.rng.random() < 0.4:
            await _edit(user, group)


async def change_defaults(user: User, group: GroupWish, wishes: Sequence[Wish]) -> None:
    """The administrator gives all MariaDBs other values, with and without a group."""
    user.create_group(group, **_values(user))
    for wish in wishes:
        wish.group = user.rng.choice((None, None, group))
        reference = {"configurationRef": {"name": group.name}} if wish.group else {}
        user.create(wish, **reference)
    for _ in range(user.rng.randint(1, 3)):
        await user.pause(0, 60)
        user.set_defaults(**_values(user))
        if user.rng.random() < 0.4:
            await _edit(user, group)


GROUP_STORIES: Final[tuple[GroupStory, ...]] = (
    edit_quickly,
    attach_and_detach,
    restart_for_values,
    refuse,
    do_not_start,
    invalid,
    lose_group,
    drift,
    change_defaults,
)


async def disturb(user: User, wishes: Sequence[Wish]) -> None:
    """Agents, engines, pods and nodes fail while all that goes on."""
    while True:
        await user.pause(0, 60)
        guest = user.guest(user.rng.choice(wishes))
        if guest is None:
            continue
        fate = user.rng.random()
        user.world.disturbed()
        user.log(f"disturbs {guest.pod.name}: {fate:.2f}")
        if fate < 0.3:
            user.world.kubelets.kill_agent(guest)
        elif fate < 0.55:
            guest.freeze_agent(True)
            try:
                await user.pause(1, 60)
            finally:
                guest.freeze_agent(False)
                user.world.disturbed()
        elif fate < 0.75:
            guest.crash_engine()
        elif fate < 0.9:
            user.delete_pod(user.rng.choice(wishes), force=user.rng.random() < 0.3)
        else:
            user.world.kubelets.lose_node(guest.pod.node, power=user.rng.random() < 0.5)
            await asyncio.sleep(user.rng.uniform(5, 300))
            user.world.kubelets.recover_node(guest.pod.node)
            user.world.disturbed()
