"""One embedded cluster, by its tag: up, down, and what tests do to it in between.

Everything it knows is on the machine, so a `Cluster` may be made anywhere at any time. Whatever
changes the cluster holds its lock. It never touches what it did not make.
"""

import datetime
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coffer_cluster import (
    binaries,
    cgroups,
    checks,
    console,
    controlplane,
    images,
    kernellimits,
    leftovers,
    locks,
    network,
    preflight,
)
from coffer_cluster.addresses import DEFAULT_TAG, MAX_NODES, S3_PORT, S3_TLS_PORT, Plan, plan_for
from coffer_cluster.api import Api
from coffer_cluster.command import run
from coffer_cluster.errors import ClusterError, UnsupportedError
from coffer_cluster.layout import Layout
from coffer_cluster.node import Node
from coffer_cluster.objects import base_objects
from coffer_cluster.paths import lock_file
from coffer_cluster.sandbox import Sandbox
from coffer_cluster.secretfile import read_json
from coffer_cluster.waiting import wait_for

LOCK_TIMEOUT_S = 600
API_TIMEOUT_S = 60


@dataclass(frozen=True)
class S3Access:
    """How to reach the cluster's S3 server; the buckets are the same on every way."""

    #: From the machine, and from pods alike.
    endpoint: str
    tls_endpoint: str
    #: From pods in any namespace, by name.
    service_endpoint: str
    service_tls_endpoint: str
    access_key: str
    secret_key: str
    #: The authority that signed the certificate.
    ca_file: Path
    region: str = "us-east-1"


