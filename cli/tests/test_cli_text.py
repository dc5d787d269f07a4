"""Ages and tables as kubectl writes them."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffer_cli.text import age, duration, fields, table

YEAR_S = 365 * 24 * 3600
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "y": YEAR_S}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (185, "3m5s"),
        (600, "10m"),
        (3 * 3600 - 1, "179m"),
        (3 * 3600, "3h"),
        (5 * 3600 + 600, "5h10m"),
        (8 * 3600, "8h"),
        (47 * 3600, "47h"),
        (2 * 86400, "2d"),
        (2 * 86400 + 3 * 3600, "2d3h"),
        (8 * 86400, "8d"),
        (729 * 86400, "729d"),
        (2 * YEAR_S + 20 * 86400, "2y20d"),
        (9 * YEAR_S, "9y"),
    ],
)
def test_durations_as_kubectl(seconds: int, text: str) -> None:
    assert duration(seconds) == text


def _seconds(text: str) -> int:
    parts = re.findall(r"(\d+)([smhdy])", text)
    assert "".join(number + unit for number, unit in parts) == text
    return sum(int(number) * _UNITS[unit] for number, unit in parts)


@given(st.integers(0, 20 * YEAR_S))
def test_a_duration_is_never_more_than_true_and_nearly_exact(seconds: int) -> None:
    shown = _seconds(duration(seconds))
    assert shown <= seconds
    assert seconds - shown < max(60, seconds * 0.13)


@given(st.integers(0, 20 * YEAR_S), st.integers(0, 1000))
def test_durations_never_go_back(seconds: int, later: int) -> None:
    assert _seconds(duration(seconds)) <= _seconds(duration(seconds + later))


def test_ages() -> None:
    now = datetime(2026, 5, 1, 12, tzinfo=UTC)
    assert age((now - timedelta(seconds=185)).isoformat(), now) == "3m5s"
    assert age("2026-05-01T12:00:05Z", now) == "0s"
    assert age(None, now) == "<unknown>"
    assert age("yesterday", now) == "<unknown>"


def test_a_table_has_no_boxes_and_three_spaces() -> None:
    rows = [("a", "Active", ""), ("longer", "", "x")]
    assert table(("name", "phase", "role"), rows) == (
        "NAME     PHASE    ROLE\na        Active\nlonger            x"
    )


@given(st.lists(st.tuples(st.text(), st.text()), min_size=1))
def test_a_cell_never_breaks_its_line_nor_steers_a_terminal(rows: list[tuple[str, str]]) -> None:
    text = table(("one", "two"), rows)
    assert len(text.split("\n")) == len(rows) + 1
    assert all(c.isprintable() or c == "\n" for c in text)


def test_fields_align_their_values() -> None:
    assert fields([("Name", "orders"), ("Read-only host", "x")]) == (
        "Name:            orders\nRead-only host:  x"
    )
