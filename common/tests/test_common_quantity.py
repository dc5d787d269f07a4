from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffer_common.quantity import counted, parse, parse_bytes, parse_cores, readable


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", Fraction(0)),
        ("10Gi", Fraction(10 * 2**30)),
        ("0.5Gi", Fraction(2**29)),
        ("1.5Ki", Fraction(1536)),
        ("500M", Fraction(500_000_000)),
        ("1E", Fraction(10**18)),
        ("1Ei", Fraction(2**60)),
        ("250m", Fraction(1, 4)),
        ("7n", Fraction(7, 10**9)),
        ("1e3", Fraction(1000)),
        ("12E-1", Fraction(12, 10)),
        ("5.", Fraction(5)),
        (".5", Fraction(1, 2)),
        ("-2k", Fraction(-2000)),
        ("+3", Fraction(3)),
    ],
)
def test_known_values(text: str, value: Fraction) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    "text",
    ["", ".", "Gi", "1gi", "1 Gi", "1GiB", "1KB", "0x10", "1e", "1Kii", "\u0661", "1\n", "1e9999"],
)
def test_what_kubernetes_refuses_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        parse(text)


@given(st.integers(0, 10**15), st.sampled_from(["Ki", "Mi", "Gi", "Ti"]))
def test_binary_suffixes_multiply(count: int, suffix: str) -> None:
    power = "KMGT".index(suffix[0]) + 1
    assert parse_bytes(f"{count}{suffix}") == count * 1024**power


@given(st.integers(0, 10**9), st.integers(0, 10**6 - 1))
def test_decimals_are_exact(whole: int, millionths: int) -> None:
    text = f"{whole}.{millionths:06d}"
    assert parse(text) == Fraction(whole * 10**6 + millionths, 10**6)
    assert parse(f"{text}k") == parse(f"{text}e3") == parse(text) * 1000


@given(st.fractions(min_value=0, max_value=10**12))
def test_bytes_are_never_fewer_than_asked_for(value: Fraction) -> None:
    milli = round(value * 1000)
    rounded = parse_bytes(f"{milli}m")
    assert 0 <= rounded - Fraction(milli, 1000) < 1


def test_cores_are_rounded_up_to_the_millicore() -> None:
    assert parse_cores("0.25") == parse_cores("250m") == Fraction(1, 4)
    assert parse_cores("1u") == Fraction(1, 1000)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0B"),
        (1023, "1023B"),
        (1536, "1.5KiB"),
        (12 * 1024**3, "12GiB"),
        (5000 * 1024**4, "5000TiB"),
    ],
)
def test_sizes(size_bytes: int, text: str) -> None:
    assert readable(size_bytes) == text


def test_a_count_has_its_noun() -> None:
    assert [counted(number, "key") for number in (0, 1, 2)] == ["0 keys", "1 key", "2 keys"]
