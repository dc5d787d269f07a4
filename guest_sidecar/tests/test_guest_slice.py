"""The -rw slice, against one EndpointSlice of a make-believe API server."""

import asyncio
import contextlib
import json
import os
import signal
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from coffer_common import naming
from coffer_guest.endpoints import SliceWriter
from coffer_guest.settings import Pod as PodFacts
from coffer_guest.slices import Wanted
from guest_certificates import Authority
from guest_harness import DEADLINE_S, MakePod, Pod, free_port, give_away
from guest_harness import until as wait_until

pytestmark = pytest.mark.guest

PATH = "/apis/discovery.k8s.io/v1/namespaces/tests/endpointslices/one-rw"
WANTED = Wanted("tests", "one-rw", 3306)
LEAVING = Wanted("tests", "one-rw", None)
FACTS = PodFacts(name="one-0", uid="u1", ip="192.0.2.7", node="node-1")


class ApiServer:
    """Holds one slice; takes merge patches with a resourceVersion; counts requests."""

    def __init__(self, account: Path) -> None:
        self.account = account
        self.slice: dict[str, Any] | None = {
            "metadata": {"name": "one-rw", "resourceVersion": "1"},
            "addressType": "IPv4",
        }
        self.requests: list[str] = []
        self.conflicts = 0  # writes by others that come in between
        self.port = free_port()
        self._runner: web.AppRunner | None = None
        self._authority = Authority()
        (account / "token").write_text("token-1\n")

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def addresses(self) -> list[str]:
        endpoints = (self.slice or {}).get("endpoints") or []
        return [address for endpoint in endpoints for address in endpoint["addresses"]]

    async def start(self) -> None:
        app = web.Application()
        app.add_routes([web.get(PATH, self.get), web.patch(PATH, self.patch)])
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        self._authority.issue_server(self.account)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.account / "tls.crt", self.account / "tls.key")
        await web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=context).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def get(self, request: web.Request) -> web.Response:
        self.requests.append("GET")
        token = (self.account / "token").read_text().strip()
        if request.headers.get("Authorization") != f"Bearer {token}":
            return web.json_response({}, status=401)
        return web.json_response(self.slice, status=404 if self.slice is None else 200)

    async def patch(self, request: web.Request) -> web.Response:
        self.requests.append("PATCH")
        assert request.content_type == "application/merge-patch+json"
        assert self.slice is not None
        if self.conflicts:
            self.conflicts -= 1
            self._advance()
        change = json.loads(await request.text())
        metadata = self.slice["metadata"]
        if change["metadata"].pop("resourceVersion") != metadata["resourceVersion"]:
            return web.json_response({}, status=409)
        metadata.setdefault("annotations", {}).update(change.pop("metadata")["annotations"])
        self.slice.update(change)
        self._advance()
        return web.json_response(self.slice)

    def _advance(self) -> None:
        assert self.slice is not None
        metadata = self.slice["metadata"]
        metadata["resourceVersion"] = str(int(metadata["resourceVersion"]) + 1)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[ApiServer]:
    server = ApiServer(tmp_path)
    await server.start()
    yield server
    await server.stop()


@contextlib.asynccontextmanager
async def writing(api: ApiServer) -> AsyncIterator[SliceWriter]:
    writer = SliceWriter(api.url, api.account, FACTS)
    task = asyncio.create_task(writer.run())
    try:
        yield writer
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(what: str, check: Callable[[], object]) -> None:
    await asyncio.to_thread(wait_until, what, check)


async def test_slice_is_written_once_and_then_left_in_peace(api: ApiServer) -> None:
    async with writing(api) as writer:
        writer.want(WANTED)
        await until("the address is there", lambda: api.addresses == ["192.0.2.7"])
        for _ in range(5):
            writer.want(WANTED)
            await asyncio.sleep(0)
        assert api.requests == ["GET", "PATCH"]
        assert api.slice is not None
        assert api.slice["ports"][0]["port"] == 3306
        assert api.slice["metadata"]["annotations"] == {naming.ANNOTATION_EPOCH: "0"}
        writer.want(LEAVING)
        await until("it is empty", lambda: not api.addresses)


async def test_slice_that_is_right_already_costs_one_read(api: ApiServer) -> None:
    async with writing(api) as writer:
        writer.want(WANTED)
        await until("the address is there", lambda: api.addresses)
    api.requests.clear()
    async with writing(api) as writer:
        writer.want(WANTED)
        await until("it has looked", lambda: api.requests)
    assert api.requests == ["GET"]


async def test_conflicts_are_read_anew(api: ApiServer) -> None:
    api.conflicts = 2
    async with writing(api) as writer:
        writer.want(WANTED)
        await until("the address is there", lambda: api.addresses)
    assert api.requests == ["GET", "PATCH"] * 3


async def test_writer_waits_for_slice_server_and_token(api: ApiServer) -> None:
    found, api.slice = api.slice, None
    async with writing(api) as writer:
        writer.want(WANTED)
        await until("it has asked", lambda: "GET" in api.requests)
        await api.stop()
        api.slice = found
        await api.start()  # with another certificate, as after a renewal of the authority
        await until("the address is there", lambda: api.addresses)
        (api.account / "token").write_text("token-2")
        writer.want(LEAVING)
        await until("it is empty", lambda: not api.addresses)


async def test_a_higher_epoch_is_never_overwritten(api: ApiServer) -> None:
    assert api.slice is not None
    api.slice["metadata"]["annotations"] = {naming.ANNOTATION_EPOCH: "4"}
    async with writing(api) as writer:
        writer.want(WANTED)
        await until("it has asked again", lambda: len(api.requests) >= 2)
        assert set(api.requests) == {"GET"}
        assert api.addresses == []


@pytest.fixture
def pod(mariadb_pod: MakePod) -> Pod:
    return mariadb_pod()


async def test_address_stays_while_only_the_agent_goes(pod: Pod) -> None:
    api = ApiServer(pod.account)
    await api.start()
    give_away(pod.account)
    pod.environment = {
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": str(api.port),
    }
    pod.configure(read_write_slice="one-rw")
    try:
        await asyncio.to_thread(pod.start)
        await until("the address is there", lambda: api.addresses == ["192.0.2.7"])
        await asyncio.to_thread(pod.until_running)
        assert pod.agent is not None
        pod.agent.terminate()
        assert await asyncio.to_thread(pod.agent.wait, DEADLINE_S) == 0
        assert api.addresses == ["192.0.2.7"]

        pod.start_agent()
        await asyncio.to_thread(pod.until_running)
        # the pod ends: the database first
        os.kill(pod.launcher_pid, signal.SIGTERM)
        await until("the address is out", lambda: not api.addresses)
        assert pod.launcher is not None
        assert await asyncio.to_thread(pod.launcher.wait, DEADLINE_S) == 0
        pod.agent.terminate()
        assert await asyncio.to_thread(pod.agent.wait, DEADLINE_S) == 0
    finally:
        await api.stop()
