"""One operator at a time, by a Lease and our own clock."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from coffer_common.errors import CofferError
from coffer_operator.kube.api import LEASE, Key, Kind, UnavailableError
from coffer_operator.shell.lease import (
    DURATION_S,
    PAUSE_AFTER_S,
    Leadership,
    LeaseLostError,
)
from sim_apiserver import NAMESPACE, ApiServer
from sim_client import Calm, SimClient

pytestmark = [pytest.mark.looptime, pytest.mark.simulation]

AT = Key("coffer-system", "coffer-operator")
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def time() -> float:
    return asyncio.get_running_loop().time()


class Cut(Calm):
    """A connection that can be cut."""

    def __init__(self) -> None:
        self.cut = False

    def before(self, verb: str, kind: Kind) -> CofferError | None:
        del verb, kind
        return UnavailableError("cut") if self.cut else None


class Operator:
    """What of an operator has to do with the Lease. Its wall clock may be wrong."""

    def __init__(self, server: ApiServer, name: str, skew: timedelta = timedelta()) -> None:
        self.link = Cut()
        self.active = asyncio.Event()
        self.leadership = Leadership(
            SimClient(server, self.link),
            AT,
            name,
            self.active,
            now=lambda: EPOCH + skew + timedelta(seconds=time()),
            rng=random.Random(name),
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        async def lead() -> None:
            await self.leadership.acquire()
            await self.leadership.keep()

        task = asyncio.create_task(lead())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def server() -> ApiServer:
    server = ApiServer(random.Random(0), lambda: EPOCH)
    server.create(
        NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": AT.namespace}}
    )
    return server


def holder(server: ApiServer) -> str:
    return str(server.get(LEASE, AT.namespace, AT.name)["spec"]["holderIdentity"])


async def test_the_first_is_active_and_renews(server: ApiServer) -> None:
    one = Operator(server, "one")
    async with one.running():
        await asyncio.sleep(1)
        assert one.active.is_set()
        before = server.get(LEASE, AT.namespace, AT.name)["spec"]["renewTime"]
        await asyncio.sleep(60)
        assert one.active.is_set()
        assert server.get(LEASE, AT.namespace, AT.name)["spec"]["renewTime"] > before


@pytest.mark.parametrize("skew", [timedelta(), timedelta(days=1), -timedelta(days=1)])
async def test_the_second_stands_by_whatever_its_clock_says(
    server: ApiServer, skew: timedelta
) -> None:
    one, two = Operator(server, "one"), Operator(server, "two", skew)
    async with one.running(), two.running():
        await asyncio.sleep(300)
        assert one.active.is_set()
        assert not two.active.is_set()


async def test_a_clean_end_hands_over_at_once(server: ApiServer) -> None:
    one, two = Operator(server, "one"), Operator(server, "two")
    async with one.running():
        await asyncio.sleep(1)
    async with two.running():
        await asyncio.sleep(1)
        assert holder(server) == "one"
        await one.leadership.release()
        assert not one.active.is_set()
        await asyncio.sleep(3)
        assert two.active.is_set()


async def test_after_a_death_the_other_waits_for_the_whole_duration(server: ApiServer) -> None:
    one, two = Operator(server, "one"), Operator(server, "two")
    async with one.running():
        await asyncio.sleep(1)
    died_at = time()
    async with two.running():
        await asyncio.wait_for(two.active.wait(), 60)
        assert DURATION_S <= time() - died_at <= DURATION_S + 6


async def test_the_same_identity_need_not_wait_for_itself(server: ApiServer) -> None:
    one = Operator(server, "one")
    async with one.running():
        await asyncio.sleep(1)
    again = Operator(server, "one")
    async with again.running():
        await asyncio.sleep(0.1)
        assert again.active.is_set()


async def test_one_that_cannot_renew_pauses_before_another_may_begin(server: ApiServer) -> None:
    one, two = Operator(server, "one"), Operator(server, "two")
    async with one.running() as leading, two.running():
        await asyncio.sleep(5)
        assert one.active.is_set()
        one.link.cut = True
        overlapped = False
        for _ in range(600):
            await asyncio.sleep(0.1)
            overlapped = overlapped or (one.active.is_set() and two.active.is_set())
        assert not overlapped
        assert two.active.is_set()
        one.link.cut = False
        with pytest.raises(LeaseLostError, match="two holds the Lease"):
            await leading
        assert not one.active.is_set()


async def test_one_that_can_renew_again_goes_on(server: ApiServer) -> None:
    one = Operator(server, "one")
    async with one.running() as leading:
        await asyncio.sleep(5)
        one.link.cut = True
        await asyncio.sleep(PAUSE_AFTER_S + 40)
        assert not one.active.is_set()
        one.link.cut = False
        await asyncio.sleep(6)
        assert one.active.is_set()
        assert not leading.done()


async def test_a_deleted_lease_is_made_again(server: ApiServer) -> None:
    one = Operator(server, "one")
    async with one.running():
        await asyncio.sleep(1)
        server.delete(LEASE, AT.namespace, AT.name)
        await asyncio.sleep(6)
        assert holder(server) == "one"
        assert one.active.is_set()


async def test_a_lease_touched_by_others_is_still_ours(server: ApiServer) -> None:
    one = Operator(server, "one")
    async with one.running():
        await asyncio.sleep(1)
        labels = {"metadata": {"labels": {"seen": "by-an-admin"}}}
        server.patch(LEASE, AT.namespace, AT.name, labels, manager="kubectl")
        await asyncio.sleep(6)
        assert one.active.is_set()
