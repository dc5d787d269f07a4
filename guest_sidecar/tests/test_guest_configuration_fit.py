"""Values beyond the memory of a flavor are told before an engine gets them."""

import pytest

from coffer_common.rules import load
from coffer_common.wire import ConfigurationRequest, RejectionCause, Value
from coffer_guest.configuration import record
from coffer_guest.configuration.fit import judged
from coffer_guest.configuration.record import Record
from coffer_guest.engine_state import death
from coffer_guest.engines.base import Engine
from coffer_guest.engines.mariadb import MariaDB
from coffer_guest.engines.redis import Redis
from guest_configuration import request

GIB = 1024**3
SMALL = request({"innodb_buffer_pool_size": GIB // 2})
MEDIUM = request({"innodb_buffer_pool_size": GIB})
LARGE = request({"innodb_buffer_pool_size": 1024 * GIB})


def asked(*requests: ConfigurationRequest, ram_bytes: int = GIB) -> Record:
    """The record after these requests, each one in force before the next."""
    found = Record(uid="u")
    for one in requests[:-1]:
        found = record.answered(record.accept(found, one), one)
    return judged(record.accept(found, requests[-1]), MariaDB, ram_bytes)


@pytest.mark.parametrize("engine", [MariaDB, Redis])
def test_what_is_counted_is_a_size_that_users_may_set(engine: type[Engine]) -> None:
    rules = load(engine.__name__.lower(), "7.0" if engine is Redis else "10.11")
    assert engine.outright
    for name in engine.outright:
        found = rules.get(name)
        assert (found.type, found.read_only) == ("size", False)


@pytest.mark.parametrize(
    ("engine", "values", "words"),
    [
        (
            MariaDB,
            {"innodb_buffer_pool_size": 1024 * GIB, "max_connections": 10**12},
            "innodb_buffer_pool_size takes 1T of memory, and the flavor has 1G: set less, or "
            "choose a larger flavor",
        ),
        (
            MariaDB,
            {"key_buffer_size": GIB // 2, "innodb_buffer_pool_size": 3 * GIB // 4},
            "innodb_buffer_pool_size and key_buffer_size together take 1280M of memory, and the "
            "flavor has 1G: set less, or choose a larger flavor",
        ),
        (Redis, {"maxmemory": GIB}, "maxmemory takes 1G of memory, and the flavor has 1G: set "),
    ],
)
def test_values_beyond_the_memory_are_refused(
    engine: type[Engine], values: dict[str, Value], words: str
) -> None:
    found = judged(record.accept(Record(uid="u"), request(values)), engine, GIB)
    assert found.rejected is not None
    assert found.rejected.cause is RejectionCause.REFUSED
    assert found.rejected.message.startswith(words)
    assert record.target(found) is None, "a new instance runs with the template"


@pytest.mark.parametrize(
    ("engine", "values"),
    [
        (MariaDB, {"innodb_buffer_pool_size": GIB - 1}),
        (MariaDB, {"max_heap_table_size": 100 * GIB}),
        (Redis, {"maxmemory": 0}),
    ],
)
def test_what_fits_stays_as_it_is(engine: type[Engine], values: dict[str, Value]) -> None:
    wanted = record.accept(Record(uid="u"), request(values))
    assert judged(wanted, engine, GIB) == wanted


def test_the_newest_of_the_former_ones_that_fits_counts_instead() -> None:
    assert record.target(asked(SMALL, LARGE)) == SMALL
    shrunk = asked(MEDIUM, LARGE, ram_bytes=GIB)
    assert record.target(shrunk) is None, "that was for a larger flavor"


def test_another_flavor_is_judged_anew() -> None:
    refused = asked(SMALL, MEDIUM)
    assert refused.rejected is not None
    assert judged(refused, MariaDB, GIB) == refused
    grown = judged(refused, MariaDB, 2 * GIB)
    assert (record.target(grown), grown.rejected) == (MEDIUM, None)
    again = judged(record.answered(grown, MEDIUM), MariaDB, GIB)
    assert again.rejected is not None
    assert record.target(again) is None


def test_what_the_engine_itself_refused_stays_refused_in_a_larger_flavor() -> None:
    refused = record.refused(asked(SMALL), SMALL, "no")
    assert judged(refused, MariaDB, 2 * GIB) == refused


@pytest.mark.parametrize(
    ("last_exit", "words", "told"),
    [
        ("exit 1", "unknown variable", "unknown variable"),
        ("exit 1", "", "it ended with exit 1"),
        ("signal 6", "", "it was killed by signal 6"),
        (
            "signal 9",
            "[Note] all is well",
            "it was killed by signal 9, as the kernel does where memory runs out; its last words: "
            "[Note] all is well",
        ),
    ],
)
def test_why_a_process_died(last_exit: str, words: str, told: str) -> None:
    assert death(last_exit, words) == told
