"""Quantities as the API server keeps them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coffer_common.quantity import parse_bytes, parse_cores
from coffer_operator.build.quantities import cores, size


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (512 * 1024**2, "512Mi"),
        (1024**3, "1Gi"),
        (1536 * 1024**2, "1536Mi"),
        (10**8 + 10**6, "101M"),
        (1500, "1500"),
        (1, "1"),
        (0, "0"),
        (1024**6, "1Ei"),
    ],
)
def test_sizes(size_bytes: int, text: str) -> None:
    assert size(size_bytes) == text


@pytest.mark.parametrize(("millis", "text"), [(250, "250m"), (1000, "1"), (2500, "2500m")])
def test_cores(millis: int, text: str) -> None:
    assert cores(millis) == text


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=2**62))
def test_a_size_keeps_its_value(size_bytes: int) -> None:
    assert parse_bytes(size(size_bytes)) == size_bytes


@settings(deadline=None)
@given(st.integers(min_value=1, max_value=10**7))
def test_cores_keep_their_value(millis: int) -> None:
    assert parse_cores(cores(millis)) * 1000 == millis
