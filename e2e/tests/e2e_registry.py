"""A registry (CNCF Distribution) at one address of localhost, for the machine and for a node alike.

containerd speaks to registries at localhost by HTTP, so no authority has to be brought to the node.
A node's localhost is its own: two processes serve one folder, one here and one there.
"""

import json
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

import yaml

from coffer_cluster import binaries
from coffer_cluster.node import Node
from coffer_cluster.sandbox import Program
from coffer_cluster.waiting import wait_for

HOST: Final = "localhost"
USER: Final = "puller"
PASSWORD: Final = "only-for-these-tests"
#: By bcrypt, which is all that the registry takes.
_USERS: Final = f"{USER}:$2b$04$opuOsg.R.x7WdKQb2sR6pe28mC7PYJx/KLexY4RUtpUVitAJKyzC.\n"
_START_S: Final = 30


@dataclass(frozen=True)
class Registry:
    """One that runs."""

    port: int
    log: Path  # of the process on the node: what its containerd asked for

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def login(self) -> str:
        """The content of `.dockerconfigjson` that opens it."""
        entry = {"username": USER, "password": PASSWORD}
        return json.dumps({"auths": {self.address: entry}})

    def answers(self, status: HTTPStatus, part: str = "/v2/") -> int:
        """How often the node got this status for a path with `part` in it."""
        lines = self.log.read_text().splitlines()
        return sum(1 for line in lines if part in line and f'HTTP/1.1" {status.value} ' in line)


def free_port() -> int:
    """One that nobody here listens on; a node has few programs of its own."""
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@contextmanager
def serving(node: Node, folder: Path, port: int, *, with_password: bool) -> Iterator[Registry]:
    """What is stored below `folder`, at localhost:`port`, here and on the node."""
    binaries.ensure([binaries.REGISTRY])
    name = f"registry-{port}"
    command = [str(binaries.REGISTRY.path), "serve", str(_configure(folder, port, with_password))]
    log = node.sandbox.logs / f"{name}.log"
    log.unlink(missing_ok=True)
    with _running_here(command, folder / f"{name}.log"):
        node.sandbox.start(Program(name, command))
        try:
            wait_for(f"{name} here", lambda: _speaks(port), _START_S)
            wait_for(
                f"{name} on {node.name}",
                lambda: "listening on" in node.sandbox.log_tail(name),
                _START_S,
                detail=lambda: node.sandbox.log_tail(name),
            )
            yield Registry(port, log)
        finally:
            node.sandbox.stop(name)


@contextmanager
def _running_here(command: Sequence[str], log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.terminate()
        process.wait(_START_S)


def _configure(folder: Path, port: int, with_password: bool) -> Path:
    users = folder / "htpasswd"
    users.write_text(_USERS)
    content = {
        "version": "0.1",
        "log": {"fields": {"service": "registry"}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "content")}},
        "http": {"addr": f"{HOST}:{port}", "secret": "of both processes"},
    }
    if with_password:
        content["auth"] = {"htpasswd": {"realm": "images", "path": str(users)}}
    file = folder / f"registry-{port}.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def _speaks(port: int) -> bool:
    connection = HTTPConnection(HOST, port, timeout=_START_S)
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().status in (HTTPStatus.OK, HTTPStatus.UNAUTHORIZED)
    except OSError:
        return False
    finally:
        connection.close()
