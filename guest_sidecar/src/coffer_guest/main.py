"""Entry point of the guest agent: puts its parts together, and takes them apart at SIGTERM.

The engine is none of its business then: the launcher stops that by its own signal.
"""

import asyncio
import logging
import os
import signal
import sys
import uuid
from collections.abc import Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Final

from coffer_common.wire import EngineState, OfferedStrategy, TaskState, TaskStatus
from coffer_guest import settings as settings_module
from coffer_guest.board import Board
from coffer_guest.layout import Step
from coffer_guest.offers import OfferedStrategies
from coffer_guest.settings import Settings
from coffer_guest.supervisor import Supervisor
from coffer_guest.task_child import site_message
from coffer_guest.tasks import Tasks

if TYPE_CHECKING:
    from coffer_guest.endpoints import SliceWriter
    from coffer_guest.server import Server


_LEAVE_S: Final = 3.0
_AUTHORITIES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")  # of OpenSSL


class Agent:
    """One agent process."""

    def __init__(self, settings: Settings, step: Step) -> None:
        self.settings = settings
        self.board = Board(_version(), str(uuid.uuid4()), settings.pod.uid)
        self.tasks = Tasks(
            settings.paths.tasks,
            self._tasks_changed,
            self._task_site,
        )
        self.supervisor = Supervisor(
            settings, self.board, step, self.tasks.recover, self._round_ended
        )
        self._offers = OfferedStrategies(self._offers_found)
        self._slice: SliceWriter | None = None

    async def run(self) -> None:
        """Work until SIGTERM or SIGINT; an error of a part ends all."""
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ended.set)
        # in a thread: the supervisor prepares the volume while aiohttp is imported
        self._imported = asyncio.create_task(asyncio.to_thread(_import_server))
        parts = [
            asyncio.create_task(self.supervisor.run()),
            asyncio.create_task(self._serve()),
            asyncio.create_task(self._write_slice()),
            asyncio.create_task(self._offers.run()),
        ]
        waiting = asyncio.create_task(ended.wait())
        await asyncio.wait([*parts, waiting], return_when=asyncio.FIRST_COMPLETED)
        self.board.close()
        failures = [part.exception() for part in parts if part.done()]
        for task in (*parts, waiting):
            task.cancel()
        await asyncio.gather(*parts, waiting, return_exceptions=True)
        if self._slice is not None and not self.supervisor.engine_may_serve():
            # else only this container is replaced, and the database keeps its address
            await self._slice.leave(_LEAVE_S)
        await self.tasks.close()
        if self.supervisor.engine is not None:
            await self.supervisor.engine.close()
        for failure in failures:
            if failure is not None:
                raise failure

    async def _serve(self) -> None:
        server, _ = await asyncio.shield(self._imported)
        await server(self.settings, self.supervisor, self.tasks).run()

    async def _write_slice(self) -> None:
        settings = self.settings
        if settings.api_server is None:
            await asyncio.Event().wait()  # not in a cluster
            return
        _, writer = await asyncio.shield(self._imported)
        self._slice = writer(settings.api_server, settings.paths.service_account, settings.pod)
        self._aim_slice()
        await self._slice.run()

    def _round_ended(self) -> None:
        self._aim_slice()
        config = self.supervisor.config
        if config is not None and self.board.status.engine.state is EngineState.RUNNING:
            self._offers.engine_answers(config.manager)

    def _offers_found(self, offers: tuple[OfferedStrategy, ...]) -> None:
        self.board.publish(backup_strategies=offers)

    def _aim_slice(self) -> None:
        wanted = self.supervisor.wanted_slice()
        if wanted is not None and self._slice is not None:
            self._slice.want(wanted)

    def _task_site(self) -> tuple[Mapping[str, str], Mapping[str, object]]:
        kinds, site, config = self.supervisor.task_site()
        message = {
            "site": site_message(site),
            "instance": config.model_dump(mode="json"),
            "volume": str(self.settings.paths.volume),
        }
        return kinds, message

    def _tasks_changed(self, tasks: tuple[TaskStatus, ...]) -> None:
        self.board.publish(tasks=tasks)
        if not any(task.state is TaskState.RUNNING for task in tasks):
            self.supervisor.task_ended()


def _import_server() -> "tuple[type[Server], type[SliceWriter]]":
    """Import aiohttp, without the system's certificate authorities.

    It reads them when it is imported: 4 MiB for nothing, since every peer of an agent is checked
    against an authority that the agent was given.
    """
    before = {name: os.environ.get(name) for name in _AUTHORITIES}
    os.environ |= dict.fromkeys(_AUTHORITIES, os.devnull)
    try:
        from coffer_guest.endpoints import SliceWriter  # noqa: PLC0415 - see Agent.run
        from coffer_guest.server import Server  # noqa: PLC0415 - see Agent.run
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    return Server, SliceWriter


def _version() -> str:
    try:
        return metadata.version("coffer")
    except metadata.PackageNotFoundError:
        return "unknown"


def _no_step(_: str) -> None:
    """Production: nothing happens between the steps of a layout."""


def start(settings: Settings, step: Step = _no_step) -> None:
    """Run an agent to its end."""
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    asyncio.run(Agent(settings, step).run())


def main() -> None:
    """Entry point: coffer-guest."""
    start(settings_module.parse(sys.argv[1:], os.environ))


if __name__ == "__main__":
    main()
