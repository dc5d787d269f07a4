"""What people do to a cluster: kubectl without faults, and what they expect of it in the end.

A Wish is what the checks hold an instance to once faults have stopped.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from coffer_common import naming
from coffer_common.errors import CofferError
from coffer_operator.kube.api import (
    CONFIGURATION_GROUP,
    DATASTORE_VERSION,
    INSTANCE,
    OPERATION,
    POD,
    PVC,
    ConflictError,
    Kind,
    NotFoundError,
    Object,
)
from sim_apiserver import Deletion, Propagation
from sim_guest import Guest
from sim_world import World

End = Literal["active", "error", "stalled", "gone", "namespace-gone", "unschedulable"]
MANAGER: Final = "kubectl"


@dataclass
class GroupWish:
    """What is to become of one ConfigurationGroup.

    `values` are those that instances have in the end. `stopped`: an engine does not take the
    group's own, and some instances have the former ones. `invalid`: its own are not valid.
    """

    namespace: str
    name: str
    end: Literal["ready", "stopped", "invalid", "gone"] = "ready"
    values: dict[str, Any] = field(default_factory=dict)
    most_at_once: int = 5

    @property
    def label(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass
class Wish:
    """What is to become of one instance."""

    namespace: str
    name: str
    end: End = "active"
    reasons: tuple[str, ...] = ()  # one of these is to be given where it is not active
    keeps_volume: bool = True  # after the end `gone`
    data_id: str | None = None  # known to have held these data, and to hold them still
    operations: list[str] = field(default_factory=list)
    most_pods: int | None = None  # that may be made in all
    foreign: tuple[Kind, str] | None = None  # somebody else's object, never to be touched
    group: GroupWish | None = None  # that it names in the end

    @property
    def label(self) -> str:
        return f"{self.namespace}/{self.name}"


class User:
    """kubectl."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self.world = world
        self.rng = rng
        self._server = world.server
        self._count = 0

    def log(self, text: str) -> None:
        self.world.book.log(f"user: {text}")

    async def pause(self, least_s: float, most_s: float) -> None:
        await asyncio.sleep(self.rng.uniform(least_s, most_s))

    def instance(self, wish: Wish) -> Object | None:
        return self._server.peek(INSTANCE, wish.namespace, wish.name)

    def create(self, wish: Wish, **spec: Any) -> None:
        self.log(f"create {wish.label} {spec}")
        self._server.create(
            INSTANCE,
            {
                "apiVersion": INSTANCE.api_version,
                "kind": INSTANCE.kind,
                "metadata": {"name": wish.name, "namespace": wish.namespace},
                "spec": {
                    "datastore": {"type": "mariadb"},
                    "flavor": "tiny",
                    "volume": {"size": "1Gi"},
                    **spec,
                },
            },
            MANAGER,
        )

    def edit(self, kind: Kind, namespace: str, name: str, patch: Object) -> bool:
        """A merge patch; False where there is nothing to patch."""
        self.log(f"edit {kind.kind} {namespace}/{name} {patch}")
        try:
            self._server.patch(kind, namespace, name, patch, manager=MANAGER)
        except NotFoundError:
            return False
        return True

    def edit_spec(self, wish: Wish, **spec: Any) -> bool:
        return self.edit(INSTANCE, wish.namespace, wish.name, {"spec": spec})

    # --- configuration ---------------------------------------------------------------------------

    def create_group(self, group: GroupWish, **values: Any) -> None:
        """A group; the wish is that its instances get these values."""
        self.log(f"create ConfigurationGroup {group.label} {values}")
        group.values = values
        self._server.create(
            CONFIGURATION_GROUP,
            {
                "apiVersion": CONFIGURATION_GROUP.api_version,
                "kind": CONFIGURATION_GROUP.kind,
                "metadata": {"name": group.name, "namespace": group.namespace},
                "spec": {
                    "datastore": {"type": "mariadb", "version": "10.11"},
                    "values": values,
                    "rollout": {"maxConcurrent": group.most_at_once},
                },
            },
            MANAGER,
        )

    def group(self, group: GroupWish) -> Object | None:
        return self._server.peek(CONFIGURATION_GROUP, group.namespace, group.name)

    def write_values(self, group: GroupWish, **values: Any) -> None:
        """The group's values are these and no others; what is wished for stays."""
        found = self.group(group)
        assert found is not None
        self.log(f"values of {group.label}: {values}")
        self._server.replace(
            CONFIGURATION_GROUP, {**found, "spec": {**found["spec"], "values": values}}, MANAGER
        )

    def set_values(self, group: GroupWish, **values: Any) -> None:
        """The group's values are these and no others, and that is the wish."""
        group.values = values
        self.write_values(group, **values)

    def attach(self, wish: Wish, group: GroupWish | None) -> None:
        wish.group = group
        reference = {"name": group.name} if group is not None else None
        self.edit_spec(wish, configurationRef=reference)

    def set_defaults(self, **values: Any) -> None:
        """The administrator gives all MariaDBs other values."""
        self.log(f"default values {values}")
        found = self._server.peek(DATASTORE_VERSION, None, "mariadb-10.11")
        assert found is not None
        self.world.defaults = values
        self._server.replace(
            DATASTORE_VERSION, {**found, "spec": {**found["spec"], "defaultValues": values}}
        )

    async def until(self, holds: Callable[[], bool], most_s: float) -> bool:
        """Wait for something; whether it came."""
        deadline = asyncio.get_running_loop().time() + most_s
        while not holds():
            if asyncio.get_running_loop().time() > deadline:
                return False
            await asyncio.sleep(0.5)
        return True

    def drop_status(self, wish: Wish) -> None:
        """What a backup tool restores: the object as it was, without status."""
        found = self.instance(wish)
        if found is not None:
            self.log(f"drop the status of {wish.label}")
            self._server.replace(INSTANCE, {k: v for k, v in found.items() if k != "status"})

    def delete(
        self,
        kind: Kind,
        namespace: str | None,
        name: str,
        propagation: Propagation = "Background",
        grace_period_s: int | None = None,
    ) -> None:
        self.log(f"delete {kind.kind} {namespace}/{name} {propagation} {grace_period_s}")
        try:
            self._server.delete(kind, namespace, name, Deletion(None, grace_period_s, propagation))
        except NotFoundError:
            return

    def delete_instance(self, wish: Wish) -> None:
        found = self.instance(wish)
        if found is not None:
            wish.keeps_volume = found["spec"].get("deletionPolicy", "Retain") == "Retain"
            propagation: Propagation = self.rng.choice(("Background", "Foreground"))
            self.delete(INSTANCE, wish.namespace, wish.name, propagation)

    def operate(self, wish: Wish, kind: str, **spec: Any) -> str:
        """A new Operation; its name."""
        self._count += 1
        name = f"{wish.name}-{kind.lower()}-{self._count}"
        self.log(f"Operation {name}")
        self._server.create(
            OPERATION,
            {
                "apiVersion": OPERATION.api_version,
                "kind": OPERATION.kind,
                "metadata": {"name": name, "namespace": wish.namespace},
                "spec": {"instanceRef": {"name": wish.name}, "type": kind, **spec},
            },
            MANAGER,
        )
        wish.operations.append(name)
        return name

    def delete_pod(self, wish: Wish, *, force: bool) -> None:
        self.delete(POD, wish.namespace, naming.pod(wish.name), grace_period_s=0 if force else None)

    def create_object(self, kind: Kind, obj: Object) -> None:
        self.log(f"create {kind.kind} {obj['metadata']['name']}")
        try:
            self._server.create(kind, obj, MANAGER)
        except ConflictError:
            return

    def guest(self, wish: Wish) -> Guest | None:
        """The guest of the instance's pod, if it runs."""
        pod = self._server.peek(POD, wish.namespace, naming.pod(wish.name))
        if pod is None:
            return None
        uid = pod["metadata"]["uid"]
        return next((g for g in self.world.kubelets.guests() if g.pod.uid == uid), None)

    async def until_recorded(self, wish: Wish, most_s: float) -> bool:
        """Wait until the operator has seen which data the volume holds."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + most_s
        while loop.time() < deadline:
            found = self.instance(wish) or {}
            data_id = (found.get("status") or {}).get("dataId")
            claim = self._server.peek(PVC, wish.namespace, naming.data_volume(wish.name)) or {}
            annotations = claim.get("metadata", {}).get("annotations") or {}
            if data_id and annotations.get(naming.ANNOTATION_DATA_ID) == data_id:
                wish.data_id = data_id
                return True
            await asyncio.sleep(1.0)
        return False

    async def until_active(self, wish: Wish, most_s: float) -> bool:
        deadline = asyncio.get_running_loop().time() + most_s
        while asyncio.get_running_loop().time() < deadline:
            status = (self.instance(wish) or {}).get("status") or {}
            if status.get("phase") == "Active":
                wish.data_id = status["dataId"]
                return True
            await asyncio.sleep(1.0)
        return False

    async def until_gone(self, kind: Kind, namespace: str, name: str, most_s: float) -> bool:
        deadline = asyncio.get_running_loop().time() + most_s
        while self._server.peek(kind, namespace, name) is not None:
            if asyncio.get_running_loop().time() > deadline:
                return False
            await asyncio.sleep(0.5)
        return True

    async def again(self, act: Any, attempts: int = 20) -> bool:
        """Try what the API server may refuse for now, such as a name that is still there."""
        for _ in range(attempts):
            try:
                act()
            except CofferError:
                await asyncio.sleep(1.0)
            else:
                return True
        return False
