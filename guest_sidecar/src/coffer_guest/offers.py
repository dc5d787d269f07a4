"""Which backup strategies this image has for the engine: asked once, of a child process.

Owns when it is asked: after the engine's first answer, beside nothing that anybody waits for. Until
it is known the status says that it is not, and nobody is refused for it.
"""

import asyncio
import contextlib
import logging
import sys
from collections.abc import Callable
from typing import Final

from pydantic import TypeAdapter, ValidationError

from coffer_common.wire import OfferedStrategy

_log = logging.getLogger(__name__)

_CHILD: Final = (sys.executable, "-m", "coffer_guest.strategies.backup.offered")
_DELAY_S: Final = 3.0  # what follows the first answer goes first
_TIMEOUT_S: Final = 60.0
_RETRY_S: Final = 300.0

Offers = tuple[OfferedStrategy, ...]


class OfferedStrategies:
    """What is known of one agent's image; `found` is called with it, once."""

    def __init__(self, found: Callable[[Offers], None]) -> None:
        self._found = found
        self._manager: asyncio.Future[str] | None = None

    def engine_answers(self, manager: str) -> None:
        """The engine of this plugin has answered; said again it is nothing new."""
        if self._manager is not None and not self._manager.done():
            self._manager.set_result(manager)

    async def run(self) -> None:
        """Find out, then rest, until cancelled."""
        self._manager = asyncio.get_running_loop().create_future()
        manager = await self._manager
        await asyncio.sleep(_DELAY_S)
        while True:
            try:
                self._found(await ask(manager))
                break
            except (OSError, TimeoutError, ValidationError) as error:
                text = str(error).partition("\n")[0] or type(error).__name__
                _log.warning("the backup strategies cannot be told: %s", text)
            await asyncio.sleep(_RETRY_S)
        await asyncio.Event().wait()


async def ask(manager: str) -> Offers:
    """Run the child. Raises OSError, TimeoutError; ValidationError for what it should not say."""
    child = await asyncio.create_subprocess_exec(
        *_CHILD, manager, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            output, _ = await child.communicate()
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
    return TypeAdapter(Offers).validate_json(output)
