"""What the agents say: one long poll per instance whose pod has an address.

Owns the freshness of each answer. A key is woken only when an answer changed or when an agent
became reachable or unreachable; an agent that cannot be reached says nothing of its engine. What
others get to know of it, its configuration and whether it answers, is told apart.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from coffer_common import naming
from coffer_common.errors import CofferError, Transient
from coffer_common.wire import GuestStatus
from coffer_operator.guest.api import AgentAddress, AgentClient
from coffer_operator.kube.api import Key
from coffer_operator.plan.world import AgentFact, PodFact

log = logging.getLogger(__name__)

WAIT_S: Final = 30.0  # of one long poll
MIN_WAIT_S: Final = 1.0  # between two answers that are the same
GRACE_S: Final = 3.0  # of failing attempts before an agent that has answered counts as away
# How long an agent has been tried in vain, and how long to wait then. A new pod's agent is up
# within a second or two, and every step of waiting is added to the time from apply to Ready.
_BACKOFF: Final = ((5.0, 0.05), (30.0, 0.5), (120.0, 5.0), (600.0, 15.0))
_LAST_BACKOFF_S: Final = 60.0


def backoff_s(tried_for_s: float) -> float:
    """Seconds between two attempts, by how long there has been no answer."""
    return next((wait for until, wait in _BACKOFF if tried_for_s < until), _LAST_BACKOFF_S)


@dataclass
class _Agent:
    """What is known of one agent, and the task that asks it."""

    pod_uid: str
    ip: str
    task: asyncio.Task[None] | None = None
    status: GuestStatus | None = None
    status_pod_uid: str = ""
    heard_at: float = 0.0
    error: str | None = None


class Agents:
    """The long polls of all instances.

    `wake` is called with the key of an instance about which something new is known; `configured`
    before it, where that is its configuration or whether it answers.
    """

    def __init__(
        self,
        client: AgentClient,
        wake: Callable[[Key], None],
        *,
        rng: random.Random,
        configured: Callable[[Key], None] = lambda _: None,
    ) -> None:
        self._client = client
        self._wake = wake
        self._configured = configured
        self._rng = rng
        self._agents: dict[Key, _Agent] = {}

    def __len__(self) -> int:
        return len(self._agents)

    def follow(self, key: Key, pod: PodFact | None) -> None:
        """Poll the agent of this pod; without a pod or an address, stop."""
        agent = self._agents.get(key)
        if pod is None or pod.ip is None or pod.phase in ("Succeeded", "Failed"):
            if agent is not None:
                self._stop(key, agent, "the pod has no address" if pod else "there is no pod")
                if pod is None and agent.status is None:
                    del self._agents[key]
            return
        if agent is None:
            agent = self._agents[key] = _Agent(pod.uid, pod.ip)
        elif agent.task is not None and (agent.pod_uid, agent.ip) == (pod.uid, pod.ip):
            return
        else:
            self._stop(key, agent, "the pod is a new one")
            agent.pod_uid, agent.ip = pod.uid, pod.ip
        agent.task = asyncio.create_task(self._poll(key, agent), name=f"agent {key}")

    def forget(self, key: Key) -> None:
        """The instance is gone."""
        agent = self._agents.pop(key, None)
        if agent is not None:
            self._stop(key, agent, "the instance is gone")

    def fact(self, key: Key) -> AgentFact | None:
        """What the agent said last; None if it was never reached."""
        agent = self._agents.get(key)
        if agent is None or agent.status is None:
            return None
        age_s = asyncio.get_running_loop().time() - agent.heard_at
        return AgentFact(agent.status, agent.status_pod_uid, age_s, agent.error)

    def ages_s(self) -> list[float]:
        """Seconds since each agent was heard of, of those that ever were."""
        now = asyncio.get_running_loop().time()
        return [now - agent.heard_at for agent in self._agents.values() if agent.status]

    async def close(self) -> None:
        """End all polls."""
        tasks = [agent.task for agent in self._agents.values() if agent.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _stop(self, key: Key, agent: _Agent, why: str) -> None:
        if agent.task is not None:
            agent.task.cancel()
            agent.task = None
        reachable_before = agent.error is None and agent.status is not None
        agent.error = why
        if reachable_before:
            self._configured(key)

    async def _poll(self, key: Key, agent: _Agent) -> None:
        """Ask one pod's agent until cancelled."""
        loop = asyncio.get_running_loop()
        at = AgentAddress(agent.ip, naming.agent_host(key.name, key.namespace))
        answered_at = loop.time()
        failing_since: float | None = None
        seen: str | None = None  # an etag is only good for the agent process that gave it
        while True:
            asked_at = loop.time()
            try:
                status = await self._client.status(at, seen=seen, wait_s=WAIT_S)
            except CofferError as error:
                failing_since = loop.time() if failing_since is None else failing_since
                if agent.status is None or loop.time() - failing_since >= GRACE_S:
                    self._failed(key, agent, str(error))
                seen = None
                asked = error.retry_after_s if isinstance(error, Transient) else None
                pause_s = asked or backoff_s(loop.time() - answered_at)
                await asyncio.sleep(pause_s * self._rng.uniform(0.75, 1.25))
                continue
            answered_at, failing_since = loop.time(), None
            unchanged = status is None or status.etag == seen
            seen = self._answered(key, agent, status)
            if unchanged and answered_at - asked_at < MIN_WAIT_S:
                await asyncio.sleep(MIN_WAIT_S)  # it did not wait as asked

    def _answered(self, key: Key, agent: _Agent, status: GuestStatus | None) -> str | None:
        """Take an answer; the etag to ask with next."""
        agent.heard_at = asyncio.get_running_loop().time()
        before, back = agent.status, agent.error is not None or agent.status is None
        news = back
        agent.error = None
        if status is not None:
            news = news or status != before or agent.status_pod_uid != agent.pod_uid
            agent.status, agent.status_pod_uid = status, agent.pod_uid
        if back or _says(agent.status) != _says(before):
            self._configured(key)
        if news:
            self._wake(key)
        return agent.status.etag if agent.status else None

    def _failed(self, key: Key, agent: _Agent, error: str) -> None:
        reachable_before = agent.error is None and agent.status is not None
        agent.error = error
        if reachable_before:
            log.info("%s/%s: agent not reachable: %s", key.namespace, key.name, error)
            self._configured(key)
            self._wake(key)


def _says(status: GuestStatus | None) -> tuple[object, ...]:
    """What an answer tells others than its own instance."""
    if status is None:
        return ()
    return status.instance_uid, status.configuration, status.data.state
