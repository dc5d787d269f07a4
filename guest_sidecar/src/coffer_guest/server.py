"""Listens: plain HTTP for probes and metrics, mutual TLS for the guest API.

Owns the sockets; what is answered is probes' and api's. Imported while the volume is prepared,
since aiohttp takes a while.
"""

import asyncio
import logging
import ssl
from typing import Final

from aiohttp import web

from coffer_guest.api import Api
from coffer_guest.probes import Probes
from coffer_guest.settings import Settings
from coffer_guest.supervisor import Supervisor
from coffer_guest.tasks import Tasks
from coffer_guest.tls import ServerTLS

_log = logging.getLogger(__name__)

_TLS_RETRY_S: Final = 1.0
_CLOSE_S: Final = 2.0


class Server:
    """Both listeners of one agent."""

    def __init__(self, settings: Settings, supervisor: Supervisor, tasks: Tasks) -> None:
        self._settings = settings
        self._probes = web.AppRunner(
            Probes(supervisor).application(), access_log=None, shutdown_timeout=_CLOSE_S
        )
        self._api = web.AppRunner(
            Api(supervisor, tasks).application(), access_log=None, shutdown_timeout=_CLOSE_S
        )

    async def run(self) -> None:
        """Listen until cancelled. Raises OSError where a port is taken."""
        try:
            # probes first: they need no certificate
            await self._listen(self._probes, self._settings.probe_port, None)
            await self._listen(self._api, self._settings.agent_port, await self._context())
            _log.info("serving")
            await asyncio.Event().wait()
        finally:
            await self._api.cleanup()
            await self._probes.cleanup()

    async def _listen(
        self, runner: web.AppRunner, port: int, context: ssl.SSLContext | None
    ) -> None:
        await runner.setup()
        await web.TCPSite(runner, self._settings.host, port, ssl_context=context).start()

    async def _context(self) -> ssl.SSLContext:
        """TLS as soon as there is a certificate that can be used."""
        said = ""
        while True:
            try:
                return ServerTLS(self._settings.paths.tls).context
            except (OSError, ssl.SSLError) as error:
                if said != str(error):
                    said = str(error)
                    _log.warning("waiting for a certificate: %s", error)
            await asyncio.sleep(_TLS_RETRY_S)
