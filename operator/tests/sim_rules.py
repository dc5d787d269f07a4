"""What must hold of a whole run, at every moment of it.

Reads the simulated cluster, changes nothing; what is wrong goes into the book.
"""

import asyncio
import json
from collections import Counter
from typing import Final

from coffer_common import naming
from coffer_common.wire import ConfigurationRequest, EngineState
from coffer_operator.kube.api import (
    CONFIGURATION_GROUP,
    ENDPOINT_SLICE,
    INSTANCE,
    LEASE,
    OPERATION,
    POD,
    SECRET,
    Key,
    Kind,
    Object,
)
from sim_guest import Guest
from sim_stories_backups import PASSWORD
from sim_user import Wish
from sim_watch import Change
from sim_world import Life, World

MINUTE_S: Final = 60.0
CALM_S: Final = 15.0  # without any disturbance, after which waves are counted
# looked at every few minutes, since they are not watched
SECRETS_OF_STORAGES: Final = frozenset({"get Secret team-d/s3", "get Secret team-d/keys"})
MOST_PER_MINUTE: Final = 600  # requests of all operators: four instances, edited ten times


class Rules:
    """Listens to the store for as long as the run lasts."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._recorded: dict[str, str] = {}  # data id by the instance's uid
        self._layouts_seen = 0
        self._pods: Counter[tuple[str, str]] = Counter()  # made, by namespace and name
        self._operations: set[str] = set()  # uids of all that ever were
        self._by_itself: list[str] = []  # Operations that Coffer made where it must not
        self.changes = 0  # of anything but Leases
        world.server.listeners.append(self._heard)
        world.putting = self._puts

    def _heard(self, kind: Kind, change: Change) -> None:
        self.changes += kind != LEASE
        self._no_second_layout()
        metadata = change.shown["metadata"]
        if kind == INSTANCE and change.after is not None:
            data_id = (change.after.get("status") or {}).get("dataId")
            if data_id is not None:
                self._recorded.setdefault(metadata["uid"], data_id)
        elif kind == OPERATION:
            self._operations.add(metadata["uid"])
            if change.before is None and "-auto-" in metadata["name"] and change.after:
                self._was_asked_for(change.after)
        elif kind == POD and change.before is None:
            self._pods[metadata["namespace"], metadata["name"]] += 1
        elif kind == ENDPOINT_SLICE and change.before is not None and change.after is not None:
            self._keeps_the_living(change.before, change.after)

    def _no_second_layout(self) -> None:
        """Once the API says which data an instance has, no others are laid out for it."""
        layouts = self._world.around.layouts
        for instance_uid, _, seconds in layouts[self._layouts_seen :]:
            if instance_uid in self._recorded:
                self._world.book.wrong(
                    f"at {seconds:.1f} s an empty database was made for {instance_uid}, which "
                    f"had the data {self._recorded[instance_uid][:6]}"
                )
        self._layouts_seen = len(layouts)

    def _keeps_the_living(self, before: Object, after: Object) -> None:
        """A pod that serves and is to stay is not taken out of -rw."""
        told = {a for endpoint in after.get("endpoints") or () for a in endpoint["addresses"]}
        for endpoint in before.get("endpoints") or ():
            uid = endpoint.get("targetRef", {}).get("uid")
            for guest in self._world.kubelets.guests():
                here = guest.pod.uid == uid and guest.pod.ip in endpoint["addresses"]
                if here and guest.pod.ip not in told and self._serves(guest):
                    self._world.book.wrong(
                        f"{guest.pod.name} ({guest.pod.ip}) serves and was taken out of -rw, "
                        f"which leads to {sorted(told)} now"
                    )

    def _serves(self, guest: Guest) -> bool:
        """Whether a guest serves and its pod is to stay."""
        pod = self._world.server.peek(POD, guest.pod.namespace, guest.pod.name)
        stays = (
            pod is not None
            and pod["metadata"]["uid"] == guest.pod.uid
            and "deletionTimestamp" not in pod["metadata"]
        )
        reachable = self._world.kubelets.connected(guest.pod.node)
        return stays and reachable and guest.answers() and guest.engine is EngineState.RUNNING

    def too_many_pods(self, wishes: list[Wish]) -> list[str]:
        """Pods made beyond what a story needs."""
        return [
            f"{wish.label}: {made} pods were made, {wish.most_pods} are enough"
            for wish in wishes
            if wish.most_pods is not None
            and (made := self._pods[wish.namespace, naming.pod(wish.name)]) > wish.most_pods
        ]

    def _was_asked_for(self, operation: Object) -> None:
        """Coffer restarts by itself only where the instance says so and something waits for it."""
        namespace = operation["metadata"]["namespace"]
        name = operation["spec"]["instanceRef"]["name"]
        instance = self._world.server.peek(INSTANCE, namespace, name)
        asked = ((instance or {}).get("spec", {}).get("maintenance") or {}).get("autoRestart")
        if instance is not None and not asked:
            self._by_itself.append(f"Operation {operation['metadata']['name']} was not asked for")

    def unasked_operations(self) -> list[str]:
        return self._by_itself

    def _puts(self, life: Life, guest: Guest, request: ConfigurationRequest) -> None:
        """No more instances are at work on the same values than the group lets.

        Counted are those that this life of the operator has heard of, and knows to be reachable,
        for a while: whom it cannot reach holds no place. Those whose plans fail hold none for the
        others, and count among themselves.
        """
        if guest.configuration is None or guest.configuration.disk.request == request:
            return
        most = self._most_at_once(guest.pod.namespace, request.group)
        at_work = [
            other.pod.name
            for other in self._world.kubelets.guests()
            if other is not guest
            and other.configuration is not None
            and other.configuration.disk.request is not None
            and other.configuration.disk.request.hash == request.hash
            and (request.group is None or other.pod.namespace == guest.pod.namespace)
            and other.configuration.in_progress()
            and self._is_known(life, other)
            and self._is_failing(life, other) == self._is_failing(life, guest)
        ]
        if len(at_work) >= most and self._world.calm_for_s() > CALM_S:
            self._world.book.wrong(f"{guest.pod.name} gets values while {at_work} have not done")

    def _most_at_once(self, namespace: str, group: str | None) -> int:
        if group is None:
            return 5
        found = self._world.server.peek(CONFIGURATION_GROUP, namespace, group)
        return int(found["spec"]["rollout"]["maxConcurrent"]) if found is not None else 5

    @staticmethod
    def _is_known(life: Life, guest: Guest) -> bool:
        key = Key(guest.pod.namespace, guest.config.instance)
        fact = life.engine.agents.fact(key)
        return fact is not None and fact.error is None

    @staticmethod
    def _is_failing(life: Life, guest: Guest) -> bool:
        key = Key(guest.pod.namespace, guest.config.instance)
        return life.engine.cache.memory(key).failure is not None

    def unasked_restarts(self) -> list[str]:
        """Restarts of engines that no Operation asked for, or more than one for the same."""
        tokens = Counter(token for disk in self._world.disks.all for token in disk.tokens)
        return [
            f"{count} restarts for {token!r}"
            for token, count in tokens.items()
            if count > 1 or token not in self._operations
        ]

    def too_many_requests(self) -> list[str]:
        """Minutes with more requests than any work can need: a loop without a pause."""
        counts = Counter(int(seconds / MINUTE_S) for seconds, _ in self._world.book.requests)
        return [
            f"{count} requests in minute {minute}"
            for minute, count in sorted(counts.items())
            if count > MOST_PER_MINUTE
        ]

    async def asked_while_idle(self, wishes: list[Wish], seconds: float, probes: int) -> list[str]:
        """Requests and changes within so many seconds in which nothing changes.

        Except whether a foreign object still has a name: what is not ours is not watched, so
        there may be `probes` requests about each such instance.
        """
        since, changes = asyncio.get_running_loop().time(), self.changes
        await asyncio.sleep(seconds)
        blocked = [wish.label for wish in wishes if "NameTaken" in wish.reasons]
        asked = self._world.requests_since(since)
        asked = [text for text in asked if text not in SECRETS_OF_STORAGES]
        allowed = [text for text in asked if any(label in text for label in blocked)]
        wrong = [f"asked while nothing changed: {t}" for t in asked if t not in allowed][:10]
        if len(allowed) > probes * len(blocked):
            wrong.append(f"{len(allowed)} requests about names that others have")
        if self.changes > changes + len(allowed):
            wrong.append(f"{self.changes - changes} objects changed in the end")
        return wrong


def leaked_passwords(world: World) -> list[str]:
    """Objects other than Secrets, and lines of the log, in which a password stands."""
    passwords = [PASSWORD, *(p for disk in world.disks.all for p in disk.users.values())]
    found = []
    for kind, obj in world.server.everything():
        if kind != SECRET:
            text = json.dumps(obj)
            found += [
                f"a password stands in {kind.kind} {obj['metadata']['name']}"
                for password in passwords
                if password in text
            ]
    lines = "\n".join(world.book.lines)
    return found + ["a password stands in the log" for p in passwords if p in lines]
