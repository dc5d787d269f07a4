"""An S3 server that keeps nothing: what a backup's upload costs its client, and no more.

Reads bodies and drops them; answers the requests of the write path. Run as a process of its own:
`python -m coffer_bench.backup_sink [CERTIFICATE KEY]`; prints its port.
"""

import re
import socket
import socketserver
import ssl
import sys
import threading

_RECEIVE_BYTES = 1 << 20
_PART = re.compile(rb"[?&]partNumber=")


class _Sizes:
    """Bytes received by key: HEAD has to tell them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sizes: dict[bytes, int] = {}

    def add(self, key: bytes, size_bytes: int) -> None:
        with self._lock:
            self._sizes[key] = self._sizes.get(key, 0) + size_bytes

    def start(self, key: bytes) -> None:
        with self._lock:
            self._sizes[key] = 0

    def get(self, key: bytes) -> int | None:
        with self._lock:
            return self._sizes.get(key)


class _Connection(socketserver.BaseRequestHandler):
    """One client's requests, one after the other."""

    sizes = _Sizes()
    context: ssl.SSLContext | None = None

    def handle(self) -> None:
        connection: socket.socket = self.request
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.context is not None:
            connection = self.context.wrap_socket(connection, server_side=True)
        self._buffer = bytearray(_RECEIVE_BYTES)
        pending = b""
        while True:
            while b"\r\n\r\n" not in pending:
                more = connection.recv(65536)
                if not more:
                    return
                pending += more
            head, _, pending = pending.partition(b"\r\n\r\n")
            pending = self._answer(connection, head, pending)

    def _answer(self, connection: socket.socket, head: bytes, pending: bytes) -> bytes:
        line, _, fields = head.partition(b"\r\n")
        method, target, _ = line.split(b" ")
        found = re.search(rb"(?im)^content-length: *(\d+)", fields)
        size_bytes = int(found[1]) if found else 0
        if re.search(rb"(?im)^expect: *100", fields):
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        pending = self._drop(connection, size_bytes, pending)
        key = target.partition(b"?")[0]
        status, extra, body = self._respond(method, target, key, size_bytes)
        length = extra if extra else b"Content-Length: %d\r\n" % len(body)
        connection.sendall(b'HTTP/1.1 %b\r\nETag: "0"\r\n%b\r\n%b' % (status, length, body))
        return pending

    def _drop(self, connection: socket.socket, size_bytes: int, pending: bytes) -> bytes:
        left = size_bytes - len(pending)
        while left > 0:
            count = connection.recv_into(self._buffer, min(left, _RECEIVE_BYTES))
            if count == 0:
                raise ConnectionError("the client went away")
            left -= count
        return pending[size_bytes:]

    def _respond(
        self, method: bytes, target: bytes, key: bytes, size_bytes: int
    ) -> tuple[bytes, bytes, bytes]:
        if method == b"POST" and target.endswith(b"?uploads"):
            self.sizes.start(key)
            xml = b"<InitiateMultipartUploadResult><UploadId>u</UploadId></%b>"
            return b"200 OK", b"", xml % b"InitiateMultipartUploadResult"
        if method == b"POST":
            return b"200 OK", b"", b"<CompleteMultipartUploadResult/>"
        if method == b"PUT":
            if _PART.search(target):
                self.sizes.add(key, size_bytes)
            return b"200 OK", b"", b""
        if method == b"HEAD":
            stored = self.sizes.get(key)
            if stored is None:
                return b"404 Not Found", b"", b""
            when = b"Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
            return b"200 OK", when + b"Content-Length: %d\r\n" % stored, b""
        return b"200 OK", b"", b"<ListMultipartUploadsResult/>"


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 32


def main() -> None:
    if len(sys.argv) == 3:
        _Connection.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        _Connection.context.load_cert_chain(sys.argv[1], sys.argv[2])
    with _Server(("127.0.0.1", 0), _Connection) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
