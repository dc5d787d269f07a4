"""redis-cli: it takes a password from an argument, the environment or a person only.

So it gets none. It talks to a unix socket of ours, behind which every connection is already
authenticated; the socket is ours alone (0600), and goes with the client.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from coffer_common import naming
from coffer_guest.clients import Credentials

_CONNECT_TIMEOUT_S: Final = 5.0
_CHUNK: Final = 65536
_SOCKET: Final = "redis.sock"


def run(credentials: Credentials, arguments: Sequence[str], run_path: str = naming.RUN_PATH) -> int:
    """Run the client; its exit code. Raises OSError."""
    try:
        _login(credentials).close()  # so that a wrong password is said once, and by us
    except PermissionError as error:
        sys.stderr.write(f"error: {error.strerror}\n")
        return 1
    with (
        tempfile.TemporaryDirectory(prefix="connect-", dir=run_path) as folder,
        socket.socket(socket.AF_UNIX) as door,
    ):
        path = Path(folder, _SOCKET)
        door.bind(str(path))
        path.chmod(0o600)
        door.listen()
        threading.Thread(target=_serve, args=(door, credentials), daemon=True).start()
        signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is the client's alone
        for ending in (signal.SIGHUP, signal.SIGTERM):  # the terminal went away: leave nothing
            signal.signal(ending, lambda number, _: sys.exit(128 + number))
        command = ["redis-cli", "-s", _SOCKET, *arguments]  # relative: it is part of the prompt
        environ = {**os.environ, "REDISCLI_HISTFILE": os.devnull}
        done = subprocess.run(command, cwd=folder, env=environ, check=False)  # noqa: S603 - no shell, no secret
        return done.returncode


def _serve(door: socket.socket, credentials: Credentials) -> None:
    while True:
        try:
            client, _ = door.accept()
        except OSError:
            return  # closed: the client has ended
        try:
            server = _login(credentials)
        except OSError:
            client.close()
            continue
        for source, sink in ((client, server), (server, client)):
            threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def _login(credentials: Credentials) -> socket.socket:
    """A connection that is authenticated. Raises PermissionError, OSError."""
    server = socket.create_connection((credentials.host, credentials.port), _CONNECT_TIMEOUT_S)
    words = [b"AUTH", credentials.username.encode(), credentials.password.encode()]
    request = b"*3\r\n" + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
    try:
        server.sendall(request)
        answer = b""
        while not answer.endswith(b"\r\n"):
            data = server.recv(_CHUNK)
            if not data:
                raise ConnectionAbortedError(0, "the server closed the connection")
            answer += data
        if not answer.startswith(b"+OK"):
            raise PermissionError(0, answer.decode("utf-8", "replace").strip("-\r\n"))
        server.settimeout(None)
    except OSError:
        server.close()
        raise
    return server
