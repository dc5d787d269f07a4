"""What happens to instances: one story each, with pauses drawn from the seed.

A story acts as users, administrators and fate do; it leaves in its Wish what must come of it.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from coffer_common import naming
from coffer_operator.kube.api import (
    CONFIG_MAP,
    ENDPOINT_SLICE,
    INSTANCE,
    NETWORK_POLICY,
    PVC,
    ROLE,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
    Kind,
    Object,
)
from sim_apiserver import NAMESPACE
from sim_user import User, Wish
from sim_world import NODES

Story = Callable[[User, Wish], Awaitable[None]]

VOLUME_REASONS: Final = (
    "VolumeLost",
    "VolumeReplaced",
    "VolumeMismatch",
    "VolumeInUse",
    "NameTaken",
)


def _accounts(user: User) -> Object:
    """Databases and users, or none."""
    if user.rng.random() < 0.3:
        return {}
    names = user.rng.sample(("app", "shop", "blog"), user.rng.randint(1, 2))
    return {
        "databases": [{"name": name} for name in names],
        "users": [{"name": "web", "databases": names[:1]}],
    }


def _policy(user: User) -> Object:
    return {"deletionPolicy": user.rng.choice(("Retain", "Delete"))}


async def create(user: User, wish: Wish) -> None:
    user.create(wish, **_accounts(user), **_policy(user))


async def create_redis(user: User, wish: Wish) -> None:
    user.create(wish, datastore={"type": "redis", "version": "7.0"}, users=[{"name": "web"}])


async def change_accounts(user: User, wish: Wish) -> None:
    user.create(wish, **_accounts(user))
    for _ in range(user.rng.randint(1, 3)):
        await user.pause(0, 120)
        user.edit_spec(wish, **_accounts(user))


async def change_policy(user: User, wish: Wish) -> None:
    user.create(wish)
    for _ in range(user.rng.randint(1, 3)):
        await user.pause(0, 120)
        user.edit_spec(wish, **_policy(user))


async def mend_flavor(user: User, wish: Wish) -> None:
    """An unschedulable pod whose flavor is corrected starts."""
    user.create(wish, flavor="giant", **_accounts(user))
    wish.most_pods = 2
    await user.pause(0, 200)
    user.edit_spec(wish, flavor="tiny")


async def change_flavor(user: User, wish: Wish) -> None:
    """A running one needs a restart, and one is enough."""
    user.create(wish)
    wish.most_pods = 2
    await user.pause(0, 120)
    user.edit_spec(wish, flavor="small")
    await user.pause(0, 60)
    user.operate(wish, "Restart")


async def never_fits(user: User, wish: Wish) -> None:
    user.create(wish, flavor="giant")
    wish.end, wish.reasons = "unschedulable", ("Unschedulable",)


async def restart(user: User, wish: Wish) -> None:
    user.create(wish, **_accounts(user))
    for _ in range(user.rng.randint(1, 3)):
        await user.pause(0, 100)
        user.operate(wish, "Restart")


async def short_lived_operations(user: User, wish: Wish) -> None:
    user.create(wish)
    await user.pause(0, 60)
    user.operate(wish, "Restart", ttlSecondsAfterFinished=user.rng.choice((0, 30)))
    await user.pause(0, 60)
    user.operate(wish, "Restart", notAfter="2025-12-31T00:00:00Z")
    user.operate(wish, "ResetStatus")


async def orphaned_operation(user: User, wish: Wish) -> None:
    """An Operation on nothing, and an instance that is deleted under one."""
    user.operate(wish, "Restart")
    await user.pause(0, 200)
    user.create(wish)
    await user.pause(0, 60)
    user.operate(wish, "Restart")
    await user.pause(0, 3)
    user.delete_instance(wish)
    wish.end = "gone"


async def delete(user: User, wish: Wish) -> None:
    user.create(wish, **_accounts(user), **_policy(user))
    await user.pause(0, 120)
    user.delete_instance(wish)
    wish.end = "gone"


async def delete_and_create(user: User, wish: Wish) -> None:
    """Retained data are found again; deleted ones are not."""
    user.create(wish, **_policy(user))
    recorded = await user.until_recorded(wish, user.rng.uniform(0, 120))
    user.delete_instance(wish)
    await user.until_gone(INSTANCE, wish.namespace, wish.name, 60)
    await user.pause(0, 10)
    if not (recorded and wish.keeps_volume):
        wish.data_id = None
    await user.again(lambda: user.create(wish, **_policy(user)))


async def replace_by_force(user: User, wish: Wish) -> None:
    """kubectl replace --force: gone and there again within a moment, without status."""
    user.create(wish, **_accounts(user))
    recorded = await user.until_recorded(wish, 200)
    user.delete(INSTANCE, wish.namespace, wish.name)
    if not recorded:
        wish.data_id = None
    await user.again(lambda: user.create(wish))


async def lose_status(user: User, wish: Wish) -> None:
    user.create(wish, **_accounts(user))
    for _ in range(user.rng.randint(1, 2)):
        await user.pause(0, 150)
        user.drop_status(wish)


async def lose_claim(user: User, wish: Wish) -> None:
    """The data volume is deleted under a running instance."""
    user.create(wish)
    if not await user.until_recorded(wish, 300):
        return
    name = naming.data_volume(wish.name)
    wish.end, wish.reasons, wish.data_id = "error", VOLUME_REASONS, None
    user.delete(PVC, wish.namespace, name)
    await user.pause(0, 60)
    user.delete_pod(wish, force=user.rng.random() < 0.5)
    if user.rng.random() < 0.5:
        return
    await user.until_gone(PVC, wish.namespace, name, 600)
    await user.pause(0, 60)
    user.create_object(PVC, _empty_claim(wish, labelled=user.rng.random() < 0.7))


def _empty_claim(wish: Wish, *, labelled: bool) -> Object:
    labels = {
        naming.LABEL_MANAGED_BY: naming.MANAGED_BY,
        naming.LABEL_INSTANCE: wish.name,
    }
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": naming.data_volume(wish.name),
            "namespace": wish.namespace,
            "labels": labels if labelled else {},
        },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }


async def delete_pod(user: User, wish: Wish) -> None:
    user.create(wish, **_accounts(user))
    for _ in range(user.rng.randint(1, 3)):
        await user.pause(0, 60)
        user.delete_pod(wish, force=user.rng.random() < 0.5)


async def force_twice(user: User, wish: Wish) -> None:
    """The old and the new pod run side by side for a moment, again and again."""
    user.create(wish)
    await user.pause(5, 60)
    for _ in range(2):
        user.delete_pod(wish, force=True)
        await user.pause(0, 4)


async def lose_node(user: User, wish: Wish) -> None:
    user.create(wish, **_accounts(user))
    await user.pause(0, 60)
    guest = user.guest(wish)
    node = guest.pod.node if guest is not None else user.rng.choice(NODES)
    power = user.rng.random() < 0.5
    user.log(f"{node} is lost, power: {power}")
    user.world.kubelets.lose_node(node, power=power)
    await user.pause(1, 600)
    if user.rng.random() < 0.5:
        user.delete_pod(wish, force=True)
        await user.pause(0, 30)
    user.log(f"{node} is back")
    user.world.kubelets.recover_node(node)


async def crash_engine(user: User, wish: Wish) -> None:
    user.create(wish)
    for _ in range(user.rng.randint(1, 4)):
        await user.pause(0, 40)
        guest = user.guest(wish)
        if guest is not None:
            user.log(f"engine of {wish.label} killed")
            guest.crash_engine()


async def agent_away(user: User, wish: Wish) -> None:
    """The agent dies, or hangs for a minute."""
    user.create(wish, **_accounts(user))
    for _ in range(user.rng.randint(1, 3)):
        await user.pause(0, 60)
        guest = user.guest(wish)
        if guest is None:
            continue
        if user.rng.random() < 0.5:
            user.log(f"agent of {wish.label} killed")
            user.world.kubelets.kill_agent(guest)
        else:
            user.log(f"agent of {wish.label} frozen")
            guest.freeze_agent(True)
            await user.pause(1, 60)
            guest.freeze_agent(False)


async def missing_image(user: User, wish: Wish) -> None:
    image = "localhost/coffer-guest-mariadb:1"
    user.world.kubelets.bad_images.add(image)
    user.create(wish, **_accounts(user))
    await user.pause(0, 100)
    user.world.kubelets.bad_images.discard(image)


async def bad_edit(user: User, wish: Wish) -> None:
    """A running instance with an invalid spec runs on; corrected, all is well."""
    user.create(wish)
    was_there = await user.until_active(wish, 200)
    user.edit_spec(wish, flavor="unknown")
    await user.pause(0, 60)
    if not was_there or user.rng.random() < 0.7:
        user.edit_spec(wish, flavor="tiny")
    else:
        wish.end, wish.reasons = "stalled", ("UnknownFlavor",)


async def bad_from_the_start(user: User, wish: Wish) -> None:
    spec, reason = user.rng.choice(
        (
            ({"flavor": "unknown"}, "UnknownFlavor"),
            ({"datastore": {"type": "oracle"}}, "UnknownDatastore"),
            ({"datastore": {"type": "mariadb", "version": "5.1"}}, "UnknownVersion"),
            ({"volume": {"size": "100Mi"}}, "VolumeTooSmall"),
            ({"volume": {"size": "1Gi", "storageClassName": "gold"}}, "UnknownStorageClass"),
        )
    )
    user.create(wish, **spec)
    wish.end, wish.reasons = "stalled", (reason,)


async def name_taken(user: User, wish: Wish) -> None:
    """Somebody else's Service has the name; perhaps it goes away."""
    name = user.rng.choice((wish.name, naming.read_write_service(wish.name)))
    user.create_object(
        SERVICE,
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": wish.namespace},
            "spec": {"ports": [{"port": 80}], "selector": {"app": "other"}},
        },
    )
    wish.foreign = (SERVICE, name)
    await user.pause(0, 5)
    user.create(wish)
    await user.pause(30, 120)
    if user.rng.random() < 0.6:
        user.delete(SERVICE, wish.namespace, name)
        wish.foreign = None
    else:
        wish.end, wish.reasons = "stalled", ("NameTaken",)


