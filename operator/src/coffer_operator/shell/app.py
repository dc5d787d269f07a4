"""The operator's process: its servers, its certificates, its turn by Lease, its end.

Owns the order in which things start and stop. A process that stands by knows the catalogue and
answers the webhook; it begins to work on instances once it holds the Lease.
"""

import asyncio
import base64
import logging
import os
import random
import signal
import socket
import ssl
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Self

from aiohttp import web
from prometheus_client import generate_latest

from coffer_common import naming
from coffer_common.errors import CofferError
from coffer_operator.act.certificates import LIFE, Authority
from coffer_operator.guest import tls
from coffer_operator.guest.client import HttpAgentClient
from coffer_operator.kube.api import Key, KubeApi
from coffer_operator.kube.client import connect
from coffer_operator.observe.rulebook import packaged
from coffer_operator.plan.backup import plan_backup
from coffer_operator.plan.configuration import plan_configuration
from coffer_operator.plan.instance import plan_instance
from coffer_operator.plan.schedule import plan_schedule
from coffer_operator.plan.storage import plan_storage
from coffer_operator.plan.turns import plan_turns
from coffer_operator.plan.verification import plan_verification
from coffer_operator.shell import admission, crs
from coffer_operator.shell.engine import Engine
from coffer_operator.shell.lease import NAME, Leadership
from coffer_operator.shell.metrics import Metrics
from coffer_operator.shell.outside import Outside, Planners, Settings

log = logging.getLogger(__name__)

RENEW_EVERY_S: Final = LIFE.total_seconds() / 3
RETRY_S: Final = 5.0
REGISTER_EVERY_S: Final = 3600.0


@dataclass(frozen=True)
class Options:
    """What the environment of the process says; see `from_environment`."""

    namespace: str = "coffer-system"
    identity: str = "coffer-operator"
    webhook_service: str = ""  # empty: no webhook
    webhook_configuration: str = ""
    image: str = ""  # our own; empty: no storage workers
    pull_secrets: tuple[str, ...] = ()  # for guest images, by name in each namespace
    probe_port: int = 8080
    metrics_port: int = 9090
    webhook_port: int = 9443

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """COFFER_NAMESPACE, POD_NAME, COFFER_IMAGE, COFFER_WEBHOOK_{SERVICE,CONFIGURATION}.

        COFFER_PULL_SECRETS: names, with commas in between. COFFER_LISTEN_{PROBES,METRICS,WEBHOOK}:
        ports, for running beside others on one address.

        Raises ValueError for a port that is no number.
        """
        fallback = cls()
        return cls(
            namespace=environment.get("COFFER_NAMESPACE") or fallback.namespace,
            identity=environment.get("POD_NAME") or f"{socket.gethostname()}-{os.getpid()}",
            webhook_service=environment.get("COFFER_WEBHOOK_SERVICE", ""),
            webhook_configuration=environment.get("COFFER_WEBHOOK_CONFIGURATION", ""),
            image=environment.get("COFFER_IMAGE", ""),
            pull_secrets=tuple(
                name for name in environment.get("COFFER_PULL_SECRETS", "").split(",") if name
            ),
            probe_port=int(environment.get("COFFER_LISTEN_PROBES", fallback.probe_port)),
            metrics_port=int(environment.get("COFFER_LISTEN_METRICS", fallback.metrics_port)),
            webhook_port=int(environment.get("COFFER_LISTEN_WEBHOOK", fallback.webhook_port)),
        )


def utc_now() -> datetime:
    return datetime.now(UTC)


async def run(options: Options) -> None:
    """Run until a signal. Raises LeaseLostError (in a group) where another operator took over."""
    tls.use_small_buffers()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    main = asyncio.create_task(_main(options, stop), name="main")
    stopped = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait((main, stopped), return_when=asyncio.FIRST_COMPLETED)
        if main.done():
            main.result()
    finally:
        await _end(main, stopped)


async def _main(options: Options, stop: asyncio.Event) -> None:
    """The servers that need nothing, then what needs the API server, then the work."""
    metrics, health = Metrics(), _Health()
    async with AsyncExitStack() as resources:
        await _listen(health.application(), options.probe_port, resources)
        await _listen(_scrapes(metrics), options.metrics_port, resources)
        api = await connect(random.Random(), told=metrics.requested)  # noqa: S311  # jitter
        resources.push_async_callback(api.close)
        authority = await _load_authority(api, options.namespace)
        process = _Process(options, stop, api, authority)
        agents = await resources.enter_async_context(HttpAgentClient(process.agent_tls))
        process.engine = Engine(
            Outside(api, agents, authority, utc_now, process.rng),
            Planners(
                plan_instance,
                plan_configuration,
                plan_turns,
                plan_storage,
                plan_backup,
                plan_verification,
                plan_schedule,
            ),
            Settings(
                operator_namespace=options.namespace,
                watch_own=False,
                image=options.image,
                pull_secrets=options.pull_secrets,
            ),
            told=metrics,
        )
        process.engine.active.clear()
        health.active = process.engine.active
        metrics.watch(process.engine)
        if options.webhook_service:
            await process.serve_webhook(resources)
        await process.work()


