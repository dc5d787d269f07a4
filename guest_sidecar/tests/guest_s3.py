"""A real S3 server on loopback, and a proxy before it that breaks chosen requests."""

import contextlib
import re
import secrets
import socket
import socketserver
import struct
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from coffer_cluster import binaries
from coffer_guest.strategies.storage.retry import RetryPolicy
from coffer_guest.strategies.storage.s3 import S3Settings, S3Storage
from guest_harness import until

BUCKET: Final = "backups"
ACCESS_KEY: Final = "test-access"
SECRET_KEY: Final = "hush-" + secrets.token_hex(8)
QUICK: Final = RetryPolicy(base_s=0.001, cap_s=0.01)

_CUT_BYTES: Final = 50  # of a body, after which a request is cut

#: Every kind of request, by its first line.
KINDS: Final = {
    "create": r"POST \S*[?&]uploads\b",
    "part": r"PUT \S*[?&]partNumber=",
    "complete": r"POST \S*[?&]uploadId=",
    "abort": r"DELETE \S*[?&]uploadId=",
    "uploads": r"GET \S*[?&]uploads\b",
    "put": r"PUT (?!\S*partNumber=)",
    "get": r"GET (?!\S*(list-type|[?&]uploads\b))",
    "head": r"HEAD ",
    "list": r"GET \S*list-type=2",
    "delete": r"DELETE (?!\S*uploadId=)",
}


def settings(endpoint: str, **others: str) -> S3Settings:
    usual = {"bucket": BUCKET, "access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
    return S3Settings.model_validate(usual | {"endpoint": endpoint} | others)


def storage(endpoint: str, **others: str) -> S3Storage:
    return S3Storage(settings(endpoint, **others), QUICK)


@contextlib.contextmanager
def versitygw(folder: Path, *options: str) -> Iterator[int]:
    """Its port; the bucket is there."""
    binaries.ensure([binaries.S3])
    (folder / BUCKET).mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    argv = [str(binaries.S3.path), "--quiet", *options, "--port", f"127.0.0.1:{port}"]
    process = subprocess.Popen(
        [*argv, "posix", str(folder)],
        env={"ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def listens() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
            return True
        return False

    try:
        until("the S3 server listens", listens)
        yield port
    finally:
        process.kill()
        process.wait(20)


@dataclass
class Fault:
    """What happens to requests of a kind, `times` times."""

    kind: str
    how: str  # reset | 500 | 503 | 403 | cut request | cut answer | lost answer | slow
    times: int = 1
    seen: int = 0


class Proxy(socketserver.ThreadingTCPServer):
    """Passes requests on, one a connection, and breaks those of `faults`."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, upstream_port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.upstream_port = upstream_port
        self.faults: list[Fault] = []
        self.dead_from: bytes | None = None  # from a request with this text on, nothing passes
        self._dead = False
        self._lock = threading.Lock()
        self.thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.thread.join()
        self.server_close()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def verdict(self, head: bytes) -> str:
        with self._lock:
            self._dead |= self.dead_from is not None and self.dead_from in head
            if self._dead:
                return "reset"
            for fault in self.faults:
                if re.match(KINDS[fault.kind], head.decode("latin-1")):
                    fault.seen += 1
                    return fault.how if fault.seen <= fault.times else "pass"
            return "pass"


class _Connection(socketserver.BaseRequestHandler):
    server: Proxy

    def handle(self) -> None:
        client: socket.socket = self.request
        data = b""
        while b"\r\n\r\n" not in data:
            more = client.recv(65536)
            if not more:
                return
            data += more
        how = self.server.verdict(data)
        if how == "reset":
            _reset(client)
        elif how.isdigit():
            _answer(client, int(how))
        else:
            with contextlib.suppress(OSError):
                self._pass(client, data, how)

    def _pass(self, client: socket.socket, data: bytes, how: str) -> None:
        with socket.create_connection(("127.0.0.1", self.server.upstream_port)) as upstream:
            head, _, rest = data.partition(b"\r\n\r\n")
            left = _CUT_BYTES - len(rest) if how == "cut request" else None
            first = rest if left is None else rest[:_CUT_BYTES]
            upstream.sendall(head + b"\r\nConnection: close\r\n\r\n" + first)
            if left is not None and left <= 0:
                _reset(client)
                return
            pump = threading.Thread(target=_pump, args=(client, upstream, left, how), daemon=True)
            pump.start()
            limit = {"cut answer": 200, "lost answer": 0}.get(how)
            _back(upstream, client, limit, how)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)


def _pump(client: socket.socket, upstream: socket.socket, left: int | None, how: str) -> None:
    with contextlib.suppress(OSError):
        while data := client.recv(1000 if how == "slow" else 65536):
            upstream.sendall(data if left is None else data[:left])
            if left is not None:
                left -= len(data)
                if left <= 0:
                    _reset(client)
                    upstream.shutdown(socket.SHUT_RDWR)
                    return


def _back(upstream: socket.socket, client: socket.socket, limit: int | None, how: str) -> None:
    first = True
    while data := upstream.recv(1000 if how == "slow" else 65536):
        if first and data.startswith(b"HTTP/1.1 100"):  # the answer proper is what is cut
            client.sendall(data)
            continue
        first = False
        if limit is None:
            client.sendall(data)
            continue
        client.sendall(data[:limit])
        limit = max(0, limit - len(data))
    if limit is not None:
        _reset(client)


def _reset(client: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the other direction may have ended it already
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.shutdown(socket.SHUT_RD)  # wakes a thread that still receives
        client.close()


def _answer(client: socket.socket, status: int) -> None:
    code = {500: "InternalError", 503: "SlowDown", 403: "AccessDenied"}[status]
    body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
    head = f"HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    with contextlib.suppress(OSError):
        client.sendall(head.encode() + body)
        client.shutdown(socket.SHUT_WR)
        while client.recv(65536):  # a close with unread bytes would be a reset
            pass
