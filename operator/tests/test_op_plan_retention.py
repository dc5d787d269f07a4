"""Which Backups of a schedule go: the rules by example, and what none of them may remove."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffer_common.resources.backup import Backup
from coffer_common.resources.schedule import Retention
from coffer_operator.plan.retention import Kept, has_passed, is_full, next_to_go, retire
from op_schedule_worlds import going, taken

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)  # a Sunday
SUNDAY = datetime(2026, 11, 1, 2, tzinfo=UTC)


def rules(**given_rules: int | str) -> Retention:
    return Retention.model_validate(given_rules)


def gone(
    own: Collection[Backup], keeping: Retention, *others: Backup, kept: Kept | None = None
) -> set[str]:
    found = retire(own, [*own, *others], keeping, now=NOW, zone=UTC, kept=kept)
    return {backup.metadata.name for backup in found}


def weeks() -> list[Backup]:
    """Three weeks: a full one on Sunday, an increment on each other day."""
    result = []
    for week in range(3):
        begin = SUNDAY + timedelta(weeks=week)
        result.append(taken(f"f{week}", begin))
        parent = f"f{week}"
        for day in range(1, 7):
            name = f"f{week}-{day}"
            result.append(taken(name, begin + timedelta(days=day), parent))
            parent = name
    return result


def week(number: int) -> set[str]:
    return {f"f{number}", *(f"f{number}-{day}" for day in range(1, 7))}


@pytest.mark.parametrize(
    ("keeping", "expected"),
    [
        (rules(), set()),
        (rules(count=3), set()),
        (rules(count=2), week(0)),
        (rules(count=1), week(0) | week(1)),
        (rules(maxAge="30d"), set()),
        (rules(maxAge="2w"), week(0)),
        (rules(maxAge="1h"), week(0) | week(1) | week(2) - {"f2"}),
        (rules(maxAge="1h", count=2), week(0)),  # any of them keeps
        (rules(daily=1), week(0) | week(1)),
        (rules(daily=7), week(0) | week(1)),
        (rules(daily=8), week(0)),  # the last of week 1 needs all of it
        (rules(weekly=2), week(0) | (week(1) - {"f1"}) | (week(2) - {"f2"})),
        (rules(monthly=1), (week(0) | week(1) | week(2)) - {"f2"}),
    ],
)
def test_a_rule(keeping: Retention, expected: set[str]) -> None:
    assert gone(weeks(), keeping) == expected


def test_an_increment_on_the_full_one_of_others_counts_by_its_time() -> None:
    foreign = taken("by-hand", SUNDAY + timedelta(days=1), label=None)
    child = taken("on-it", SUNDAY + timedelta(days=2), "by-hand")
    later = [taken(f"f{n}", SUNDAY + timedelta(weeks=n)) for n in (1, 2)]
    assert gone([child, *later], rules(count=2), foreign) == {"on-it"}


def test_what_others_continue_stays() -> None:
    own = weeks()
    foreign = taken("by-hand", SUNDAY + timedelta(days=3), "f0-2", label=None)
    needed = {"f0", "f0-1", "f0-2"}
    assert gone(own, rules(count=1), foreign) == (week(0) | week(1)) - needed


def test_what_is_kept_by_hand_stays_with_what_it_needs() -> None:
    own = [
        taken("f0", SUNDAY),
        taken("f0-1", SUNDAY + timedelta(days=1), "f0", keep=True),
        taken("f0-2", SUNDAY + timedelta(days=2), "f0-1"),
        taken("f1", SUNDAY + timedelta(weeks=1)),
    ]
    assert gone(own, rules(count=1)) == {"f0-2"}


def test_what_an_instance_is_made_of_stays() -> None:
    own = weeks()
    by_name = Kept(names=frozenset({"f0-1"}))
    assert gone(own, rules(count=1), kept=by_name) == (week(0) | week(1)) - {"f0", "f0-1"}
    by_place = Kept(places=frozenset({("minio", "f0")}))
    assert "f0" not in gone(own, rules(count=1), kept=by_place)


def test_a_full_one_that_failed_its_test_pushes_none_out() -> None:
    own = [
        taken("good", SUNDAY),
        taken("broken", SUNDAY + timedelta(weeks=1), verified="Failed"),
    ]
    assert gone(own, rules(count=1)) == set()
    assert gone(own, rules(maxAge="1h")) == set()


def test_failures_go_with_the_backups_of_their_time() -> None:
    own = [taken(f"x{n}", SUNDAY + timedelta(hours=n), phase="Failed") for n in range(12)]
    assert gone(own, rules(count=1)) == {"x0", "x1"}  # there has to be something to read
    own.append(taken("f", SUNDAY + timedelta(hours=6, minutes=30)))
    assert gone(own, rules(count=1)) == {f"x{n}" for n in range(7)}
    assert gone(own, rules()) == set()


def test_days_are_those_of_the_schedules_zone() -> None:
    own = [
        taken("evening", datetime(2026, 11, 20, 22, 30, tzinfo=UTC)),
        taken("night", datetime(2026, 11, 20, 23, 30, tzinfo=UTC)),  # the 21st in Berlin
        taken("day", datetime(2026, 11, 21, 12, tzinfo=UTC)),
    ]
    berlin = ZoneInfo("Europe/Berlin")
    found = retire(own, own, rules(daily=2), now=NOW, zone=berlin)
    assert [b.metadata.name for b in found] == ["night"]
    assert gone(own, rules(daily=2)) == {"evening"}


def test_a_parent_waits_for_its_children() -> None:
    own = weeks()
    retired = retire(own, own, rules(count=2), now=NOW, zone=UTC)
    left = list(own)
    order = []
    while retired:
        (first,) = next_to_go(retired, left, 3)  # a chain: one after the other
        order.append(first.metadata.name)
        under_deletion = [going(b) if b == first else b for b in left]
        waits = retire(under_deletion, under_deletion, rules(count=2), now=NOW, zone=UTC)
        assert not next_to_go(waits, under_deletion, 3)
        left.remove(first)
        retired = retire(left, left, rules(count=2), now=NOW, zone=UTC)
    assert order == ["f0-6", "f0-5", "f0-4", "f0-3", "f0-2", "f0-1", "f0"]
    assert not next_to_go(retire(own, own, rules(count=2), now=NOW, zone=UTC), own, 0)


# --- what none of them may remove ----------------------------------------------------------------
@st.composite
def histories(draw: st.DrawFn) -> list[Backup]:
    """What a schedule may have come to: chains, tests, failures, some of others."""
    result: list[Backup] = []
    moment = SUNDAY
    completed: list[str] = []
    for number in range(draw(st.integers(0, 14))):
        moment += timedelta(hours=draw(st.integers(1, 60)))
        continues = draw(st.booleans()) if completed else False
        parent = draw(st.sampled_from(completed[-3:])) if continues else None
        phase = draw(st.sampled_from(("Completed",) * 6 + ("Failed", "New", "Running")))
        result.append(
            taken(
                f"b{number}",
                moment,
                parent,
                phase=phase,
                verified=draw(st.sampled_from((None, None, "Passed", "Failed"))),
                label=draw(st.sampled_from(("nightly",) * 5 + (None,))),
                keep=draw(st.integers(0, 9)) == 0,
            )
        )
        if phase == "Completed":
            completed.append(f"b{number}")
    return [going(b) if draw(st.integers(0, 9)) == 0 else b for b in result]


RULES = st.builds(
    Retention,
    count=st.none() | st.integers(1, 4),
    max_age=st.none() | st.sampled_from(("1h", "3d", "1w", "99999w")),
    daily=st.none() | st.integers(1, 4),
    weekly=st.none() | st.integers(1, 4),
    monthly=st.none() | st.integers(1, 2),
)


def chain(name: str, every: Collection[Backup]) -> set[str]:
    """The Backup and all that restoring it needs."""
    by_name = {b.metadata.name: b for b in every}
    found: set[str] = set()
    parent: str | None = name
    while parent is not None and parent in by_name:
        found.add(parent)
        parent = by_name[parent].status.parent
    return found


def newest(backups: Collection[Backup]) -> set[str]:
    found = max(backups, key=lambda b: b.status.started_at or "", default=None)
    return {found.metadata.name} if found is not None else set()


@given(every=histories(), keeping=RULES)
def test_what_no_rule_may_remove(every: list[Backup], keeping: Retention) -> None:
    own = [b for b in every if b.metadata.labels]
    found = retire(own, every, keeping, now=NOW, zone=UTC)
    names = {b.metadata.name for b in found}
    there = [b for b in own if b.metadata.deletion_timestamp is None]
    completed = [b for b in there if b.status.phase == "Completed"]
    fulls = [b for b in completed if is_full(b)]
    proved = [b for b in completed if has_passed(b)]
    assert names <= {b.metadata.name for b in own if b.status.phase in ("Completed", "Failed")}
    assert not names & {b.metadata.name for b in every if b.metadata.deletion_timestamp}
    assert not names & {b.metadata.name for b in own if b.spec.keep}
    for lasting in (fulls, proved, [b for b in proved if is_full(b)]):
        for name in newest(lasting):
            assert not names & chain(name, every)
    others = [b for b in every if not b.metadata.labels and b.status.phase != "Failed"]
    for backup in [*there, *(b for b in others if b.metadata.deletion_timestamp is None)]:
        if backup.metadata.name not in names and backup.status.phase != "Failed":
            assert not names & chain(backup.metadata.name, every)


@given(every=histories(), keeping=RULES)
def test_to_remove_it_makes_no_more_go(every: list[Backup], keeping: Retention) -> None:
    """Who looks again half way, or with all of it done, decides the same."""
    own = [b for b in every if b.metadata.labels]
    first = retire(own, every, keeping, now=NOW, zone=UTC)
    for part in (first[:1], first):
        left = [b for b in every if b not in part]
        again = retire([b for b in left if b in own], left, keeping, now=NOW, zone=UTC)
        assert [b for b in again if b.status.phase == "Completed"] == [
            b for b in first if b not in part and b.status.phase == "Completed"
        ]


@given(every=histories(), keeping=RULES)
def test_what_goes_next_is_continued_by_nothing(every: list[Backup], keeping: Retention) -> None:
    own = [b for b in every if b.metadata.labels]
    found = retire(own, every, keeping, now=NOW, zone=UTC)
    for backup in next_to_go(found, every, 3):
        assert backup in found
        assert not any(b.status.parent == backup.metadata.name for b in every)
