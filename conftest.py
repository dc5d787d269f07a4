"""For all tests: property tests give the same result each time, however busy the machine is.

The unit tier tries a few examples of each, `make test-simulation` a few hundred (profile deep);
HYPOTHESIS_PROFILE=explore looks further, and elsewhere each time. Tests that start clusters and
engines have limits of their own, far above what they take: a limit is there to end a hang.
"""

import asyncio
import os

import pytest
from hypothesis import settings

settings.register_profile("gate", deadline=None, derandomize=True, max_examples=15)
settings.register_profile("deep", deadline=None, derandomize=True, max_examples=200)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))

# pytest-asyncio asks for the current loop before each test, and asyncio makes one where none was
# ever set: nobody closes that one. Setting none says that none is wanted.
asyncio.set_event_loop(None)

LIMITS_S = {"e2e": 900, "guest": 300, "simulation": 300}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for mark, limit_s in LIMITS_S.items():
            if item.get_closest_marker(mark) and not item.get_closest_marker("timeout"):
                item.add_marker(pytest.mark.timeout(limit_s))