class _Health:
    """That it answers says that the event loop turns; what it answers is for people."""

    def __init__(self) -> None:
        self.active: asyncio.Event | None = None  # None: waits for the API server

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/healthz", self._answer)
        return app

    async def _answer(self, _: web.Request) -> web.Response:
        if self.active is None:
            return web.Response(text="starting")
        return web.Response(text="active" if self.active.is_set() else "standing by")


class _Process:
    """What the process does once it has reached the API server."""

    engine: Engine

    def __init__(
        self, options: Options, stop: asyncio.Event, api: KubeApi, authority: Authority
    ) -> None:
        self._options = options
        self._stop = stop
        self._api = api
        self._authority = authority
        self.rng = random.Random()  # noqa: S311  # jitter
        client = authority.issue(naming.OPERATOR_COMMON_NAME)
        self.agent_tls = tls.client_context(authority.pem, client.certificate, client.key)
        server = authority.issue(NAME, self._webhook_names())
        self._webhook_tls = tls.server_context(server.certificate, server.key)

    async def work(self) -> None:
        """Stand by, then work, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.engine.run_catalogue(), name="catalogue")
            group.create_task(self._renew_certificates(), name="certificates")
            if self._options.webhook_configuration:
                group.create_task(self._register_webhook(), name="webhook")
            group.create_task(self._lead(), name="lead")

    async def _lead(self) -> None:
        """Work on instances while we hold the Lease."""
        options = self._options
        leadership = Leadership(
            self._api,
            Key(options.namespace, NAME),
            options.identity,
            self.engine.active,
            now=utc_now,
            rng=self.rng,
        )
        await leadership.acquire()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(leadership.keep(), name="lease")
                instances = group.create_task(self.engine.run_instances(), name="instances")

                async def stopping() -> None:
                    await _end(instances)

                await crs.watch(self.engine.feed, stopping)
                self._stop.set()
        finally:
            await leadership.release()

    # --- certificates and webhook ----------------------------------------------------------------
    async def _renew_certificates(self) -> None:
        """The operator's own; new connections use them."""
        while True:
            await asyncio.sleep(RENEW_EVERY_S)
            client = self._authority.issue(naming.OPERATOR_COMMON_NAME)
            tls.renew(self.agent_tls, client.certificate, client.key)
            server = self._authority.issue(NAME, self._webhook_names())
            tls.renew(self._webhook_tls, server.certificate, server.key)

    def _webhook_names(self) -> list[str]:
        service, namespace = self._options.webhook_service, self._options.namespace
        return [f"{service}.{namespace}.svc"] if service else []

    async def _register_webhook(self) -> None:
        """Until it succeeds, and now and then again: a chart's upgrade writes it anew."""
        name = self._options.webhook_configuration
        bundle = base64.b64encode(self._authority.pem).decode()
        while True:
            try:
                await admission.register(self._api, name, bundle)
                wait_s = REGISTER_EVERY_S
            except CofferError as error:
                log.warning("webhook configuration %s: %s", name, error)
                wait_s = RETRY_S
            await asyncio.sleep(wait_s)

    async def serve_webhook(self, resources: AsyncExitStack) -> None:
        """Answer the API server, from what is known by then; closed with `resources`."""
        engine = self.engine

        def known() -> admission.Known | None:
            if not engine.catalogue_synced:
                return None
            cache, backups = engine.cache, engine.backups
            return admission.Known(
                catalogue=cache.catalogue(),
                group=cache.group,
                shipped=packaged,
                instance=cache.instance,
                source=backups.restore_source,
                backups=backups.backups_in,
                offers=engine.offers,
            )

        app = admission.application(known, self._api)
        await _listen(app, self._options.webhook_port, resources, self._webhook_tls)


def _scrapes(metrics: Metrics) -> web.Application:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(metrics.registry), content_type="text/plain")

    app = web.Application()
    app.router.add_get("/metrics", answer)
    return app


async def _listen(
    app: web.Application,
    port: int,
    resources: AsyncExitStack,
    context: ssl.SSLContext | None = None,
) -> None:
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    resources.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, port=port, ssl_context=context).start()


async def _load_authority(api: KubeApi, namespace: str) -> Authority:
    """Tried until the API server answers: a crash would only wait longer."""
    while True:
        try:
            return await Authority.load(api, namespace, utc_now)
        except CofferError as error:
            log.warning("certificate authority: %s", error)
            await asyncio.sleep(RETRY_S)


async def _end(*tasks: asyncio.Task[object]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
