"""Part sizes, rate and retries: arithmetic with limits."""

import time
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffer_common.errors import CofferError, Permanent, Transient
from coffer_guest.pipeline.parts import (
    MAX_OBJECT_BYTES,
    MAX_PART_BYTES,
    MAX_PARTS,
    MIB,
    MIN_PART_BYTES,
    first_part_bytes,
    part_bytes,
)
from coffer_guest.pipeline.rate import RateLimit
from coffer_guest.pipeline.stop import Cancelled, Stop, stopped_by_signal
from coffer_guest.strategies.storage.retry import Again, RetryPolicy

GIB: Final = 1 << 30


@given(st.integers(0, MAX_PART_BYTES), st.none() | st.integers(0, MAX_OBJECT_BYTES))
def test_parts_always_hold_the_largest_object(configured: int, expected: int | None) -> None:
    first = first_part_bytes(configured, expected)
    sizes = [part_bytes(number, first) for number in range(1, MAX_PARTS + 1, 250)]
    assert 250 * sum(sizes) >= MAX_OBJECT_BYTES
    assert all(MIN_PART_BYTES <= size <= MAX_PART_BYTES for size in sizes)
    assert sizes == sorted(sizes)


@given(st.integers(0, MAX_OBJECT_BYTES))
def test_parts_are_equal_where_the_size_is_known(expected: int) -> None:
    first = first_part_bytes(16 * MIB, expected)
    needed = -(-expected // first)
    assert part_bytes(max(needed, 1), first) == first


def test_the_usual_sizes() -> None:
    assert first_part_bytes(16 * MIB, None) == 16 * MIB
    assert first_part_bytes(16 * MIB, 100 * GIB) == 16 * MIB
    assert first_part_bytes(1, None) == 5 * MIB
    assert first_part_bytes(16 * MIB, 300 * GIB) == 48 * MIB
    assert [part_bytes(n, MIB) // MIB for n in (1, 6500, 6501, 6750, 6751)] == [1, 1, 2, 2, 4]


class Clock:
    """Time that passes only in waits."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.waits_s: list[float] = []


class Patient(Stop):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, seconds: float) -> None:
        self.check()
        self._clock.waits_s.append(seconds)
        self._clock.now_s += seconds


@given(st.lists(st.integers(1, 50_000), min_size=1, max_size=50))
def test_the_rate_is_kept(counts: list[int]) -> None:
    clock = Clock()
    limit = RateLimit(10_000, lambda: clock.now_s)
    with Patient(clock) as stop:
        for count in counts:
            limit.take(count, stop)
    assert sum(counts) - 10_000 * 0.25 <= 10_000 * clock.now_s + 1e-6
    assert clock.now_s <= sum(counts) / 10_000 + 1e-6


def test_no_rate_is_no_limit() -> None:
    clock = Clock()
    with Patient(clock) as stop:
        RateLimit(None, lambda: clock.now_s).take(1 << 40, stop)
    assert clock.now_s == 0


def failing(errors: list[Exception]) -> int:
    if errors:
        raise errors.pop(0)
    return 7


def judge(error: Exception) -> Again:
    if isinstance(error, OSError):
        return Again(Transient("away", 3.0 if error.errno else None), True)
    if isinstance(error, CofferError):
        return Again(error, False)
    raise error


def test_retries_pause_with_full_jitter() -> None:
    clock = Clock()
    failures: list[Exception] = [OSError() for _ in range(5)]
    policy = RetryPolicy(attempts=6, base_s=1, cap_s=4, uniform=lambda _, most: most)
    with Patient(clock) as stop:
        assert policy.run(lambda: failing(failures), judge, stop) == 7
    assert clock.waits_s == [1, 2, 4, 4, 4]


def test_what_the_store_asks_for_is_waited() -> None:
    clock = Clock()
    failures: list[Exception] = [OSError(1, "busy")]
    with Patient(clock) as stop:
        assert (
            RetryPolicy(uniform=lambda _, __: 0.0).run(lambda: failing(failures), judge, stop) == 7
        )
    assert clock.waits_s == [3.0]


def test_retries_end() -> None:
    clock = Clock()
    failures: list[Exception] = [OSError() for _ in range(9)]
    with Patient(clock) as stop, pytest.raises(Transient, match="away"):
        RetryPolicy(attempts=3).run(lambda: failing(failures), judge, stop)
    assert len(failures) == 6


@pytest.mark.parametrize("error", [Permanent("no"), KeyError("our fault")])
def test_what_cannot_help_is_not_tried_again(error: Exception) -> None:
    failures = [error, error]
    with Patient(Clock()) as stop, pytest.raises(type(error)):
        RetryPolicy().run(lambda: failing(failures), judge, stop)
    assert len(failures) == 1


def test_the_defaults_outlast_a_minute() -> None:
    clock = Clock()
    policy = RetryPolicy(uniform=lambda _, most: most / 2)
    failures: list[Exception] = [OSError() for _ in range(20)]
    with Patient(clock) as stop, pytest.raises(Transient):
        policy.run(lambda: failing(failures), judge, stop)
    assert clock.now_s > 60


# --- stops ------------------------------------------------------------------------------------


def test_a_stop_s_first_error_wins_and_reaches_its_children() -> None:
    with Stop() as outer, Stop(outer) as inner:
        inner.check()
        outer.set(Permanent("first"))
        outer.set(Permanent("second"))
        inner.set(Permanent("own"))
        for stop in (outer, inner):
            with pytest.raises(Permanent, match="first"):
                stop.check()
            with pytest.raises(Permanent, match="first"):
                stop.wait(60)


def test_a_child_s_stop_is_its_own() -> None:
    with Stop() as outer, Stop(outer) as inner:
        inner.set()
        outer.check()
        with pytest.raises(Cancelled):
            inner.wait(60)


def test_a_stop_with_a_limit_sets_itself() -> None:
    with Stop(limit_s=0) as stop, pytest.raises(Transient, match="gave up"):
        stop.wait(60)


def test_a_signal_sets_a_stop() -> None:
    import signal  # noqa: PLC0415 - raised in this test alone

    before = signal.getsignal(signal.SIGTERM)
    with stopped_by_signal() as stop:
        started = time.monotonic()
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Cancelled):
            stop.wait(60)
        assert time.monotonic() - started < 60
    assert signal.getsignal(signal.SIGTERM) is before
