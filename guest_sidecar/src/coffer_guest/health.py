"""Whether the engine answers, and what it holds.

Owns the probes of the one process that runs now and the last inventory of databases and users.
A probe is asked for by the loop and by kubelet alike; at the same time there is only one.
"""

import asyncio
import logging
import time
from typing import Final

from coffer_common.errors import CofferError
from coffer_guest import launch_machine
from coffer_guest.engine_state import Probes, View
from coffer_guest.engines.base import Engine, EngineUnavailable

_log = logging.getLogger(__name__)

PROBE_TIMEOUT_S: Final = 2.0
_FRESH_S: Final = 1.5  # an answer this recent spares the loop a probe of its own
_INVENTORY_S: Final = 60.0  # others may change databases and users


def _process_of(view: View | None) -> tuple[str, int] | None:
    if view is None or view.state != launch_machine.RUNNING:
        return None
    return view.boot_id, view.generation


class Health:
    """The engine as it answers. `probes` are of the process `(launcher's boot id, generation)`."""

    def __init__(self) -> None:
        self.probes = Probes()
        self.version: str | None = None
        self.databases: tuple[str, ...] | None = None
        self.users: tuple[str, ...] | None = None
        self._process: tuple[str, int] | None = None
        self._since = time.monotonic()
        self._probing = asyncio.Lock()
        self._answered_at = float("-inf")
        self._inventory_at = float("-inf")
        self._keeping: asyncio.Task[None] | None = None

    def probes_of(self, view: View | None) -> Probes:
        """The probes of the process that `view` is of; of another than the one followed: none."""
        return self.probes if _process_of(view) == self._process else Probes()

    def follow(self, view: View | None) -> None:
        """Begin anew when another process runs, or none."""
        process = _process_of(view)
        if process != self._process:
            self._process = process
            self._since = time.monotonic()
            self.probes = Probes()
            self._answered_at = float("-inf")
            self.databases = self.users = None
            self.forget_inventory()

    def due(self) -> bool:
        """The loop should probe now: a process runs, and it has not just answered."""
        return self._process is not None and time.monotonic() - self._answered_at > _FRESH_S

    def waits_for_first_answer(self) -> bool:
        return self._process is not None and not self.probes.answered

    def age_s(self) -> float:
        """For how long the process has been known."""
        return time.monotonic() - self._since

    async def probe(self, engine: Engine) -> bool:
        """Ask the engine; True when it answers."""
        asked_at = time.monotonic()
        async with self._probing:
            if self._answered_at >= asked_at:
                return True  # another's question, asked after ours came
            process = self._process
            try:
                async with asyncio.timeout(2 * PROBE_TIMEOUT_S):
                    version = await engine.probe(PROBE_TIMEOUT_S)
            except (EngineUnavailable, TimeoutError) as error:
                self._failed(process, str(error) or "a query is not answered in time")
                return False
            if process == self._process and process is not None:
                self.version = version
                self.probes = Probes(answered=True)
                self._answered_at = time.monotonic()
            return True

    def _failed(self, process: tuple[str, int] | None, error: str) -> None:
        if process == self._process:
            before = self.probes
            self.probes = Probes(before.answered, before.failures + 1, error)

    def keep_house(self, engine: Engine, volume_bytes: int) -> None:
        """Let an engine that answers remove what would fill the volume, beside other work.

        Once at a time: an engine that takes long over it is not asked again meanwhile.
        """
        if self.probes.answered and (self._keeping is None or self._keeping.done()):
            self._keeping = asyncio.create_task(self._keep_house(engine, volume_bytes))

    @staticmethod
    async def _keep_house(engine: Engine, volume_bytes: int) -> None:
        try:
            await engine.keep_house(volume_bytes)
        except (CofferError, OSError) as error:
            _log.warning("keeping the volume from being filled: %s", error)

    def forget_inventory(self) -> None:
        """What databases and users there are must be read again."""
        self._inventory_at = float("-inf")

    def inventory_due(self) -> bool:
        return self.probes.answered and time.monotonic() - self._inventory_at >= _INVENTORY_S

    async def take_inventory(self, engine: Engine) -> None:
        """Read the names of databases and users."""
        self._inventory_at = time.monotonic()
        try:
            async with asyncio.timeout(10):
                databases = await engine.databases()
                users = await engine.users()
        except (CofferError, TimeoutError) as error:
            _log.warning("reading databases and users: %s", error)
            self.databases = self.users = None
            return
        self.databases = tuple(database.name for database in databases)
        self.users = tuple(f"{user.name}@{user.host}" for user in users)
