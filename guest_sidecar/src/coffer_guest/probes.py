"""Plain HTTP for kubelet and Prometheus: /livez, /readyz, /metrics. Changes nothing.

/livez says that the event loop turns, and nothing else: with more in it, a hung engine would end
the agent. /readyz asks the engine each time.
"""

from aiohttp import web

from coffer_guest.supervisor import Supervisor


class Probes:
    """The handlers."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def application(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            [
                web.get("/livez", self.livez),
                web.get("/readyz", self.readyz),
                web.get("/metrics", self.metrics),
            ]
        )
        return app

    async def livez(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(self, _: web.Request) -> web.Response:
        why = await self._supervisor.serving()
        if why is None:
            return web.Response(text="ok\n")
        return web.Response(text=f"{why}\n", status=503)

    async def metrics(self, _: web.Request) -> web.Response:
        from coffer_guest import metrics  # noqa: PLC0415 - memory that unscraped agents spare

        return web.Response(
            body=metrics.render(self._supervisor.board.status),
            headers={"Content-Type": metrics.CONTENT_TYPE},
        )
