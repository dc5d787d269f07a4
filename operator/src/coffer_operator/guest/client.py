"""AgentClient over HTTPS with mutual TLS.

Connects to the pod's address and expects the agent's own name in its certificate, so that an
address that went to another pod is noticed. Owns connections and time-outs; never retries.
"""

import ssl
from collections.abc import Mapping
from typing import Any, Final, Self
from urllib.parse import quote

import aiohttp
from pydantic import BaseModel, ValidationError

from coffer_common import naming
from coffer_common.wire import (
    CONFIGURATION_PATH,
    DATABASES_PATH,
    ENGINE_PATH,
    STATUS_PATH,
    TASKS_PATH,
    USERS_PATH,
    ConfigurationRequest,
    DatabaseRequest,
    EngineAction,
    EngineRequest,
    ErrorAnswer,
    GuestStatus,
    TaskRequest,
    UserRequest,
)
from coffer_operator.guest.api import (
    AgentAddress,
    AgentBusyError,
    AgentRefusedError,
    AgentUnreachableError,
)

CONNECT_TIMEOUT_S: Final = 3.0
CALL_TIMEOUT_S: Final = 30.0
GRACE_S: Final = 10.0  # beyond the wait of a long poll
_BUSY: Final = frozenset({409, 423, 425, 429})
_NOT_SUPPORTED: Final = 501


class HttpAgentClient:
    """Implements AgentClient. `context` is trusted to name the authority and the operator."""

    def __init__(self, context: ssl.SSLContext, port: int = naming.AGENT_PORT) -> None:
        """Must be made while the event loop runs."""
        self._port = port
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=0), trust_env=False
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def status(
        self, at: AgentAddress, *, seen: str | None, wait_s: float
    ) -> GuestStatus | None:
        """See AgentClient."""
        query = {"seen": seen, "wait": f"{wait_s:g}"} if seen is not None else {}
        limit_s = GRACE_S + (wait_s if seen is not None else 0.0)
        body = await self._call("GET", at, STATUS_PATH, query=query, limit_s=limit_s)
        if not body:
            return None
        try:
            return GuestStatus.model_validate_json(body)
        except ValidationError as error:
            problem = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in problem["loc"])
            message = f"its status is not readable: {where}: {problem['msg']}"
            raise AgentUnreachableError(message) from error

    async def engine(self, at: AgentAddress, action: EngineAction, token: str) -> None:
        """See AgentClient."""
        await self._call("POST", at, f"{ENGINE_PATH}/{action}", EngineRequest(token=token))

    async def put_database(self, at: AgentAddress, name: str, request: DatabaseRequest) -> None:
        """See AgentClient."""
        await self._call("PUT", at, f"{DATABASES_PATH}/{quote(name, safe='')}", request)

    async def put_user(self, at: AgentAddress, name: str, request: UserRequest) -> None:
        """See AgentClient."""
        await self._call("PUT", at, f"{USERS_PATH}/{quote(name, safe='')}", request)

    async def put_configuration(self, at: AgentAddress, request: ConfigurationRequest) -> None:
        """See AgentClient."""
        await self._call("PUT", at, CONFIGURATION_PATH, request)

    async def put_task(self, at: AgentAddress, task_id: str, request: TaskRequest) -> None:
        """See AgentClient."""
        await self._call("PUT", at, f"{TASKS_PATH}/{quote(task_id, safe='')}", request)

    async def cancel_task(self, at: AgentAddress, task_id: str) -> None:
        """See AgentClient. The agent answers when the task has ended."""
        await self._call("DELETE", at, f"{TASKS_PATH}/{quote(task_id, safe='')}")

    async def _call(
        self,
        method: str,
        at: AgentAddress,
        path: str,
        message: BaseModel | None = None,
        *,
        query: Mapping[str, str] | None = None,
        limit_s: float = CALL_TIMEOUT_S,
    ) -> bytes:
        """The body of a good answer; raises the errors of AgentClient for any other."""
        host = f"[{at.ip}]" if ":" in at.ip else at.ip
        options: dict[str, Any] = {}
        if message is not None:
            options["data"] = message.model_dump_json()
            options["headers"] = {"Content-Type": "application/json"}
        try:
            async with self._session.request(
                method,
                f"https://{host}:{self._port}{path}",
                params=dict(query or {}),
                server_hostname=at.host,
                timeout=aiohttp.ClientTimeout(total=limit_s, sock_connect=CONNECT_TIMEOUT_S),
                allow_redirects=False,
                **options,
            ) as response:
                body = await response.read()
                status = response.status
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise AgentUnreachableError(str(error) or "no answer in time") from error
        if status in (200, 201, 202, 204, 304):
            return body
        raise _refusal(status, body)


def _refusal(status: int, body: bytes) -> AgentBusyError | AgentRefusedError:
    try:
        answer = ErrorAnswer.model_validate_json(body)
    except ValidationError:
        answer = ErrorAnswer(reason="AgentError", message=f"HTTP status {status}")
    if (status >= 500 and status != _NOT_SUPPORTED) or status in _BUSY:
        return AgentBusyError(answer.message, answer.retry_after_s)
    return AgentRefusedError(answer.reason, answer.message)
