"""Maintenance windows: the arithmetic, and the one restart that comes of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffer_common.resources.instance import MaintenanceWindow
from coffer_common.resources.operation import Operation
from coffer_operator.plan.instance import plan_instance
from coffer_operator.plan.maintenance import Opening, check_window, opening
from coffer_operator.plan.model import Plan
from coffer_operator.plan.world import World
from op_plan_cluster import advance, kubelet, ready_world, settle_down, silent, take, with_agent
from op_plan_groups import STATIC, member, refused, request_of, taken, with_group
from op_plan_told import conditions
from op_plan_worlds import NOW, edited, later, operation

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Apia")


def window(start: str, duration: str, *days: str, zone: str = "UTC") -> MaintenanceWindow:
    return MaintenanceWindow.model_validate(
        {"start": start, "duration": duration, "days": days, "timeZone": zone}
    )


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def found(subject: MaintenanceWindow, now: str) -> tuple[str, str] | None:
    one = opening(subject, at(now))
    return (f"{one.begins:%a %d %H:%M}", f"{one.ends:%a %d %H:%M}") if one else None


@pytest.mark.parametrize(
    ("subject", "now", "expected"),
    [
        (window("02:00", "2h"), "2026-11-22T03:59:59", ("Sun 22 02:00", "Sun 22 04:00")),
        (window("02:00", "2h"), "2026-11-22T04:00:00", ("Mon 23 02:00", "Mon 23 04:00")),
        (window("02:00", "2h", "Wed"), "2026-11-22T12:00", ("Wed 25 02:00", "Wed 25 04:00")),
        (window("02:00", "30m", "Sun"), "2026-11-22T12:00", ("Sun 29 02:00", "Sun 29 02:30")),
        # over midnight: the day is the one on which it begins
        (window("23:00", "3h", "Sat"), "2026-11-22T01:30", ("Sat 21 23:00", "Sun 22 02:00")),
        (window("23:00", "3h", "Sun"), "2026-11-22T01:30", ("Sun 22 23:00", "Mon 23 02:00")),
        (window("00:00", "24h"), "2026-11-22T12:00", ("Sun 22 00:00", "Mon 23 00:00")),
        # the day of the zone, not that of UTC
        (
            window("08:00", "1h", "Mon", zone="Pacific/Apia"),
            "2026-11-22T12:00",
            ("Sun 22 19:00", "Sun 22 20:00"),
        ),
        # Berlin's clocks: forward on 29 March 2026 at 02:00, back on 25 October at 03:00
        (
            window("02:30", "1h", zone="Europe/Berlin"),
            "2026-03-29T01:00",
            ("Sun 29 01:30", "Sun 29 02:30"),
        ),
        (
            window("02:30", "1h", zone="Europe/Berlin"),
            "2026-10-25T00:00",
            ("Sun 25 00:30", "Sun 25 01:30"),
        ),
        # a day of 23 hours: two are open, the later one counts
        (
            window("00:00", "24h", zone="Europe/Berlin"),
            "2026-03-29T22:30",
            ("Sun 29 22:00", "Mon 30 22:00"),
        ),
        (
            window("01:00", "4h", zone="Europe/Berlin"),
            "2026-10-25T02:30",
            ("Sat 24 23:00", "Sun 25 03:00"),
        ),
    ],
)
def test_when_a_window_is_open(
    subject: MaintenanceWindow, now: str, expected: tuple[str, str]
) -> None:
    assert found(subject, now) == expected


WINDOWS = st.builds(
    lambda hour, minute, minutes, days, zone: window(
        f"{hour:02}:{minute:02}", f"{minutes}m", *days, zone=zone
    ),
    st.integers(0, 23),
    st.integers(0, 59),
    st.integers(1, 1440),
    st.lists(st.sampled_from(DAYS), unique=True, max_size=7),
    st.sampled_from(ZONES),
)
MOMENTS = st.datetimes(datetime(2025, 1, 1), datetime(2028, 1, 1)).map(
    lambda naive: naive.replace(second=0, microsecond=0, tzinfo=UTC)
)


@given(WINDOWS, MOMENTS)
def test_an_opening_begins_when_the_wall_clock_says(
    subject: MaintenanceWindow, now: datetime
) -> None:
    one = opening(subject, now)
    assert one is not None
    assert one.ends - one.begins == timedelta(minutes=int(subject.duration[:-1]))
    assert one.ends > now
    assert one.begins - now < timedelta(days=8)
    local = one.begins.astimezone(ZoneInfo(subject.time_zone))
    assert not subject.days or DAYS[local.weekday()] in subject.days
    hour, minute = map(int, subject.start.split(":"))
    late = timedelta(hours=local.hour - hour, minutes=local.minute - minute)
    assert late in (timedelta(0), timedelta(hours=1)), "an hour where the clock leaves it out"
    if late:
        before = (one.begins - timedelta(hours=1)).astimezone(ZoneInfo(subject.time_zone))
        assert before.utcoffset() != local.utcoffset()


@given(WINDOWS, MOMENTS, st.integers(0, 8 * 1440))
def test_no_opening_is_left_out(subject: MaintenanceWindow, now: datetime, minutes: int) -> None:
    """Looked at from a later moment within or before the same opening, it is the same one."""
    one = opening(subject, now)
    assert one is not None
    moment = now + timedelta(minutes=minutes)
    seen = opening(subject, moment)
    assert seen is not None
    if moment < one.begins:
        assert seen == one
    elif one.holds(moment):
        assert seen.begins >= one.begins
    assert one.holds(one.begins)
    assert not one.holds(one.ends)


def test_at_the_end_of_all_days_there_is_no_window() -> None:
    last = datetime(9999, 12, 31, 23, 0, tzinfo=UTC)
    assert opening(window("02:00", "2h"), last) is None
    assert Opening(NOW, NOW).holds(NOW) is False


@pytest.mark.parametrize(
    ("subject", "words"),
    [
        (window("02:00", "2h", zone="Europa/Berlin"), "did you mean Europe/Berlin?"),
        (window("02:00", "2h", zone="../../etc/passwd"), "is no time zone; write one such as"),
        (window("02:00", "2h", zone="America"), "is no time zone"),
        (window("02:00", "2h", zone="a\x00b"), "is no time zone"),
        (window("02:00", "25h"), "at most 24h"),
        (window("02:00", "24h1m"), "at most 24h"),
    ],
)
def test_a_bad_window_is_refused_in_one_line(subject: MaintenanceWindow, words: str) -> None:
    error = check_window(subject)
    assert error is not None
    assert words in error.message
    assert "\n" not in error.message
    assert error.message.startswith("spec.maintenance.window.")


@pytest.mark.parametrize("text", ["2h", "90m", "1h30m", "24h", "1440m"])
def test_durations(text: str) -> None:
    assert check_window(window("02:00", text)) is None


# --- the restart ---------------------------------------------------------------------------------
ALWAYS = {"start": "00:00", "duration": "24h"}
TONIGHT = {"start": "22:00", "duration": "2h"}


def pending(auto: dict[str, Any] | None = None, subject: World | None = None) -> World:
    """A World whose engine needs a restart for a parameter."""
    maintenance = {"window": auto or ALWAYS, "autoRestart": True}
    after = with_group(edited(subject or ready_world(), maintenance=maintenance), STATIC)
    after = advance(after, plan_instance(after))
    return advance(after, replace(plan_instance(after), start_operation=None))


def started(plan: Plan) -> Operation:
    assert plan.start_operation is not None
    content = dict(plan.start_operation.obj)
    content["metadata"] |= {"uid": "uid-auto", "creationTimestamp": "2026-11-22T12:00:00Z"}
    return Operation.model_validate(content)


def test_the_restart_of_a_window() -> None:
    subject = pending()
    plan = plan_instance(subject)
    assert plan.status is not None
    assert plan.status["phase"] == "RestartRequired"
    assert conditions(plan)["RestartRequired"] == ("True", "PendingRestart")
    asked = started(plan)
    assert asked.metadata.name.startswith("shop-auto-")
    assert asked.metadata.owner_references[0]["uid"] == subject.instance.metadata.uid
    assert (asked.spec.type, asked.spec.not_after) == ("Restart", "2026-11-23T00:00:00Z")
    assert asked.spec.ttl_seconds_after_finished == 86400
    assert started(plan_instance(subject)).metadata.name == asked.metadata.name
    subject = replace(subject, operations=(asked,))
    for _ in range(4):
        plan = plan_instance(subject)
        assert plan.start_operation is None, "once for each change"
        subject = kubelet(advance(subject, plan))
    assert subject.operations[0].status.phase == "Completed"
    assert subject.instance.status.phase == "Active"
    assert "RestartRequired" not in conditions(plan_instance(subject))


def test_before_its_window_nothing_is_restarted() -> None:
    subject = pending(TONIGHT)
    plan = plan_instance(subject)
    assert plan.start_operation is None
    assert plan.requeue_after_s == 10 * 3600
    assert plan_instance(later(subject, 10 * 3600)).start_operation is not None
    assert plan_instance(later(subject, 12 * 3600)).start_operation is None


def test_one_that_was_never_begun_does_not_count() -> None:
    subject = pending()
    first = started(plan_instance(subject))
    for phase, again in (("Expired", True), ("Completed", False), ("Failed", False)):
        content = first.model_dump(by_alias=True, mode="json") | {"status": {"phase": phase}}
        ended = replace(subject, operations=(Operation.model_validate(content),))
        plan = plan_instance(ended)
        assert (plan.start_operation is not None) is again, phase
        if again:
            assert started(plan).metadata.name != first.metadata.name


def test_another_change_is_another_restart() -> None:
    subject = pending()
    other = with_group(subject, {"innodb_log_buffer_size": "8M"})
    other = advance(other, plan_instance(other))
    names = {started(plan_instance(one)).metadata.name for one in (subject, other)}
    assert len(names) == 2


def test_an_outdated_pod_is_restarted_in_the_window_too() -> None:
    maintenance = {"window": ALWAYS, "autoRestart": True}
    subject = edited(ready_world(), flavor="small", maintenance=maintenance)
    subject = advance(subject, plan_instance(subject))
    asked = started(plan_instance(subject))
    subject = later(replace(subject, operations=(asked,)), 2)
    settled = settle_down(subject, plan_instance, 10)
    assert settled.operations[0].status.phase == "Completed"
    assert conditions(plan_instance(settled))["Ready"] == ("True", "Ready")
    assert plan_instance(settled).start_operation is None


@pytest.mark.parametrize(
    "change",
    [
        lambda w: edited(w, maintenance={"window": ALWAYS}),
        lambda w: edited(w, maintenance=None),
        lambda w: replace(w, operations=(operation(),)),
        silent,
        lambda w: replace(
            w, cohort=(member("other", refused(request_of(STATIC).hash)),)
        ),  # it was the values
        lambda w: with_group(w, {"innodb_log_buffer_size": "16M"}),  # they come first
        lambda w: edited(w, flavor="huge"),
    ],
)
def test_what_keeps_a_window_from_restarting(change: Any) -> None:
    assert plan_instance(change(pending())).start_operation is None


def test_restarts_of_many_go_in_waves() -> None:
    wanted = request_of(STATIC).hash
    others = tuple(member(f"a{n}", taken(wanted, wanted, "port")) for n in range(5))
    subject = replace(pending(), cohort=others)
    plan = plan_instance(subject)
    assert plan.start_operation is None
    assert plan.requeue_after_s == 60
    assert plan_instance(later(subject, 61)).start_operation is not None
    rest = replace(subject, cohort=(member("a0", taken(wanted, wanted)), *others[1:]))
    assert plan_instance(rest).start_operation is not None


def test_a_restart_done_by_hand_is_not_done_again() -> None:
    subject = pending()
    request = request_of(STATIC)
    subject = with_agent(take(subject, request), configuration=taken(request.hash, request.hash))
    assert plan_instance(subject).start_operation is None


@pytest.mark.parametrize("duration", ["99h", "25h", "24h1m"])
def test_a_window_that_is_refused_never_opens(duration: str) -> None:
    subject = window("02:00", duration)
    assert check_window(subject) is not None
    assert opening(subject, at("2026-11-22T02:30:00")) is None
