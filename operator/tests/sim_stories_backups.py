"""What happens to backups: a storage, an instance, backups of it, and what becomes of them."""

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from coffer_common import naming
from coffer_operator.kube.api import (
    BACKUP,
    BACKUP_STORAGE,
    INSTANCE,
    OPERATION,
    SECRET,
    Kind,
    Object,
)
from sim_apiserver import NAMESPACE
from sim_user import MANAGER, User, Wish

BACKUP_SHARE: Final = 0.2  # of the runs are about backups
FINISHED: Final = ("Completed", "Failed")
PASSWORD: Final = "s3-secret-of-the-simulation"
_KEY: Final = base64.b64encode(bytes(32)).decode()


@dataclass
class BackupWish:
    """What is to become of one Backup. `objects`: whether they stay.

    `ended`: either way; `refused`: it was never taken.
    """

    namespace: str
    name: str
    end: Literal["ended", "refused", "gone"] = "ended"
    uid: str = ""
    objects: bool | None = None  # None: either way

    @property
    def label(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass
class Load:
    """An Operation that loads a dump, and what is known to be wrong with what it asks for."""

    name: str
    wish: Wish
    backup: BackupWish
    unknown: bool = False  # a database that the dump does not hold


@dataclass
class Backups:
    """The backups of a story, and the instance that is made of one of them."""

    namespace: str
    wishes: list[BackupWish]
    restored: list[tuple[Wish, str]]  # instance and the path that it is to come from
    verifications: list[str] = field(default_factory=list)  # Operations that end, or go
    loads: list[Load] = field(default_factory=list)


BackupStory = Callable[[User, Wish, Backups], Awaitable[None]]


def _encoded(**entries: str) -> dict[str, str]:
    return {key: base64.b64encode(value.encode()).decode() for key, value in entries.items()}


def create(user: User, kind: Kind, namespace: str, name: str, content: Object) -> Object:
    user.log(f"create {kind.kind} {namespace}/{name}")
    return user.world.server.create(
        kind,
        {
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            "metadata": {"name": name, "namespace": namespace},
            **content,
        },
        MANAGER,
    )


def make_secrets(user: User, namespace: str) -> None:
    credentials = _encoded(accessKeyId="id", secretAccessKey=PASSWORD)
    create(user, SECRET, namespace, "s3", {"data": credentials})
    create(user, SECRET, namespace, "keys", {"data": _encoded(current="k1", k1=_KEY)})


def make_storage(user: User, namespace: str) -> None:
    spec = {
        "s3": {"bucket": "backups", "credentialsSecretRef": {"name": "s3"}},
        "encryption": {"keySecretRef": {"name": "keys"}},
    }
    create(user, BACKUP_STORAGE, namespace, "bucket", {"spec": spec})


def back_up(user: User, wish: Wish, backups: Backups, **spec: Any) -> BackupWish:
    """A new Backup."""
    name = f"{wish.name}-{len(backups.wishes)}"
    plain = {"instanceRef": {"name": wish.name}, "storageRef": {"name": "bucket"}}
    made = create(user, BACKUP, wish.namespace, name, {"spec": plain | spec})
    found = BackupWish(wish.namespace, name, uid=made["metadata"]["uid"])
    backups.wishes.append(found)
    return found


def status_of(user: User, wish: BackupWish) -> Object:
    found = user.world.server.peek(BACKUP, wish.namespace, wish.name) or {}
    return dict(found.get("status") or {})


async def until_ended(user: User, wish: BackupWish, most_s: float) -> bool:
    return await user.until(lambda: status_of(user, wish).get("phase") in FINISHED, most_s)


async def furnish(user: User, wish: Wish, backups: Backups) -> None:
    """Storage, Secrets and instance, in any order."""

    def instance() -> None:
        user.create(wish)

    steps: list[Callable[[], None]] = [
        lambda: make_secrets(user, backups.namespace),
        lambda: make_storage(user, backups.namespace),
        instance,
    ]
    user.rng.shuffle(steps)
    for step in steps:
        step()
        await user.pause(0, user.rng.choice((0, 0, 60)))


async def trouble(user: User, wish: Wish) -> None:
    """Agents, pods and the bucket go away, again and again, until cancelled."""
    bucket = user.world.around.bucket
    while True:
        await user.pause(1, 120)
        guest = user.guest(wish)
        match user.rng.randrange(5):
            case 0 if guest is not None:
                user.log(f"the agent of {wish.label} dies")
                user.world.disturbed()
                user.world.kubelets.kill_agent(guest)
            case 1 if guest is not None:
                user.world.disturbed()
                user.delete_pod(wish, force=user.rng.random() < 0.3)
            case 2:
                user.log("the bucket is away")
                bucket.away = True
                await user.pause(1, 90)
                bucket.away = False
            case _:
                bucket.failing = user.rng.choice((0.0, 0.0, 0.1))


async def take_several(user: User, wish: Wish, backups: Backups) -> None:
    """They come one after the other, increments on what there is."""
    await furnish(user, wish, backups)
    for _ in range(user.rng.randint(1, 4)):
        back_up(user, wish, backups, type=user.rng.choice(("full", "incremental")))
        await user.pause(0, user.rng.choice((0, 5, 120)))


async def take_by_a_wrong_strategy(user: User, wish: Wish, backups: Backups) -> None:
    """The operator refuses it, or the agent does where it has not told what it offers."""
    await furnish(user, wish, backups)
    for strategy in ("RedisBackup", "MySQLDump", "MariaBackUp"):
        taken = back_up(user, wish, backups, strategy=strategy)
        if strategy != "MySQLDump":
            taken.end = "refused"
        await user.pause(0, user.rng.choice((0, 5, 120)))


async def take_and_restore(user: User, wish: Wish, backups: Backups) -> None:
    """A new instance comes from the last one; its Backup may go meanwhile."""
    await furnish(user, wish, backups)
    taken = back_up(user, wish, backups)
    await until_ended(user, taken, 1200)
    status = status_of(user, taken)
    if status.get("phase") != "Completed":
        return
    copy = Wish(wish.namespace, f"{wish.name}-copy")
    user.create(copy, restoreFrom={"backupRef": {"name": taken.name}})
    backups.restored.append((copy, status["path"]))
    await user.pause(0, 60)
    if user.rng.random() < 0.3:
        user.drop_status(copy)


async def restore_before_it_is_there(user: User, wish: Wish, backups: Backups) -> None:
    """An instance waits for a Backup that is made after it."""
    copy = Wish(wish.namespace, f"{wish.name}-copy")
    user.create(copy, restoreFrom={"backupRef": {"name": f"{wish.name}-0"}})
    await user.pause(0, 60)
    await furnish(user, wish, backups)
    taken = back_up(user, wish, backups)
    await until_ended(user, taken, 1200)
    status = status_of(user, taken)
    if status.get("phase") == "Completed":
        backups.restored.append((copy, status["path"]))
    else:
        user.delete_instance(copy)


async def delete_some(user: User, wish: Wish, backups: Backups) -> None:
    """Whatever they are at: the objects go with them, or stay where that is asked for."""
    await take_several(user, wish, backups)
    for taken in list(backups.wishes):
        await user.pause(0, user.rng.choice((0, 60)))
        retain = user.rng.random() < 0.3
        if retain:
            patch = {"spec": {"deletionPolicy": "Retain"}}
            user.edit(BACKUP, taken.namespace, taken.name, patch)
        was_there = status_of(user, taken).get("phase") == "Completed"
        user.delete(BACKUP, taken.namespace, taken.name)
        taken.end = "gone"
        taken.objects = (True if was_there else None) if retain else False


def verify(user: User, backups: Backups, taken: BackupWish) -> str:
    """A new Operation."""
    name = f"verify-{len(backups.verifications)}"
    spec = {"type": "VerifyBackup", "backupRef": {"name": taken.name}}
    create(user, OPERATION, backups.namespace, name, {"spec": spec})
    backups.verifications.append(name)
    return name


async def take_and_verify(user: User, wish: Wish, backups: Backups) -> None:
    """One or two at once, and what they need may be taken away."""
    await furnish(user, wish, backups)
    taken = back_up(user, wish, backups)
    if user.rng.random() < 0.7:
        await until_ended(user, taken, 1200)
    names = [verify(user, backups, taken) for _ in range(user.rng.choice((1, 1, 2)))]
    await user.pause(0, user.rng.choice((1, 20, 120)))
    match user.rng.randrange(6):
        case 0:
            user.delete(OPERATION, backups.namespace, names[0])
        case 1:
            user.delete(BACKUP, taken.namespace, taken.name)
            taken.end = "gone"
        case 2:
            user.delete(INSTANCE, backups.namespace, naming.scratch_instance(taken.name))
        case 3:
            user.delete_instance(wish)
            wish.end = "gone"
        case _:
            pass


def load(user: User, wish: Wish, backups: Backups, taken: BackupWish) -> Load:
    """A new Operation."""
    name = f"load-{len(backups.loads)}"
    databases = user.rng.choice(((), (), ("one",), ("three",)))
    spec = {
        "type": "RestoreDatabases",
        "instanceRef": {"name": wish.name},
        "backupRef": {"name": taken.name},
        "databases": list(databases),
    }
    create(user, OPERATION, backups.namespace, name, {"spec": spec})
    found = Load(name, wish, taken, unknown="three" in databases)
    backups.loads.append(found)
    return found


async def load_a_dump(user: User, wish: Wish, backups: Backups) -> None:
    """One or two, and what they are loaded into or from may be taken away in the middle."""
    await furnish(user, wish, backups)
    taken = back_up(user, wish, backups, strategy="MySQLDump")
    if user.rng.random() < 0.8:
        await until_ended(user, taken, 1200)
    loads = [load(user, wish, backups, taken) for _ in range(user.rng.choice((1, 1, 2)))]
    await user.pause(0, user.rng.choice((1, 20, 60)))
    match user.rng.randrange(7):
        case 0:
            user.delete(OPERATION, backups.namespace, loads[0].name)
        case 1:
            user.delete(BACKUP, taken.namespace, taken.name)
            taken.end = "gone"
        case 2:
            user.delete_instance(wish)
            wish.end = "gone"
        case 3 if (guest := user.guest(wish)) is not None:
            user.log(f"the agent of {wish.label} dies while it loads")
            user.world.disturbed()
            user.world.kubelets.kill_agent(guest)
        case 4:
            user.world.disturbed()
            user.delete_pod(wish, force=user.rng.random() < 0.5)
        case _:
            pass


async def lose_the_instance(user: User, wish: Wish, backups: Backups) -> None:
    """Its backups stay usable."""
    await furnish(user, wish, backups)
    back_up(user, wish, backups)
    await user.pause(0, 120)
    user.delete_instance(wish)
    wish.end = "gone"


async def lose_the_storage(user: User, wish: Wish, backups: Backups) -> None:
    """With the storage, or its Secrets, gone the Backups go and the objects stay."""
    await furnish(user, wish, backups)
    taken = back_up(user, wish, backups)
    await until_ended(user, taken, 1200)
    was_there = status_of(user, taken).get("phase") == "Completed"
    if user.rng.random() < 0.5:
        user.delete(BACKUP_STORAGE, backups.namespace, "bucket")
    else:
        user.delete(SECRET, backups.namespace, "keys")
    await user.pause(0, 30)
    user.delete(BACKUP, taken.namespace, taken.name)
    taken.end, taken.objects = "gone", True if was_there else None


async def lose_the_namespace(user: User, wish: Wish, backups: Backups) -> None:
    """Nothing hangs, and the objects stay."""
    await furnish(user, wish, backups)
    taken = back_up(user, wish, backups)
    await user.pause(0, 600)
    user.delete(NAMESPACE, None, backups.namespace)
    wish.end, taken.end = "namespace-gone", "gone"


STORIES: Final[tuple[BackupStory, ...]] = (
    take_several,
    take_by_a_wrong_strategy,
    take_and_restore,
    take_and_restore,
    restore_before_it_is_there,
    take_and_verify,
    take_and_verify,
    load_a_dump,
    load_a_dump,
    delete_some,
    lose_the_instance,
    lose_the_storage,
    lose_the_namespace,
)
