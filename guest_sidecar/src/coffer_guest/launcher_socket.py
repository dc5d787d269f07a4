"""The launcher's unix socket: JSON lines in, JSON lines and one file descriptor out.

Owns connections and their buffers, and no decision: each request goes to a handler. A subscriber
that does not read is dropped rather than waited for.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
from collections.abc import Callable

Answer = tuple[dict[str, object], int | None]  # the answer, and a descriptor to pass with it
Handler = Callable[[dict[str, object]], Answer]

_LIMIT_BYTES = 1 << 20  # of a request that has no end, and of what a reader has not taken


class _Peer:
    """One connection."""

    __slots__ = ("received", "sock", "subscribed", "unsent")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.received = bytearray()
        self.unsent = bytearray()
        self.subscribed = False


class Server:
    """Listens at `path`, mode 0600; `handler` answers, `status` is what subscribers get."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        path: str,
        handler: Handler,
        status: Callable[[], dict[str, object]],
    ) -> None:
        self._selector = selector
        self._handler = handler
        self._status = status
        self._peers: set[_Peer] = set()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # of a launcher that is gone: this one holds the sockets' directory
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)
        try:
            self._listener.bind(path)
        finally:
            os.umask(mask)
        self._listener.listen(16)
        self._listener.setblocking(False)
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def publish(self) -> None:
        """Tell all subscribers the status as it is now."""
        if not any(peer.subscribed for peer in self._peers):
            return
        line = _line({"event": "status", "status": self._status()})
        for peer in [peer for peer in self._peers if peer.subscribed]:
            self._send(peer, line)

    def close(self) -> None:
        """Hand out what is still to be sent, as far as it goes at once, and close."""
        for peer in list(self._peers):
            self._drop(peer)
        self._selector.unregister(self._listener)
        self._listener.close()

    def _accept(self, _: int) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            sock, _address = self._listener.accept()
            sock.setblocking(False)
            peer = _Peer(sock)
            self._peers.add(peer)
            self._selector.register(
                sock, selectors.EVENT_READ, lambda mask: self._serve(peer, mask)
            )

    def _serve(self, peer: _Peer, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            self._send(peer, b"")
        if not mask & selectors.EVENT_READ or peer not in self._peers:
            return
        try:
            data = peer.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data or len(peer.received) + len(data) > _LIMIT_BYTES:
            self._drop(peer)
            return
        peer.received += data
        while b"\n" in peer.received and peer in self._peers:
            line, _, rest = peer.received.partition(b"\n")
            peer.received = rest
            self._request(peer, bytes(line))

    def _request(self, peer: _Peer, line: bytes) -> None:
        try:
            request = dict(json.loads(line))
            if request.get("op") == "subscribe":
                peer.subscribed = True
                self._send(peer, _line({"event": "status", "status": self._status()}))
                return
            answer, descriptor = self._handler(request)
        except (ValueError, TypeError, KeyError) as error:
            answer, descriptor = {"ok": False, "error": f"bad request: {error!r}"}, None
        self._send(peer, _line(answer), descriptor)

    def _send(self, peer: _Peer, line: bytes, descriptor: int | None = None) -> None:
        if descriptor is not None and not peer.unsent:
            with contextlib.suppress(OSError):
                sent = socket.send_fds(peer.sock, [line], [descriptor])
                line = line[sent:]
        peer.unsent += line
        try:
            while peer.unsent:
                del peer.unsent[: peer.sock.send(peer.unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self._drop(peer)
            return
        if len(peer.unsent) > _LIMIT_BYTES:
            self._drop(peer)
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if peer.unsent else 0)
        self._selector.modify(peer.sock, events, lambda mask: self._serve(peer, mask))

    def _drop(self, peer: _Peer) -> None:
        if peer in self._peers:
            self._peers.discard(peer)
            self._selector.unregister(peer.sock)
            peer.sock.close()


def _line(message: dict[str, object]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"
