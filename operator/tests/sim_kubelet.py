"""The kubelets of all nodes: run pods, report them, end them.

Each pod is a small machine moved by timers. A node that is cut off or has lost power reports
nothing; what its pods do meanwhile is the difference between the two.
"""

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from coffer_common import naming
from coffer_common.wire import GuestConfig
from coffer_operator.kube.api import (
    CONFIG_MAP,
    POD,
    PVC,
    SECRET,
    SERVICE_ACCOUNT,
    ConflictError,
    Kind,
    NotFoundError,
    Object,
)
from sim_apiserver import ApiServer, Deletion
from sim_control import NodeLifecycle, claims_of
from sim_disks import Disks
from sim_guest import Guest
from sim_slices import PodIdentity
from sim_surroundings import Surroundings
from sim_watch import Change
from sim_workers import is_worker

_RESTART_S: Final = 1.0  # of a container that died
_NOTICE_S: Final = 1.5  # until a pod that was removed by force is noticed


@dataclass
class _Run:
    """One pod on its node."""

    uid: str
    namespace: str
    name: str
    node: str
    guest: Guest | None = None
    database_started: bool = False
    guest_restarts: int = 0
    waiting: str = "ContainerCreating"
    waiting_message: str = ""
    ending: bool = False
    ip: str | None = None


@dataclass
class Node:
    """A node's state that the API does not show."""

    name: str
    powered: bool = True
    connected: bool = True


