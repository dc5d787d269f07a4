"""For all tests: property tests give the same result each time, however busy the machine is.

The unit tier tries a few examples of each, `make test-simulation` a few hundred (profile deep);
HYPOTHESIS_PROFILE=explore looks further, and elsewhere each time. Tests that start clusters and
engines have limits of their own, far above what they take: a limit is there to end a hang.
"""

import asyncio
import gc
import os
import re
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("gate", deadline=None, derandomize=True, max_examples=15)
settings.register_profile("deep", deadline=None, derandomize=True, max_examples=200)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))

# pytest-asyncio asks for the current loop before each test, and asyncio makes one where none was
# ever set: nobody closes that one. Setting none says that none is wanted.
asyncio.set_event_loop(None)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Generator[None, object, object]:
    """Modules and tests live until the end: do not look through them for garbage again and again.

    What the tests make is collected as ever, only in fewer and larger steps. Both together are
    a fifth of the unit tier's time.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000)
        gc.enable()


LIMITS_S = {"e2e": 900, "guest": 300, "simulation": 300}
_MARK_OF_ALL = re.compile(r"^pytestmark = .*\bpytest\.mark\.(e2e|guest|simulation)\b", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A module of which -m would deselect every test need not be imported.

    The mark `hypothesis` is that of @given, so its tests are only where that is imported.
    """
    terms = set(config.option.markexpr.split(" and "))
    if not collection_path.match("test_*.py"):
        return None
    text = collection_path.read_text(encoding="utf-8")
    if "hypothesis" in terms and "hypothesis" not in text:
        return True
    return any(f"not {mark}" in terms for mark in _MARK_OF_ALL.findall(text)) or None


@pytest.hookimpl(trylast=True)  # after the shuffling
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
    for item in items:
        for mark, limit_s in LIMITS_S.items():
            if item.get_closest_marker(mark) and not item.get_closest_marker("timeout"):
                item.add_marker(pytest.mark.timeout(limit_s))
