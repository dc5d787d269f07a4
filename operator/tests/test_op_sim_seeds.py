"""The operator's own code on a virtual clock, by seed (design §12)."""

import os
import random
from collections.abc import Iterable

import pytest

from sim_run import run_seed

DEFAULT_SEEDS = "0-299"


def seeds(text: str) -> Iterable[int]:
    """`A-B`, `A,B,C`, one number, or `random`: a hundred new ones."""
    if text == "random":
        run = os.environ.get("PYTEST_XDIST_TESTRUNUID")  # all workers must draw the same
        start = (random.Random(run) if run else random.SystemRandom()).randrange(1000, 10**9)
        return range(start, start + 100)
    first, _, last = text.partition("-")
    if last:
        return range(int(first), int(last) + 1)
    return [int(part) for part in text.split(",")]


@pytest.mark.simulation
@pytest.mark.parametrize("seed", seeds(os.environ.get("COFFER_SIM_SEEDS", DEFAULT_SEEDS)))
def test_an_instance_gets_where_it_was_asked_to_be(seed: int) -> None:
    run_seed(seed)
