"""The agents as the operator sees them: one method per call of the guest API that it makes.

Owns the protocol and its errors; `client` implements it over mutual TLS, and the simulated agents
of the tests implement it in memory.
"""

from dataclasses import dataclass
from typing import Protocol

from coffer_common.errors import Permanent, Transient
from coffer_common.wire import (
    ConfigurationRequest,
    DatabaseRequest,
    EngineAction,
    GuestStatus,
    TaskRequest,
    UserRequest,
)


@dataclass(frozen=True)
class AgentAddress:
    """Where an agent listens, and the name its certificate must bear."""

    ip: str
    host: str  # naming.agent_host


class AgentUnreachableError(Transient):
    """No answer: no connection, no TLS session, or none in time. Says nothing of the engine."""


class AgentBusyError(Transient):
    """The agent answered that it cannot do this now (409, 423, 425, 429, 5xx)."""


class AgentRefusedError(Permanent):
    """The agent answered that it will not do this (any other 4xx), with its reason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class AgentClient(Protocol):
    """What the operator asks of an agent. Every method raises the errors above."""

    async def status(
        self, at: AgentAddress, *, seen: str | None, wait_s: float
    ) -> GuestStatus | None:
        """The status: at once if its etag is not `seen`, else when that changes.

        None (or a status with the etag `seen`) after `wait_s` seconds without a change.
        """
        ...

    async def engine(self, at: AgentAddress, action: EngineAction, token: str) -> None:
        """POST /v1/engine/{action}; the same token again does nothing."""
        ...

    async def put_database(self, at: AgentAddress, name: str, request: DatabaseRequest) -> None:
        """PUT /v1/databases/{name}."""
        ...

    async def put_user(self, at: AgentAddress, name: str, request: UserRequest) -> None:
        """PUT /v1/users/{name}."""
        ...

    async def put_configuration(self, at: AgentAddress, request: ConfigurationRequest) -> None:
        """PUT /v1/configuration; what comes of it is in the status."""
        ...

    async def put_task(self, at: AgentAddress, task_id: str, request: TaskRequest) -> None:
        """PUT /v1/tasks/{id}; the same id again is the same task. How it goes is in the status."""
        ...

    async def cancel_task(self, at: AgentAddress, task_id: str) -> None:
        """DELETE /v1/tasks/{id}; a task that does not run, or is not known, is no error."""
        ...
