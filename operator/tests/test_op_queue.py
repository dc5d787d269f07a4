"""The work queue, in virtual time."""

import asyncio
import random
from itertools import pairwise

import pytest

from coffer_operator.kube.api import Key
from coffer_operator.shell.queue import MAX_BACKOFF_S, WorkQueue

pytestmark = pytest.mark.looptime

A1, A2, A3, B1 = Key("a", "1"), Key("a", "2"), Key("a", "3"), Key("b", "1")


@pytest.fixture
def queue() -> WorkQueue:
    return WorkQueue(random.Random(0))


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_a_key_waits_only_once(queue: WorkQueue) -> None:
    queue.add(A1)
    queue.add(A1)
    assert await queue.get() == A1
    assert len(queue) == 0


async def test_a_key_is_never_with_two_workers(queue: WorkQueue) -> None:
    queue.add(A1)
    await queue.get()
    queue.add(A1)
    queue.add(A1)
    assert len(queue) == 0
    queue.done(A1)
    assert await queue.get() == A1
    queue.done(A1)
    assert len(queue) == 0


async def test_namespaces_take_turns(queue: WorkQueue) -> None:
    for key in (A1, A2, A3, B1):
        queue.add(key)
    assert [await queue.get() for _ in range(4)] == [A1, B1, A2, A3]


async def test_a_worker_waits_for_a_key(queue: WorkQueue) -> None:
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(1)
    queue.add(A1)
    assert await waiting == A1


async def test_the_earlier_of_two_times_counts(queue: WorkQueue) -> None:
    queue.add(A1, 10.0)
    queue.add(A1, 3.0)
    queue.add(A1, 20.0)
    assert await queue.get() == A1
    assert now() == pytest.approx(3.0)


async def test_working_on_a_key_drops_what_was_planned_for_it(queue: WorkQueue) -> None:
    queue.add(A1, 10.0)
    queue.add(A1)
    await queue.get()
    queue.done(A1)
    await asyncio.sleep(60)
    assert len(queue) == 0


async def test_failures_back_off_to_a_limit_and_are_forgotten_on_success(
    queue: WorkQueue,
) -> None:
    waits = []
    for _ in range(14):
        waits.append(queue.failed(A1))
        assert await queue.get() == A1
        queue.done(A1)
    assert 0.375 <= waits[0] <= 0.625
    assert all(later > earlier * 1.1 for earlier, later in pairwise(waits[:9]))
    assert 0.75 * MAX_BACKOFF_S <= waits[-1] <= 1.25 * MAX_BACKOFF_S
    assert queue.failures(A1) == 14
    queue.succeeded(A1)
    assert queue.failed(A1) <= 0.625
    queue.close()


async def test_events_during_a_back_off_do_not_make_it_longer(queue: WorkQueue) -> None:
    for _ in range(10):
        assert queue.failed(A1) <= 0.625
        queue.add(A1)  # an event
        assert await queue.get() == A1
        queue.done(A1)
    assert queue.failures(A1) == 1
    queue.close()


async def test_the_other_side_may_ask_for_more_patience(queue: WorkQueue) -> None:
    assert queue.failed(A1, at_least_s=7.0) == 7.0
    queue.close()


async def test_the_age_is_that_of_the_key_that_waits_longest(queue: WorkQueue) -> None:
    assert queue.oldest_s() == 0.0
    queue.add(A1)
    await asyncio.sleep(2)
    queue.add(B1)
    await asyncio.sleep(1)
    assert queue.oldest_s() == pytest.approx(3.0)


async def test_a_forgotten_key_does_not_come_again(queue: WorkQueue) -> None:
    queue.add(A1, 5.0)
    queue.forget(A1)
    await asyncio.sleep(10)
    assert len(queue) == 0
