"""Connections to the local server through its unix socket, and its errors as ours.

One connection per call: over a unix socket that costs less than knowing whether an old one lives.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import hiredis

from coffer_common.errors import Transient, UserError
from coffer_guest.engines.base import EngineUnavailable

CALL_TIMEOUT_S: Final = 60.0
_READ_BYTES: Final = 64 * 1024
_UNAVAILABLE: Final = ("LOADING", "MASTERDOWN", "WRONGPASS", "NOAUTH")
_LATER: Final = (
    *("BUSY", "OOM", "MISCONF", "READONLY", "NOREPLICAS"),
    "ERR There was an error trying to save the ACLs",  # a full volume
)

Reply = str | int | None | list["Reply"]


class Session:
    """Runs commands as `user` with the password in the file `secret`."""

    def __init__(self, socket: Path, user: str, secret: Path) -> None:
        self._socket = socket
        self._user = user
        self._secret = secret

    async def ask(self, *commands: tuple[str, ...], timeout_s: float = CALL_TIMEOUT_S) -> Reply:
        """The answer to the last of `commands`, all sent over one connection.

        Raises EngineUnavailable (no answer in time, or not yet), Transient, UserError.
        """
        answer = (await self._run(commands, timeout_s, refusals=False))[-1]
        if isinstance(answer, UserError):
            raise answer
        return answer

    async def ask_each(self, commands: Sequence[tuple[str, ...]]) -> list["Reply | UserError"]:
        """The answer to each command; one that is refused does not keep the others from theirs.

        Raises EngineUnavailable, Transient.
        """
        return await self._run(commands, CALL_TIMEOUT_S, refusals=True)

    async def _run(
        self, commands: Sequence[tuple[str, ...]], timeout_s: float, *, refusals: bool
    ) -> list["Reply | UserError"]:
        try:
            async with asyncio.timeout(timeout_s):
                return await self._ask(commands, refusals=refusals)
        except TimeoutError as error:
            raise EngineUnavailable("a command is not answered in time") from error
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise EngineUnavailable("the server takes no connections") from error
        except (OSError, EOFError) as error:
            raise EngineUnavailable(f"the server does not answer: {error}") from error
        except hiredis.HiredisError as error:
            raise translate(str(error)) from error

    async def _ask(
        self, commands: Sequence[tuple[str, ...]], *, refusals: bool
    ) -> list["Reply | UserError"]:
        password = self._secret.read_text()
        reader, writer = await asyncio.open_unix_connection(self._socket)
        parser = hiredis.Reader(encoding="utf-8", errors="replace")
        answers: list[Reply | UserError] = []
        try:
            for command in (("AUTH", self._user, password), *commands):
                writer.write(hiredis.pack_command(command))  # type: ignore[arg-type] # its stub names a tuple of one
                await writer.drain()
                try:
                    answers.append(await _answer(reader, parser))
                except hiredis.ReplyError as error:
                    policy = translate(str(error))
                    if not (refusals and answers and isinstance(policy, UserError)):
                        raise
                    answers.append(policy)
            return answers[1:]
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def _answer(stream: asyncio.StreamReader, parser: hiredis.Reader) -> Reply:
    while True:
        reply = parser.gets()
        if isinstance(reply, hiredis.ReplyError):
            raise reply
        if reply is not False:
            answer: Reply = reply
            return answer
        data = await stream.read(_READ_BYTES)
        if not data:
            raise EOFError("it closed the connection")
        parser.feed(data)


def translate(text: str) -> Exception:
    """An error answer of the server by its policy; it never quotes a password."""
    if text.startswith(_UNAVAILABLE):
        return EngineUnavailable(f"the server is not ready: {text}")
    if text.startswith(_LATER):
        return Transient(f"the server refuses for now: {text}", retry_after_s=2.0)
    return UserError("EngineRefused", f"the server refuses: {text}")