class Cluster:
    """The embedded cluster with this tag, whether it is up or not."""

    def __init__(self, tag: str = DEFAULT_TAG) -> None:
        self.plan: Plan = plan_for(tag)
        self.layout = Layout(self.plan)

    @property
    def tag(self) -> str:
        return self.plan.tag

    @property
    def kubeconfig(self) -> Path:
        return self.layout.kubeconfig

    @property
    def kubectl(self) -> Path:
        """A kubectl of the cluster's version."""
        return binaries.KUBERNETES.link("kubectl")

    @property
    def helm(self) -> Path:
        return binaries.HELM.path

    @property
    def running(self) -> bool:
        return self.layout.claimed() and self.layout.control_plane.alive

    def _lock(self) -> AbstractContextManager[None]:
        return locks.exclusive(lock_file(self.tag), LOCK_TIMEOUT_S)

    # --- life ---

    def up(self, nodes: int = 1) -> None:
        """Bring the cluster up with at least so many nodes; nothing to do is done in no time."""
        if not 1 <= nodes <= MAX_NODES:
            raise UnsupportedError(f"a cluster has 1 to {MAX_NODES} nodes, not {nodes}")
        preflight.check()
        preflight.install_missing()
        binaries.ensure(binaries.CLUSTER)
        images.ensure_own_archives()
        with self._lock():
            start_s = time.monotonic()
            if not self.running:
                self._clear_leftovers()
                self._create()
            self.layout.control_plane.wait_until_booted()
            self._bring_up(nodes)
            took_s = time.monotonic() - start_s
            names = ", ".join(node.name for node in self.nodes())
            console.say(
                f"{self.tag} is up in {took_s:.1f} s: {names}; KUBECONFIG={self.kubeconfig}"
            )

    def _clear_leftovers(self) -> None:
        if self.layout.claimed():
            with console.step("removing what an earlier cluster left"):
                leftovers.clear(self.layout)
        network.refuse_foreign(self.plan)

    def _create(self) -> None:
        console.say(f"making cluster {self.tag}: network, certificates, control plane")
        self.layout.claim()
        kernellimits.raise_watchers()
        self.layout.control_plane.folder.mkdir()
        self.layout.volumes.mkdir()
        controlplane.issue_certificates(self.layout)
        controlplane.create_s3_keys(self.layout)
        network.create_switch(self.plan)
        self.layout.control_plane.boot()

    def _bring_up(self, nodes: int) -> None:
        known = self.layout.node_numbers()
        numbers = sorted({*known, *range(1, nodes + 1)})
        wanted = [Node(self.layout, number) for number in numbers]
        starting = [node for node in wanted if not node.alive]
        box = self.layout.control_plane
        box.start(controlplane.etcd(self.layout))
        box.start(controlplane.api_server(self.layout))
        if starting:
            console.say(f"starting {', '.join(node.name for node in starting)}")
        for node in wanted:
            if node in starting:
                node.prepare(len(wanted))
            node.undo_faults()
        with ThreadPoolExecutor(max_workers=4) as pool:
            started = [pool.submit(node.boot) for node in wanted]
            self._wait_for_api()
            self._start_controllers()
            for outcome in started:
                outcome.result()
        self._furnish()
        new = [node for node in wanted if not node.settled_mark.exists()]
        for node in new if len(new) < len(wanted) else []:
            node.catch_up()
        for node in wanted:
            node.join()
            node.share_memory(len(wanted))
        self._check(wanted, new)

    def _wait_for_api(self) -> None:
        api, box = Api.direct(self.layout), self.layout.control_plane
        wait_for(
            "the API server",
            lambda: api.ready,
            API_TIMEOUT_S,
            detail=lambda: box.log_tail(controlplane.API_SERVER),
        )

    def _start_controllers(self) -> None:
        layout, box = self.layout, self.layout.control_plane
        box.start(controlplane.controller_manager(layout))
        box.start(controlplane.scheduler(layout))
        box.start(controlplane.kube_proxy(layout, Node(layout, 1).name))
        box.start(controlplane.dns(layout))
        for program in controlplane.storage(layout):
            box.start(program)
        box.start(controlplane.s3(layout))
        box.start(controlplane.s3_tls(layout))

    def _furnish(self) -> None:
        """The objects that every cluster starts with."""
        if self.layout.furnished.exists():
            return
        for path, content in base_objects(self.plan):
            Api.direct(self.layout).apply(path, content)
        self.layout.furnished.touch()

    def _check(self, wanted: list[Node], new: list[Node]) -> None:
        checks.wait_for_nodes(self.layout, wanted)
        if new:
            with console.step("checking connections from the machine and from pods"):
                checks.wait_for_connections(self.layout, new)
        for node in new:
            node.settled_mark.touch()

    def down(self) -> None:
        """Leave nothing of the cluster on the machine, whoever started it."""
        with self._lock():
            if not self.layout.claimed():
                return
            with console.step(f"taking cluster {self.tag} down"):
                leftovers.clear(self.layout)
            kernellimits.restore_watchers()

    def status(self) -> dict[str, Any]:
        """What runs, for people and programs."""
        if not self.running:
            return {"tag": self.tag, "running": False}
        machines = {box.name: _condition(box) for box in self.layout.sandboxes()}
        access = self.s3
        return {
            "tag": self.tag,
            "running": True,
            "server": self.plan.api_url,
            "ready": Api.direct(self.layout).ready,
            "kubeconfig": str(self.kubeconfig),
            "machines": machines,
            "s3": {
                "endpoint": access.endpoint,
                "tls_endpoint": access.tls_endpoint,
                "service_endpoint": access.service_endpoint,
                "access_key": access.access_key,
                "secret_key": access.secret_key,
                "ca_file": str(access.ca_file),
            },
        }

    # --- use ---

    def run_kubectl(self, *args: str, stdin: str | None = None, timeout_s: float = 60) -> str:
        """Run kubectl against this cluster and return what it prints."""
        self._need_running()
        argv = [self.kubectl, f"--kubeconfig={self.kubeconfig}", *args]
        return run(argv, stdin=stdin, timeout_s=timeout_s)

    def load_image(self, reference: str | Path, name: str | None = None) -> str:
        """Bring an OCI archive, or an image of buildah's storage, to every living node."""
        self._need_running()
        with self._lock():
            nodes = [node.sandbox for node in self.nodes() if node.alive]
            return images.load(nodes, str(reference), name)

    @property
    def probe_image(self) -> str:
        """An image that is on every node: one program that serves, fetches, writes and waits."""
        return images.probe_image()

    @property
    def s3(self) -> S3Access:
        keys, host = read_json(self.layout.s3_keys), self.plan.control_plane
        return S3Access(
            endpoint=f"http://{host}:{S3_PORT}",
            tls_endpoint=f"https://{host}:{S3_TLS_PORT}",
            service_endpoint=f"http://s3.default:{S3_PORT}",
            service_tls_endpoint=f"https://s3.default.svc:{S3_TLS_PORT}",
            access_key=keys["access_key"],
            secret_key=keys["secret_key"],
            ca_file=self.layout.pki.authority,
        )

    def nodes(self) -> list[Node]:
        return [Node(self.layout, number) for number in self.layout.node_numbers()]

    def node(self, number: int) -> Node:
        if number not in self.layout.node_numbers():
            raise ClusterError(f"cluster {self.tag} has no node n{number}")
        return Node(self.layout, number)

    def _need_running(self) -> None:
        if not self.running:
            raise ClusterError(f"cluster {self.tag} is not up")

    # --- faults ---

    def stop_apiserver(self) -> None:
        """Kill the API server alone; all else goes on without it."""
        with self._lock():
            self.layout.control_plane.stop(controlplane.API_SERVER, signal.SIGKILL)

    def start_apiserver(self) -> None:
        """Start the API server again, and return when it is ready.

        The clients of Kubernetes' own parts have become patient and would look again only after
        up to a minute. They are started anew: nothing of ours is to be measured by that. A node
        that is frozen stays as it is.
        """
        control_plane = self.layout.control_plane
        with self._lock():
            control_plane.start(controlplane.api_server(self.layout))
            self._wait_for_api()
            nodes = [node for node in self.nodes() if node.alive and not node.frozen]
            since = datetime.datetime.now(datetime.UTC)
            control_plane.renew(controlplane.CLIENTS)
            for node in nodes:
                node.renew_clients()
            checks.wait_for_nodes(self.layout, nodes, since)

    def logs(self) -> dict[str, Path]:
        """Every log file, by `machine/program`."""
        return {
            f"{box.name}/{file.stem}": file
            for box in self.layout.sandboxes()
            for file in sorted(box.logs.glob("*.log"))
        }


def _condition(box: Sandbox) -> str | dict[str, str]:
    """One machine, or each of its programs, in a few words."""
    if not box.alive:
        return "down"
    if cgroups.frozen(box.cgroup):
        return "frozen"
    return {
        name: ("running" if state["pid"] else "down")
        + (f", ended {state['ends']} times by itself" if state["ends"] else "")
        for name, state in sorted(box.programs().items())
    }
