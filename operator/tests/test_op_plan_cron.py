"""Cron expressions: the last and the next time agree, also where the clock is changed."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffer_common.errors import UserError
from coffer_operator.plan.cron import Cron, parse_cron

EXPRESSIONS = (
    "0 2 * * 0",
    "30 2 * * *",
    "30 2,3 * * *",
    "*/15 * * * *",
    "0 */6 * * *",
    "5 0 1 * *",
    "59 23 L * *",
    "0 3 * * MON-SAT",
)
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe")
MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC))
AROUND_CHANGES = st.builds(
    lambda change, minutes: datetime.fromisoformat(change) + timedelta(minutes=minutes),
    st.sampled_from(("2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z", "2026-11-01T06:00:00Z")),
    st.integers(-200, 200),
)


def cron(text: str, zone: str = "UTC") -> Cron:
    return parse_cron("spec.full.cron", text, ZoneInfo(zone))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(
    ("text", "now", "latest", "following"),
    [
        ("0 2 * * *", "2026-11-22T02:00:00Z", "2026-11-22T02:00:00Z", "2026-11-23T02:00:00Z"),
        ("0 2 * * *", "2026-11-22T01:59:59Z", "2026-11-21T02:00:00Z", "2026-11-22T02:00:00Z"),
        ("0 2 * * *", "2026-11-22T02:00:00.5Z", "2026-11-22T02:00:00Z", "2026-11-23T02:00:00Z"),
        ("@daily", "2026-11-22T02:00:00Z", "2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z"),
        ("0 2 * * SUN", "2026-11-25T00:00:00Z", "2026-11-22T02:00:00Z", "2026-11-29T02:00:00Z"),
    ],
)
def test_the_last_and_the_next_time(text: str, now: str, latest: str, following: str) -> None:
    assert cron(text).latest(at(now)) == at(latest)
    assert cron(text).next(at(now)) == at(following)


def test_an_hour_that_is_left_out_and_one_that_comes_twice() -> None:
    nightly = cron("30 2 * * *", "Europe/Berlin")
    assert nightly.next(at("2026-03-28T12:00:00Z")) == at("2026-03-29T01:00:00Z")  # 03:00
    first = nightly.next(at("2026-10-24T12:00:00Z"))
    assert first == at("2026-10-25T00:30:00Z")
    assert nightly.next(at("2026-10-25T00:30:00Z")) == at("2026-10-26T01:30:00Z")


@pytest.mark.parametrize(
    "text",
    ["", "x", "61 * * * *", "0 0 30 2 *", "0 0 0 2 * *", "@never", "0 2 * *", "* * * * MON-", "²"],
)
def test_what_is_no_expression(text: str) -> None:
    with pytest.raises(UserError, match=r"spec\.full\.cron: .* is no cron expression") as caught:
        cron(text)
    assert "\n" not in caught.value.message


def test_a_period() -> None:
    assert cron("0 2 * * 0").period(at("2026-11-22T02:00:00Z")) == timedelta(days=7)


@given(
    text=st.sampled_from(EXPRESSIONS),
    zone=st.sampled_from(ZONES),
    now=st.one_of(MOMENTS, AROUND_CHANGES),
)
def test_whatever_was_next_is_the_latest_afterwards(text: str, zone: str, now: datetime) -> None:
    subject = cron(text, zone)
    latest, following = subject.latest(now), subject.next(now)
    assert latest is not None
    assert following is not None
    assert latest <= now < following
    assert subject.latest(following) == following
    assert subject.next(latest) == following
    assert subject.latest(following - timedelta(seconds=1)) == latest
