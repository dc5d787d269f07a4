"""The operator's connections to the agents: AgentClient over guests in memory.

Like `SimClient` one life of the operator, with latency and faults: an agent that cannot be
reached, answers late, or gets a request twice.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from coffer_common import naming
from coffer_common.wire import (
    ConfigurationRequest,
    DatabaseRequest,
    EngineAction,
    EngineState,
    GuestStatus,
    TaskRequest,
    UserRequest,
)
from coffer_operator.guest.api import AgentAddress, AgentBusyError, AgentUnreachableError
from sim_guest import Guest
from sim_kubelet import Kubelets

_CONNECT_TIMEOUT_S = 5.0
_ANSWER_TIMEOUT_S = 10.0


class AgentFaults(Protocol):
    """What happens to requests to agents."""

    def agent_latency_s(self) -> float:
        """How long one way takes."""
        ...

    def agent_before(self) -> bool:
        """Whether the request gets lost."""
        ...

    def agent_after(self) -> bool:
        """Whether the answer gets lost."""
        ...

    def agent_copies(self) -> int:
        """How often the request arrives."""
        ...


class SimAgentClient:
    """AgentClient over the guests of all kubelets."""

    def __init__(
        self,
        kubelets: Kubelets,
        faults: AgentFaults,
        log: Callable[[str], None],
        putting: Callable[[Guest, ConfigurationRequest], None] = lambda *_: None,
    ) -> None:
        """`putting` hears of a configuration before an agent gets it."""
        self._kubelets = kubelets
        self._faults = faults
        self._log = log
        self._putting = putting
        self.closed = False

    def close(self) -> None:
        """The process is dead."""
        self.closed = True

    async def _reach(self, at: AgentAddress) -> Guest:
        if self.closed:
            raise asyncio.CancelledError
        await asyncio.sleep(self._faults.agent_latency_s())
        guest = self._kubelets.guest_at(at.ip)
        if guest is None or not self._kubelets.connected(guest.pod.node):
            await asyncio.sleep(_CONNECT_TIMEOUT_S)
            raise AgentUnreachableError(f"{at.ip}: no answer")
        if not guest.agent_up or self._faults.agent_before():
            raise AgentUnreachableError(f"{at.ip}: connection refused")
        if at.host != naming.agent_host(guest.config.instance, guest.config.namespace):
            raise AgentUnreachableError(f"{at.ip}: the certificate is not for {at.host}")
        if guest.frozen:
            await asyncio.sleep(_ANSWER_TIMEOUT_S)
            raise AgentUnreachableError(f"{at.ip}: no answer in time")
        if self.closed:
            raise asyncio.CancelledError
        return guest

    async def _answer(self, at: AgentAddress) -> None:
        await asyncio.sleep(self._faults.agent_latency_s())
        if self.closed:
            raise asyncio.CancelledError
        if self._faults.agent_after():
            raise AgentUnreachableError(f"{at.ip}: connection reset")

    async def status(
        self, at: AgentAddress, *, seen: str | None, wait_s: float
    ) -> GuestStatus | None:
        guest = await self._reach(at)
        await guest.changed(seen, wait_s)
        if self.closed:
            raise asyncio.CancelledError
        if not guest.answers() or not self._kubelets.connected(guest.pod.node):
            raise AgentUnreachableError(f"{at.ip}: connection reset")
        status = guest.status()
        await self._answer(at)
        return None if status.etag == seen else status

    async def engine(self, at: AgentAddress, action: EngineAction, token: str) -> None:
        guest = await self._reach(at)
        self._log(f"agent {guest.pod.name}: engine/{action} {token[:8]}")
        for _ in range(self._faults.agent_copies()):
            if action is EngineAction.RESET:
                guest.reset()
            elif action is EngineAction.RESTART:
                if guest.busy_with_another(token):
                    raise AgentBusyError("another restart is under way")
                guest.restart(token)
        await self._answer(at)

    async def put_database(self, at: AgentAddress, name: str, request: DatabaseRequest) -> None:
        del request
        guest = await self._reach(at)
        self._serving(guest)
        self._log(f"agent {guest.pod.name}: database {name}")
        guest.disk.databases.add(name)
        guest.poke()
        await self._answer(at)

    async def put_user(self, at: AgentAddress, name: str, request: UserRequest) -> None:
        guest = await self._reach(at)
        self._serving(guest)
        self._log(f"agent {guest.pod.name}: user {name}@{request.host}")
        guest.disk.users[f"{name}@{request.host}"] = request.password
        guest.poke()
        await self._answer(at)

    async def put_configuration(self, at: AgentAddress, request: ConfigurationRequest) -> None:
        guest = await self._reach(at)
        self._log(f"agent {guest.pod.name}: configuration {request.hash[:6]} {request.values}")
        self._putting(guest, request)
        for _ in range(self._faults.agent_copies()):
            if not guest.put_configuration(request):
                raise AgentBusyError("the data are not laid out yet")
        await self._answer(at)

    async def put_task(self, at: AgentAddress, task_id: str, request: TaskRequest) -> None:
        guest = await self._reach(at)
        self._log(f"agent {guest.pod.name}: task {request.kind} {task_id}")
        if request.kind in ("backup", "restoreDump"):
            self._serving(guest)
        for _ in range(self._faults.agent_copies()):
            if not guest.tasks.put(task_id, request):
                raise AgentBusyError("another task is running")
        await self._answer(at)

    async def cancel_task(self, at: AgentAddress, task_id: str) -> None:
        guest = await self._reach(at)
        self._log(f"agent {guest.pod.name}: cancel {task_id}")
        guest.tasks.cancel(task_id)
        await self._answer(at)

    @staticmethod
    def _serving(guest: Guest) -> None:
        if guest.engine is not EngineState.RUNNING:
            raise AgentBusyError("the engine does not answer")