class Kubelets:
    """All of them in one, since only their timing matters."""

    def __init__(
        self,
        server: ApiServer,
        disks: Disks,
        around: Surroundings,
        lifecycle: NodeLifecycle,
        rng: random.Random,
    ) -> None:
        self._server = server
        self._disks = disks
        self._around = around
        self._lifecycle = lifecycle
        self._rng = rng
        self._runs: dict[str, _Run] = {}
        self._addresses: set[str] = set()
        self.nodes: dict[str, Node] = {}
        self.bad_images: set[str] = set()
        server.listeners.append(self._heard)

    # --- what others ask -------------------------------------------------------------------------

    def guests(self) -> list[Guest]:
        """Guests of pods that run, in the order of their start."""
        return [run.guest for run in self._runs.values() if run.guest is not None]

    def guest_at(self, ip: str) -> Guest | None:
        """Whoever has this address now."""
        return next((guest for guest in self.guests() if guest.pod.ip == ip), None)

    def connected(self, node: str) -> bool:
        found = self.nodes[node]
        return found.powered and found.connected

    def lose_node(self, name: str, *, power: bool) -> None:
        """The node is cut off; with `power`, everything in it ends."""
        node = self.nodes[name]
        node.connected = False
        if power:
            node.powered = False
            for run in list(self._runs.values()):
                if run.node == name:
                    self._end(run)
        self._lifecycle.lost(name)

    def recover_node(self, name: str) -> None:
        """The node is back; its pods are looked at anew."""
        node = self.nodes[name]
        node.connected = node.powered = True
        self._lifecycle.back(name)
        for run in list(self._runs.values()):
            if run.node == name:
                self._later(0.5, self._sync, run)
        for pod in self._server.every(POD):
            known = pod["metadata"]["uid"] in self._runs or is_worker(pod)
            if pod["spec"].get("nodeName") == name and not known:
                self._saw(pod)

    def kill_agent(self, guest: Guest) -> None:
        """The agent's container dies and is started again."""
        run = self._runs.get(guest.pod.uid)
        if run is not None and guest.agent_up:
            guest.kill_agent()
            run.guest_restarts += 1
            self._later(_RESTART_S * run.guest_restarts, self._start_agent, run)
            self._report(run)

    # --- pods ------------------------------------------------------------------------------------

    def _later(self, delay_s: float, act: Callable[..., None], *args: Any) -> None:
        asyncio.get_running_loop().call_later(delay_s, act, *args)

    def _heard(self, kind: Kind, change: Change) -> None:
        if kind == POD and is_worker(change.shown):
            return  # see sim_workers
        if kind == POD:
            if change.after is None:
                run = self._runs.get(change.shown["metadata"]["uid"])
                if run is not None:
                    self._later(_NOTICE_S, self._sync, run)
            elif "nodeName" in change.after["spec"]:
                self._saw(change.after)
        elif kind == CONFIG_MAP and change.after is not None:
            metadata = change.after["metadata"]
            for run in list(self._runs.values()):
                if naming.agent_config(run.name.removesuffix("-0")) == metadata["name"]:
                    self._later(self._rng.uniform(1.0, 60.0), self._remount, run)

    def _saw(self, pod: Object) -> None:
        metadata = pod["metadata"]
        run = self._runs.get(metadata["uid"])
        node = pod["spec"]["nodeName"]
        if run is None and "deletionTimestamp" not in metadata and self.nodes[node].powered:
            run = _Run(metadata["uid"], metadata["namespace"], metadata["name"], node)
            self._runs[run.uid] = run
            self._later(self._rng.uniform(0.05, 0.5), self._create, run)
        if "deletionTimestamp" in metadata:
            if run is None:
                self._later(
                    0.5, self._finish, metadata["namespace"], metadata["name"], metadata["uid"]
                )
            elif not run.ending:
                self._later(0.1, self._sync, run)

    def _is_on(self, run: _Run) -> bool:
        """Whether it goes on; a pod that survived the loss of its node has a new run."""
        return self._runs.get(run.uid) is run

    def _pod(self, run: _Run) -> Object | None:
        pod = self._server.peek(POD, run.namespace, run.name)
        return pod if pod is not None and pod["metadata"]["uid"] == run.uid else None

    def _sync(self, run: _Run) -> None:
        """Look at the stored pod: end what is to end, report the rest."""
        if not self._is_on(run) or not self.connected(run.node):
            return
        pod = self._pod(run)
        if pod is None:
            self._end(run)
        elif "deletionTimestamp" in pod["metadata"] and not run.ending:
            run.ending = True
            if run.guest is None:
                self._gone(run)
            else:
                run.guest.terminate(lambda: self._gone(run))
        else:
            self._report(run)

    def _gone(self, run: _Run) -> None:
        """The containers have ended: the pod may be removed."""
        self._end(run)
        self._finish(run.namespace, run.name, run.uid)

    def _finish(self, namespace: str, name: str, uid: str) -> None:
        pod = self._server.peek(POD, namespace, name)
        if pod is None or pod["metadata"]["uid"] != uid:
            return
        if not self.connected(pod["spec"]["nodeName"]):
            return
        try:
            self._server.delete(POD, namespace, name, Deletion(uid, 0))
        except (NotFoundError, ConflictError):
            return

    def _end(self, run: _Run) -> None:
        if self._is_on(run):
            del self._runs[run.uid]
            if run.guest is not None:
                run.guest.kill()
            if run.ip is not None:
                self._addresses.discard(run.ip)

    # --- starting --------------------------------------------------------------------------------

    def _create(self, run: _Run) -> None:
        """Mount, pull, make the sandbox; again and again until it can be done."""
        if not self._is_on(run) or run.ending or not self.nodes[run.node].powered:
            return
        pod = self._pod(run)
        if pod is None or not self.connected(run.node):
            self._later(2.0, self._create, run)
            return
        missing = self._unmounted(pod)
        image = pod["spec"]["containers"][0]["image"]
        if missing is not None:
            run.waiting, run.waiting_message = "ContainerCreating", missing
        elif image in self.bad_images:
            run.waiting, run.waiting_message = "ImagePullBackOff", f"Back-off pulling {image}"
        else:
            self._start(run, pod)
            return
        self._report(run)
        self._later(2.0, self._create, run)

    def _unmounted(self, pod: Object) -> str | None:
        namespace = pod["metadata"]["namespace"]
        account = pod["spec"].get("serviceAccountName", "default")
        if account != "default" and not self._server.peek(SERVICE_ACCOUNT, namespace, account):
            return f"serviceaccount {account} not found"
        for volume in pod["spec"].get("volumes", ()):
            for source, kind, key in (
                ("secret", SECRET, "secretName"),
                ("configMap", CONFIG_MAP, "name"),
            ):
                if source in volume:
                    name = volume[source][key]
                    if self._server.peek(kind, namespace, name) is None:
                        return f"{source} {name} not found"
        for name in claims_of(pod):
            claim = self._server.peek(PVC, namespace, name)
            if claim is None or claim["status"].get("phase") != "Bound":
                return f"claim {name} not bound"
            if self._disks.of(claim["metadata"]["uid"]) is None:
                return f"volume of claim {name} is gone"
        return None

    def _start(self, run: _Run, pod: Object) -> None:
        claim = self._server.peek(PVC, run.namespace, claims_of(pod)[0])
        config = self._config(run)
        assert claim is not None
        assert config is not None
        disk = self._disks.of(claim["metadata"]["uid"])
        assert disk is not None
        run.ip = self._address()
        identity = PodIdentity(run.namespace, run.name, run.uid, run.node, run.ip)
        run.guest = Guest(self._around, identity, disk, config)
        run.guest.on_change = lambda: self._later(0.1, self._report, run)
        self._later(self._rng.uniform(0.1, 0.6), self._start_agent, run)
        self._later(self._rng.uniform(0.6, 1.2), self._start_database, run)
        self._report(run)

    def _address(self) -> str:
        """The lowest free one, so that addresses are soon used again."""
        number = next(n for n in range(2, 250) if f"10.245.0.{n}" not in self._addresses)
        self._addresses.add(f"10.245.0.{number}")
        return f"10.245.0.{number}"

    def _config(self, run: _Run) -> GuestConfig | None:
        name = naming.agent_config(run.name.removesuffix("-0"))
        config_map = self._server.peek(CONFIG_MAP, run.namespace, name)
        if config_map is None:
            return None
        file = naming.INSTANCE_FILE.rsplit("/", 1)[1]
        return GuestConfig.model_validate(json.loads(config_map["data"][file]))

    def _remount(self, run: _Run) -> None:
        config = self._config(run)
        if run.guest is not None and config is not None and self.connected(run.node):
            run.guest.configure(config)

    def _start_agent(self, run: _Run) -> None:
        if run.guest is not None and not run.guest.dead and not run.guest.agent_up:
            run.guest.start_agent()

    def _start_database(self, run: _Run) -> None:
        if run.guest is not None and not run.guest.dead and not run.ending:
            run.database_started = True
            run.guest.start_launcher()

    # --- reporting -------------------------------------------------------------------------------

    def _report(self, run: _Run) -> None:
        pod = self._pod(run)
        if pod is None or not self._is_on(run) or not self.connected(run.node):
            return
        status = {**pod["status"], **self._status(run, pod)}
        if status != pod["status"]:
            self._server.replace(POD, {**pod, "status": status}, "kubelet", "status")

    def _status(self, run: _Run, pod: Object) -> Object:
        guest = run.guest
        ready = guest is not None and guest.ready() and not run.ending
        conditions = [c for c in pod["status"]["conditions"] if c["type"] == "PodScheduled"]
        for name in ("Initialized", "ContainersReady", "Ready"):
            fine = guest is not None if name == "Initialized" else ready
            conditions.append({"type": name, "status": "True" if fine else "False"})
        status: Object = {
            "phase": "Running" if run.database_started else "Pending",
            "conditions": conditions,
            "initContainerStatuses": [
                self._container(run, naming.GUEST_CONTAINER, guest is not None and guest.agent_up)
            ],
            "containerStatuses": [
                self._container(run, naming.DATABASE_CONTAINER, run.database_started, ready=ready)
            ],
        }
        if run.ip is not None:
            status |= {"podIP": run.ip, "podIPs": [{"ip": run.ip}]}
        return status

    def _container(
        self, run: _Run, name: str, running: bool, *, ready: bool | None = None
    ) -> Object:
        state: Object = {"running": {}}
        if not running:
            state = {"waiting": {"reason": run.waiting, "message": run.waiting_message}}
        return {
            "name": name,
            "image": "simulated",
            "ready": running if ready is None else ready,
            "started": running,
            "restartCount": run.guest_restarts if name == naming.GUEST_CONTAINER else 0,
            "state": state,
        }
