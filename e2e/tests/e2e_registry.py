"""A registry of one image on a node's loopback, which gives it to nobody without the password.

containerd speaks to registries at localhost by HTTP, so no authority has to be brought to the
node. Serves an OCI archive by GET and HEAD, as the distribution specification has it; no pushes.
"""

import base64
import ctypes
import json
import os
import secrets
import socket
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from coffer_cluster.network import namespace_file
from coffer_cluster.node import Node

_CLONE_NEWNET = 0x40000000  # of sched.h
USER = "puller"


@dataclass
class Registry:
    """What it serves, and what it was asked for."""

    archive: Path
    repository: str
    port: int
    password: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    refused: list[str] = field(default_factory=list)  # paths asked for without the password
    served: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"localhost:{self.port}"

    @property
    def login(self) -> str:
        """The content of `.dockerconfigjson` that opens it."""
        entry = {"username": USER, "password": self.password}
        return json.dumps({"auths": {self.address: entry}})

    def opens(self, authorization: str | None) -> bool:
        wanted = base64.b64encode(f"{USER}:{self.password}".encode()).decode()
        return authorization == f"Basic {wanted}"

    def content(self, path: str) -> tuple[str, bytes] | None:
        """Media type and bytes of a manifest or blob; None: there is none at that path."""
        kind, _, name = path.removeprefix(f"/v2/{self.repository}/").partition("/")
        with tarfile.open(self.archive) as tar:
            entry = json.loads(_read(tar, "index.json"))["manifests"][0]
            if kind == "manifests" and (":" not in name or name == entry["digest"]):
                return entry["mediaType"], _read(tar, _member(entry["digest"]))
            if kind == "blobs" and _member(name) in tar.getnames():
                return "application/octet-stream", _read(tar, _member(name))
        return None


def _member(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _read(tar: tarfile.TarFile, name: str) -> bytes:
    member = tar.extractfile(name)
    assert member is not None, name
    return member.read()


@contextmanager
def serving(node: Node, archive: Path, repository: str) -> Iterator[Registry]:
    """A registry at localhost for the programs of that node."""
    listener = _listen_in(namespace_file(node.sandbox.namespace))
    registry = Registry(archive, repository, listener.getsockname()[1])

    class Handler(_Handler):
        serves = registry

    server = ThreadingHTTPServer(("localhost", 0), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _listen_in(namespace: Path) -> socket.socket:
    """A socket that listens in another network namespace; a thread of its own goes there."""
    found: list[socket.socket] = []
    libc = ctypes.CDLL(None, use_errno=True)

    def listen() -> None:
        with namespace.open("rb") as there:
            if libc.setns(there.fileno(), _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(namespace))
        found.append(socket.create_server(("127.0.0.1", 0)))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    (listener,) = found
    return listener


class _Handler(BaseHTTPRequestHandler):
    serves: Registry
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        registry = self.serves
        if not registry.opens(self.headers.get("Authorization")):
            registry.refused.append(self.path)
            self.answer(HTTPStatus.UNAUTHORIZED, "application/json", b"{}")
            return
        found = registry.content(self.path)
        if found is None:
            self.answer(HTTPStatus.NOT_FOUND, "application/json", b"{}")
            return
        registry.served.append(self.path)
        self.answer(HTTPStatus.OK, *found)

    do_HEAD = do_GET  # noqa: N815 -- as http.server looks for it

    def answer(self, status: HTTPStatus, media_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        if status is HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", 'Basic realm="images"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing: what counts is in the lists."""
