"""The agents' client against a TLS server on the loopback interface."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

from coffer_common import naming
from coffer_common.wire import (
    DatabaseRequest,
    DataState,
    DataStatus,
    EngineAction,
    EngineState,
    EngineStatus,
    ErrorAnswer,
    GuestStatus,
    UserRequest,
)
from coffer_operator.act.certificates import Authority, new_authority
from coffer_operator.guest import tls
from coffer_operator.guest.api import (
    AgentAddress,
    AgentBusyError,
    AgentRefusedError,
    AgentUnreachableError,
)
from coffer_operator.guest.client import HttpAgentClient

HOST = naming.agent_host("shop", "prod")
AT = AgentAddress("127.0.0.1", HOST)
STATUS = GuestStatus(
    etag="7",
    agent_version="1",
    boot_id="b",
    instance_uid="i",
    pod_uid="p",
    data=DataStatus(state=DataState.LAID_OUT),
    engine=EngineStatus(state=EngineState.RUNNING),
)


class Agent:
    """Answers as told; knows who asked for what."""

    def __init__(self) -> None:
        self.answer = web.Response(text=STATUS.model_dump_json())
        self.asked: list[tuple[str, str, str]] = []
        self.peer: Any = None

    async def handle(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        self.peer = request.transport.get_extra_info("peercert")
        self.asked.append((request.method, str(request.rel_url), await request.text()))
        return self.answer

    def refuse(self, status: int, message: ErrorAnswer | None) -> None:
        text = message.model_dump_json() if message else "<html>"
        self.answer = web.Response(status=status, text=text)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority(new_authority(datetime.now(UTC)), lambda: datetime.now(UTC))


@pytest.fixture
async def agent() -> Agent:
    return Agent()


@pytest.fixture
async def port(agent: Agent, authority: Authority) -> AsyncIterator[int]:
    pair = authority.issue("coffer-agent", [HOST])
    context = tls.server_context(pair.certificate, pair.key)
    context.load_verify_locations(cadata=authority.pem.decode())
    context.verify_mode = context.verify_mode.CERT_REQUIRED
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", agent.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    yield runner.addresses[0][1]
    await runner.cleanup()


def connected(authority: Authority, port: int) -> HttpAgentClient:
    pair = authority.issue(naming.OPERATOR_COMMON_NAME)
    return HttpAgentClient(tls.client_context(authority.pem, pair.certificate, pair.key), port)


@pytest.fixture
async def client(authority: Authority, port: int) -> AsyncIterator[HttpAgentClient]:
    async with connected(authority, port) as client:
        yield client


async def test_both_sides_know_each_other(agent: Agent, client: HttpAgentClient) -> None:
    assert await client.status(AT, seen="6", wait_s=30.0) == STATUS
    assert agent.asked == [("GET", "/v1/status?seen=6&wait=30", "")]
    assert ((("commonName", naming.OPERATOR_COMMON_NAME),)) in agent.peer["subject"]


async def test_the_first_question_does_not_wait(agent: Agent, client: HttpAgentClient) -> None:
    await client.status(AT, seen=None, wait_s=30.0)
    assert agent.asked[0][1] == "/v1/status"


async def test_another_agent_at_the_address_is_noticed(client: HttpAgentClient) -> None:
    other = AgentAddress("127.0.0.1", naming.agent_host("other", "prod"))
    with pytest.raises(AgentUnreachableError, match="certificate"):
        await client.status(other, seen=None, wait_s=1.0)


async def test_another_authoritys_agent_is_not_believed(port: int) -> None:
    stranger = Authority(new_authority(datetime.now(UTC)), lambda: datetime.now(UTC))
    async with connected(stranger, port) as client:
        with pytest.raises(AgentUnreachableError):
            await client.status(AT, seen=None, wait_s=1.0)


async def test_nobody_there_is_unreachable(authority: Authority, unused_tcp_port: int) -> None:
    async with connected(authority, unused_tcp_port) as client:
        with pytest.raises(AgentUnreachableError):
            await client.status(AT, seen=None, wait_s=1.0)


async def test_calls_go_where_they_belong(agent: Agent, client: HttpAgentClient) -> None:
    agent.answer = web.Response(status=204)
    await client.engine(AT, EngineAction.RESTART, "token")
    agent.answer = web.Response(status=204)
    await client.put_database(AT, "a/b", DatabaseRequest(character_set="utf8mb4"))
    agent.answer = web.Response(status=204)
    await client.put_user(AT, "app", UserRequest(password="secret", databases=("shop",)))
    assert [(method, path) for method, path, _ in agent.asked] == [
        ("POST", "/v1/engine/restart"),
        ("PUT", "/v1/databases/a%2Fb"),
        ("PUT", "/v1/users/app"),
    ]
    assert '"token":"token"' in agent.asked[0][2]
    assert '"password":"secret"' in agent.asked[2][2]


@pytest.mark.parametrize(("status", "retry"), [(503, 2.5), (409, None), (500, None)])
async def test_not_now_may_be_asked_again(
    agent: Agent, client: HttpAgentClient, status: int, retry: float | None
) -> None:
    agent.refuse(status, ErrorAnswer(reason="Busy", message="wait", retry_after_s=retry))
    with pytest.raises(AgentBusyError, match="wait") as caught:
        await client.put_database(AT, "shop", DatabaseRequest())
    assert caught.value.retry_after_s == retry


@pytest.mark.parametrize("status", [400, 403, 422, 501])
async def test_never_says_why(agent: Agent, client: HttpAgentClient, status: int) -> None:
    agent.refuse(status, ErrorAnswer(reason="BadName", message="no such name"))
    with pytest.raises(AgentRefusedError, match="no such name") as caught:
        await client.put_user(AT, "app", UserRequest(password="secret"))
    assert caught.value.reason == "BadName"
    assert "secret" not in str(caught.value)


async def test_an_answer_of_something_else_is_no_riddle(
    agent: Agent, client: HttpAgentClient
) -> None:
    agent.refuse(404, None)
    with pytest.raises(AgentRefusedError, match="HTTP status 404"):
        await client.engine(AT, EngineAction.START, "t")


async def test_a_status_of_another_age_is_not_readable(
    agent: Agent, client: HttpAgentClient
) -> None:
    agent.answer = web.Response(text='{"etag": "1"}')
    with pytest.raises(AgentUnreachableError, match="not readable: agent_version"):
        await client.status(AT, seen=None, wait_s=1.0)
