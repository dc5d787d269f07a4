"""Files of the configuration, the spellings of each engine, and what a server said last."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffer_common.rules import load
from coffer_common.wire import Value
from coffer_guest.configuration import decision, folder
from coffer_guest.configuration.defaults import defaults
from coffer_guest.configuration.record import Start
from coffer_guest.engines.base import (
    Engine,
    Site,
)
from coffer_guest.engines.mariadb import MariaDB
from coffer_guest.engines.mariadb import configuration as mariadb
from coffer_guest.engines.redis import Redis
from coffer_guest.engines.redis import configuration as redis
from coffer_guest.paths import Paths
from guest_configuration import request

A, B = request({"a": 1}), request({"b": 2})


@pytest.mark.parametrize("manager", [MariaDB, Redis])
def test_a_directory_is_there_whole_and_mended(tmp_path: Path, manager: type[Engine]) -> None:
    paths = Paths(volume=tmp_path, run=tmp_path / "run")
    engine = manager(Site(tmp_path / "data", tmp_path / "tmp", tmp_path / "run"))
    identity = {"server_id": "7"}
    start = Start(template="", request=A, port=5)
    first = folder.write(paths, engine, start, identity)
    assert folder.read(paths, first.name) == start
    assert first.name == folder.name_of(engine, start, identity)
    before = {path.name: path.read_text() for path in first.iterdir()}
    group = next(path for path in first.iterdir() if path.name.startswith("30-group"))
    group.write_text("nonsense")
    (first / "more").write_text("x")
    assert folder.write(paths, engine, start, identity) == first
    assert {path.name: path.read_text() for path in first.iterdir()} == before
    others = [start.model_copy(update=change) for change in ({"request": B}, {"port": 6})]
    names = {folder.write(paths, engine, other, identity).name for other in others}
    assert len(names) == 2
    assert first.name not in names
    (paths.etc / ".left.new").mkdir()
    (paths.etc / "file").write_text("x")
    folder.prune(paths, {first.name, None})
    assert [path.name for path in paths.etc.iterdir()] == [first.name]
    assert folder.read(paths, "absent") is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "ON"),
        (10, "10"),
        (1e-6, "0.000001"),
        (2.5e20, "250000000000000000000"),
        ("", '""'),
        ("a'b # c", '"a\'b # c"'),
        ('\\"', '"\\\\\\""'),
    ],
)
def test_option_files_quote_what_they_must(value: Value, text: str) -> None:
    assert mariadb.option_text(value) == text


def test_options_have_the_names_that_the_rules_say() -> None:
    rules = load("mariadb", "10.11").parameters.values()
    assert {rule.name: rule.option for rule in rules if rule.option} == mariadb.OPTIONS
    assert mariadb.parse("[mariadbd]\ndefault-time-zone = SYSTEM\n") == {"time_zone": "SYSTEM"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("64M", "67108864"),
        ("off", "OFF"),
        (False, "OFF"),
        ("2.50", "2.5"),
        (100.0, "100"),
        ("007", "7"),
        ("utf8mb4", "utf8mb4"),
        (" x ", "x"),
    ],
)
def test_mariadbs_spellings(value: Value, text: str) -> None:
    assert mariadb.canonical(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "yes"),
        ("64mb", "67108864"),
        ("64m", "64000000"),
        ("5%", "5%"),
        ("3600 1", "3600 1"),
        ("slave 1mb 1kb 60", "replica 1048576 1024 60"),
        ("", ""),
    ],
)
def test_rediss_spellings(value: Value, text: str) -> None:
    assert redis.canonical(value) == text


@given(st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False)))
def test_one_spelling_stays_itself(value: Value) -> None:
    for engine in (mariadb, redis):
        once = engine.canonical(value)
        assert engine.canonical(once) == once


def test_what_adds_up_in_redis_is_merged_and_stands_in_one_file() -> None:
    template = (
        'save ""\nhz 10\nclient-output-buffer-limit normal 0 0 0\n'
        "client-output-buffer-limit pubsub 8mb 2mb 60\n"
    )
    asked = request(
        {"client-output-buffer-limit": "slave 1mb 1mb 5", "hz": 20}, defaults={"save": "60 5"}
    )
    start = Start(template=template, request=asked, port=1)
    site = Site(Path("/d"), Path("/t"), Path("/r"))
    files = redis.files(Path("/e"), decision.layers(start), site)
    assert files["10-template.conf"] == "hz 10\n"
    assert files["20-defaults.conf"] == ""
    assert files["30-group.conf"] == 'hz "20"\n'
    merged = redis.parse(files["80-merged.conf"])
    limits = "normal 0 0 0 replica 1048576 1048576 5 pubsub 8388608 2097152 60"
    assert merged == {"save": "60 5", "client-output-buffer-limit": limits}
    effective = decision.wanted(Redis, start).values
    assert {name: effective[name] for name in merged} == merged


def test_last_words_are_of_the_last_start_that_failed() -> None:
    log = (
        "2026 [Note] Starting MariaDB 10.11 as process 2\n2026 [ERROR] old\n"
        "2026 [Note] Starting MariaDB 10.11 as process 3\n2026 [ERROR] first\n"
        "2026 [ERROR] Aborting\n"
        "2026 [Note] Starting MariaDB 10.11 as process 4\n2026 [Note] InnoDB: x\n"
    )
    assert MariaDB.last_words(log) == "first"
    assert MariaDB.last_words("a\nb\n\n") == Redis.last_words("a\nb\n\n") == "b"
    assert MariaDB.last_words("") == Redis.last_words("") == ""


def test_defaults_come_from_the_rules() -> None:
    found = defaults("redis", "7.0")
    assert found["hz"] == 10
    assert "port" not in found
    assert defaults("nosuch", "1") == {}
