"""The long polls: quick at first, patient later, and silent while nothing is new."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from coffer_common.errors import CofferError
from coffer_common.wire import DataState, DataStatus, EngineState, EngineStatus, GuestStatus
from coffer_operator.guest.api import AgentAddress, AgentBusyError, AgentUnreachableError
from coffer_operator.kube.api import Key
from coffer_operator.observe.agents import Agents, backoff_s
from coffer_operator.plan.world import PodFact

pytestmark = pytest.mark.looptime

KEY = Key("prod", "shop")
POD = PodFact(
    name="shop-0",
    uid="pod-1",
    phase="Running",
    ip="10.0.0.9",
    node="n1",
    ready=False,
    deleting=False,
    template_hash=None,
    unschedulable=None,
    guest=None,
    database=None,
)


def status(etag: str, state: EngineState = EngineState.RUNNING) -> GuestStatus:
    return GuestStatus(
        etag=etag,
        agent_version="1",
        boot_id="b",
        instance_uid="i",
        pod_uid="pod-1",
        data=DataStatus(state=DataState.LAID_OUT),
        engine=EngineStatus(state=state),
    )


class Agent:
    """An agent that can be changed and taken away; waits as a long poll does."""

    def __init__(self) -> None:
        self.now: GuestStatus | CofferError = AgentUnreachableError("connection refused")
        self.asked: list[tuple[float, str | None]] = []
        self._changed = asyncio.Event()

    def becomes(self, now: GuestStatus | CofferError) -> None:
        self.now = now
        self._changed.set()
        self._changed = asyncio.Event()

    async def status(
        self, at: AgentAddress, *, seen: str | None, wait_s: float
    ) -> GuestStatus | None:
        assert at == AgentAddress("10.0.0.9", "shop.prod.agent.coffer.dev")
        self.asked.append((asyncio.get_running_loop().time(), seen))
        if isinstance(self.now, GuestStatus) and self.now.etag == seen:
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            except TimeoutError:
                return None
        if isinstance(self.now, CofferError):
            raise self.now
        return self.now

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} is not asked for by a poll")


@pytest.fixture
async def agent() -> Agent:
    return Agent()


@pytest.fixture
def woken() -> list[Key]:
    return []


@pytest.fixture
async def agents(agent: Agent, woken: list[Key]) -> AsyncIterator[Agents]:
    polls = Agents(agent, woken.append, rng=random.Random(0))
    yield polls
    await polls.close()


async def test_a_new_pods_agent_is_found_within_a_tenth_of_a_second(
    agent: Agent, agents: Agents, woken: list[Key]
) -> None:
    agents.follow(KEY, POD)
    await asyncio.sleep(1.5)
    assert agents.fact(KEY) is None
    agent.becomes(status("1"))
    await asyncio.sleep(0.1)
    assert woken == [KEY]
    fact = agents.fact(KEY)
    assert fact is not None
    assert (fact.status.etag, fact.pod_uid, fact.error) == ("1", "pod-1", None)


async def test_patience_grows_and_is_bounded(agent: Agent, agents: Agents) -> None:
    agents.follow(KEY, POD)
    await asyncio.sleep(3600)
    first = [at for at, _ in agent.asked if at < 5]
    last = [at for at, _ in agent.asked if at > 1800]
    assert 50 < len(first) < 200
    assert len(last) < 45
    assert backoff_s(1e9) == 60.0


async def test_an_idle_agent_wakes_nobody_and_is_fresh(
    agent: Agent, agents: Agents, woken: list[Key]
) -> None:
    agent.becomes(status("1"))
    agents.follow(KEY, POD)
    await asyncio.sleep(600)
    assert woken == [KEY]
    assert len(agent.asked) < 25
    fact = agents.fact(KEY)
    assert fact is not None
    assert fact.age_s <= 30


async def test_every_change_wakes_at_once(agent: Agent, agents: Agents, woken: list[Key]) -> None:
    agent.becomes(status("1"))
    agents.follow(KEY, POD)
    await asyncio.sleep(7)
    agent.becomes(status("2", EngineState.CRASHED))
    await asyncio.sleep(0.001)
    assert woken == [KEY, KEY]
    fact = agents.fact(KEY)
    assert fact is not None
    assert fact.status.engine.state is EngineState.CRASHED


async def test_becoming_unreachable_and_reachable_again_is_told_once_each(
    agent: Agent, agents: Agents, woken: list[Key]
) -> None:
    agent.becomes(status("1"))
    agents.follow(KEY, POD)
    await asyncio.sleep(1)
    agent.becomes(AgentUnreachableError("cut"))
    await asyncio.sleep(4)
    assert woken == [KEY, KEY]
    fact = agents.fact(KEY)
    assert fact is not None
    assert (fact.error, fact.status.etag) == ("cut", "1")
    agent.becomes(status("1"))
    await asyncio.sleep(1)
    assert woken == [KEY, KEY, KEY]
    again = agents.fact(KEY)
    assert again is not None
    assert again == replace(fact, error=None, age_s=again.age_s)
    assert again.age_s <= 1


async def test_one_attempt_that_fails_is_nothing_to_tell(
    agent: Agent, agents: Agents, woken: list[Key]
) -> None:
    agent.becomes(status("1"))
    agents.follow(KEY, POD)
    await asyncio.sleep(1)
    agent.becomes(AgentUnreachableError("reset"))
    await asyncio.sleep(1)
    agent.becomes(status("1"))
    await asyncio.sleep(5)
    assert woken == [KEY]


async def test_after_an_interruption_an_etag_of_before_is_not_believed(
    agent: Agent, agents: Agents
) -> None:
    """A new agent process may count its etags from one again."""
    agent.becomes(status("1"))
    agents.follow(KEY, POD)
    await asyncio.sleep(1)
    agent.becomes(AgentUnreachableError("restarting"))
    await asyncio.sleep(1)
    agent.becomes(status("1", EngineState.WAITING))
    await asyncio.sleep(1)
    fact = agents.fact(KEY)
    assert fact is not None
    assert fact.status.engine.state is EngineState.WAITING


async def test_a_new_pod_is_asked_at_once_and_the_old_word_is_kept_with_its_pod(
    agent: Agent, agents: Agents
) -> None:
    agent.becomes(status("1"))
    agents.follow(KEY, POD)
    await asyncio.sleep(1)
    agent.becomes(AgentUnreachableError("refused"))
    agents.follow(KEY, replace(POD, uid="pod-2"))
    await asyncio.sleep(0.5)
    fact = agents.fact(KEY)
    assert fact is not None
    assert fact.pod_uid == "pod-1"
    assert fact.error
    agent.becomes(status("9"))
    await asyncio.sleep(0.2)
    fact = agents.fact(KEY)
    assert fact is not None
    assert (fact.pod_uid, fact.status.etag) == ("pod-2", "9")


@pytest.mark.parametrize(
    "pod", [None, replace(POD, ip=None), replace(POD, phase="Failed")], ids=str
)
async def test_without_a_pod_nobody_is_asked(
    agent: Agent, agents: Agents, pod: PodFact | None
) -> None:
    agents.follow(KEY, POD)
    await asyncio.sleep(1)
    agents.follow(KEY, pod)
    asked = len(agent.asked)
    await asyncio.sleep(100)
    assert len(agent.asked) == asked


async def test_following_the_same_pod_again_changes_nothing(agent: Agent, agents: Agents) -> None:
    agent.becomes(status("1"))
    agents.follow(KEY, POD)
    await asyncio.sleep(1)
    agents.follow(KEY, replace(POD, ready=True))
    await asyncio.sleep(1)
    assert len(agent.asked) == 2


async def test_an_agent_that_answers_without_waiting_is_not_asked_without_end(
    agent: Agent, agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hasty(at: AgentAddress, *, seen: str | None, wait_s: float) -> GuestStatus:
        agent.asked.append((0, seen))
        return status("1")

    monkeypatch.setattr(agent, "status", hasty)
    agents.follow(KEY, POD)
    await asyncio.sleep(60)
    assert len(agent.asked) < 65


async def test_a_busy_agent_says_when_to_come_again(agent: Agent, agents: Agents) -> None:
    agent.becomes(AgentBusyError("starting", 4.0))
    agents.follow(KEY, POD)
    await asyncio.sleep(20)
    assert len(agent.asked) <= 8


async def test_what_is_forgotten_is_not_asked(
    agent: Agent, agents: Agents, woken: list[Key]
) -> None:
    agent.becomes(status("1"))
    agents.follow(KEY, POD)
    await asyncio.sleep(1)
    agents.forget(KEY)
    assert agents.fact(KEY) is None
    assert len(agents) == 0
    assert agents.ages_s() == []
