"""The agent's side of the launcher's socket.

Keeps a subscription, and with it the launcher's latest word; reconnects for ever. Commands have a
connection each and a time limit: a launcher that hangs costs a command, never the agent.
"""

import asyncio
import contextlib
import json
import logging
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from coffer_common.errors import Transient
from coffer_guest.engine_state import View
from coffer_guest.engines.base import LaunchSpec

_log = logging.getLogger(__name__)

_TIMEOUT_S: Final = 5.0
_RECONNECT_S: Final = (0.01, 0.25)  # from the first attempt to a lasting absence
_RECONNECT_PART: Final = 40  # of how long it has been away: at most that is lost by waiting
_LINE_LIMIT_BYTES: Final = 1 << 20


class LauncherUnavailable(Transient):
    """The launcher does not answer, or refuses; the message says which."""


class LauncherClient:
    """One launcher; `changed` is called whenever `view` is another."""

    def __init__(self, path: Path, changed: Callable[[], None]) -> None:
        self._path = path
        self._changed = changed
        self.view: View | None = None  # None while there is no connection
        self.last: View | None = None  # the last one there was

    async def run(self) -> None:
        """Follow the launcher until cancelled."""
        seen_at = time.monotonic()
        while True:
            try:
                await self._follow()
                seen_at = time.monotonic()
            except (OSError, ValidationError, ValueError) as error:
                if not isinstance(error, (FileNotFoundError, ConnectionError)):
                    _log.warning("launcher: %s", error)
            if self.view is not None:
                self.view = None
                self._changed()
            # in a new pod it comes some tenths of a second after the agent, and is waited for
            pause_s = (time.monotonic() - seen_at) / _RECONNECT_PART
            await asyncio.sleep(min(max(_RECONNECT_S[0], pause_s), _RECONNECT_S[1]))

    async def start(self, spec: LaunchSpec) -> None:
        await self._command({"op": "start", **_fields(spec)})

    async def restart(self, spec: LaunchSpec, token: str) -> None:
        await self._command({"op": "restart", "token": token, **_fields(spec)})

    async def prepare(self, spec: LaunchSpec) -> View:
        """What the engine is started with when it next dies; it runs on. What is so after it."""
        return await self._command({"op": "prepare", **_fields(spec)})

    async def status(self) -> View:
        """The launcher's word of now."""
        return await self._command({"op": "status"})

    async def stop(self) -> None:
        await self._command({"op": "stop"})

    async def reset(self) -> None:
        await self._command({"op": "reset"})

    async def answered(self, generation: int) -> None:
        """Let the launcher remember that this process has answered."""
        await self._command({"op": "answered", "generation": generation})

    def lock(self) -> int:
        """The descriptor that holds the volume's lock; blocking. The caller closes it.

        While it is open, nobody else gets the lock, also when the launcher dies. Closing it is
        all: an unlock would take it from the launcher too. Raises LauncherUnavailable.
        """
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                sock.settimeout(_TIMEOUT_S)
                sock.connect(str(self._path))
                sock.sendall(b'{"op":"lock"}\n')
                data, descriptors, _flags, _address = socket.recv_fds(sock, 65536, 1)
        except OSError as error:
            raise LauncherUnavailable(f"the launcher cannot be asked for the lock: {error}") from (
                error
            )
        if not descriptors:
            raise LauncherUnavailable(f"the launcher gives no lock: {_refusal(data)}")
        return descriptors[0]

    async def _follow(self) -> None:
        reader, writer = await asyncio.open_unix_connection(self._path, limit=_LINE_LIMIT_BYTES)
        try:
            writer.write(b'{"op":"subscribe"}\n')
            while line := await reader.readline():
                self.take(json.loads(line)["status"])
        finally:
            writer.close()

    async def _command(self, request: dict[str, object]) -> View:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                reader, writer = await asyncio.open_unix_connection(
                    self._path, limit=_LINE_LIMIT_BYTES
                )
                with contextlib.closing(writer):
                    writer.write(json.dumps(request).encode() + b"\n")
                    line = await reader.readline()
        except (OSError, TimeoutError) as error:
            raise LauncherUnavailable(f"the launcher does not answer: {error!r}") from error
        answer = json.loads(line) if line else {}
        if not answer.get("ok"):
            raise LauncherUnavailable(f"the launcher refuses {request['op']}: {_refusal(line)}")
        # at once: the next decision must not be taken from before this command
        return self.take(answer["status"])

    def take(self, status: object) -> View:
        """Believe what the launcher says, unless it has said something newer; the newest."""
        view = View.model_validate(status)
        known = self.view
        if known is not None and known.boot_id == view.boot_id and known.revision >= view.revision:
            return known
        self.view = self.last = view
        self._changed()
        return view


def _fields(spec: LaunchSpec) -> dict[str, object]:
    return {
        "argv": list(spec.argv),
        "env": dict(spec.env),
        "stop_signal": int(spec.stop_signal),
        "stop_timeout_s": spec.stop_timeout_s,
        "stop_again_s": spec.stop_again_s,
        "configuration": spec.configuration,
    }


def _refusal(line: bytes) -> str:
    try:
        return str(json.loads(line)["error"])
    except (ValueError, KeyError, TypeError):
        return "no answer"