def _children(name: str) -> list[tuple[Kind, str]]:
    """Children that an instance of this name has; all but the last are watched."""
    return [
        (SERVICE, name),
        (SERVICE, naming.read_write_service(name)),
        (SERVICE, naming.read_only_service(name)),
        (CONFIG_MAP, naming.agent_config(name)),
        (STATEFUL_SET, name),
        (ENDPOINT_SLICE, naming.read_write_slice(name)),
        (ROLE, naming.agent_config(name)),
        (SERVICE_ACCOUNT, naming.agent_config(name)),
        (NETWORK_POLICY, name),
        (SECRET, naming.agent_tls(name)),
    ]


async def meddle(user: User, wish: Wish) -> None:
    """Children are edited and deleted by hand."""
    user.create(wish, **_accounts(user))
    targets = _children(wish.name)
    for _ in range(user.rng.randint(1, 4)):
        await user.pause(0, 60)
        kind, target = user.rng.choice(targets)
        if user.rng.random() < 0.5:
            user.delete(kind, wish.namespace, target)
        else:
            label = {"metadata": {"labels": {naming.LABEL_GROUP: "meddled", "by": "hand"}}}
            user.edit(kind, wish.namespace, target, label)


async def meddle_unseen(user: User, wish: Wish) -> None:
    """Children are deleted while no watch runs, and the server forgets that they were."""
    user.create(wish)
    await user.until_active(wish, 200)
    server, faults = user.world.server, user.world.faults
    faults.api_away = True
    server.history.end_watches()
    for kind, target in user.rng.sample(_children(wish.name)[:-1], 3):
        user.delete(kind, wish.namespace, target)
    await user.pause(1, 30)
    server.history.compact()
    faults.api_away = False


async def delete_namespace(user: User, wish: Wish) -> None:
    user.create(wish, **_accounts(user), **_policy(user))
    await user.pause(0, 120)
    user.delete(NAMESPACE, None, wish.namespace)
    wish.end = "namespace-gone"


STORIES: Final[tuple[Story, ...]] = (
    create,
    create_redis,
    change_accounts,
    change_policy,
    mend_flavor,
    change_flavor,
    never_fits,
    restart,
    short_lived_operations,
    orphaned_operation,
    delete,
    delete_and_create,
    replace_by_force,
    lose_status,
    lose_claim,
    delete_pod,
    force_twice,
    lose_node,
    crash_engine,
    agent_away,
    missing_image,
    bad_edit,
    bad_from_the_start,
    name_taken,
    meddle,
    meddle_unseen,
)
