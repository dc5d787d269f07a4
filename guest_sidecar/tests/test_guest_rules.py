"""Every rule agrees with the real engine, and what the rules accept is what it starts with."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from coffer_common.rules import Parameter, ParameterType, load
from coffer_guest.engines.mariadb import configuration
from guest_engines import program
from guest_harness import HERE, as_user

pytestmark = pytest.mark.guest

MIB = 1024**2
ENGINES = pytest.mark.parametrize(
    ("manager", "version"), [("mariadb", "10.11"), ("redis", "7.0")], ids=["mariadb", "redis"]
)
# a flavor's memory, shared by what takes it once and by what each connection may take
LARGEST_SIZE = 32 * MIB
LARGEST_COUNT = 2000
PAIRS = [("utf8mb4", "utf8mb4_general_ci"), ("latin1", "latin1_swedish_ci"), ("ascii", "ascii_bin")]
FEW = settings(
    max_examples=6,
    derandomize=True,
    deadline=None,
    phases=[Phase.generate],  # an engine starts for each
    suppress_health_check=list(HealthCheck),
)


def run(*argv: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        as_user([sys.executable, *argv]),
        input=stdin,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


@ENGINES
def test_the_engine_agrees_with_the_rules(manager: str, version: str) -> None:
    program("mariadbd" if manager == "mariadb" else "redis-server")
    done = run("-m", "coffer_guest.check_rules", manager, version)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(load(manager, version).parameters)} rules examined" in done.stdout


WRONG: dict[str, list[tuple[str, dict[str, Any], str]]] = {
    "mariadb": [
        ("max_connections", {"name": "max_conections"}, "no such variable"),
        ("max_connections", {"min": 1}, "smallest value is 10"),
        ("max_connections", {"max": 200000}, "largest value is 100000"),
        ("max_connections", {"type": "boolean", "min": None, "max": None}, "type is BIGINT"),
        ("max_connections", {"default": 150}, "default is '151'"),
        ("max_connections", {"restart_required": True}, "takes it live"),
        ("max_connections", {"max": None}, "are not in the rule"),
        ("table_open_cache_instances", {"restart_required": False}, "only at its start"),
        ("back_log", {"default": 150}, "computes its default"),
        ("use_stat_tables", {"allowed": ["NEVER", "SOMETIMES"]}, "has no SOMETIMES"),
        ("tx_isolation", {"option": None}, "tx_isolation is no option"),
        ("big_tables", {"deprecated": None}, "is deprecated"),
        ("datadir", {"name": "data_dir"}, "no such variable and no option"),
    ],
    "redis": [
        ("maxmemory-samples", {"name": "maxmemory-sample"}, "no such parameter"),
        ("maxmemory-samples", {"min": 0}, "refuses '0'"),
        ("maxmemory-eviction-tenacity", {"max": 101}, "refuses '101'"),
        ("maxmemory-samples", {"type": "boolean", "min": None, "max": None}, "not of type boolean"),
        ("maxmemory-samples", {"default": 6}, "default is '5'"),
        ("maxmemory-samples", {"restart_required": True}, "takes it live"),
        ("databases", {"restart_required": False}, "refuses"),
        ("appendfsync", {"allowed": ["always", "often"]}, "refuses 'often'"),
        ("dir", {"name": "directory"}, "no such parameter"),
    ],
}


@ENGINES
def test_a_wrong_rule_is_found(manager: str, version: str) -> None:
    """All of them at once, since an engine starts for it."""
    rules = load(manager, version).parameters
    wrong = [rules[name].model_dump(mode="json") | new for name, new, _ in WRONG[manager]]
    script = str(HERE / "guest_group_start.py")
    done = run(script, "examine", manager, stdin=json.dumps(wrong))
    assert done.returncode == 0, done.stderr
    texts = [one["text"] for one in json.loads(done.stdout)["disagreements"]]
    for name, changes, says in WRONG[manager]:
        assert any(says in text for text in texts), (name, changes, texts)


def test_an_engine_that_is_not_there_is_said() -> None:
    done = run("-m", "coffer_guest.check_rules", "oracle", "23")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no validation-rules.json for oracle 23" in done.stderr


def test_the_files_use_the_options_that_the_rules_name() -> None:
    rules = load("mariadb", "10.11").parameters.values()
    assert {rule.name: rule.option for rule in rules if rule.option} == configuration.OPTIONS


def values_of(rule: Parameter) -> st.SearchStrategy[Any]:
    """Values that the rule accepts, of a size that a small machine can bear."""
    if rule.allowed:
        return st.sampled_from(rule.allowed)
    if rule.type is ParameterType.BOOLEAN:
        return st.booleans()
    if rule.type is ParameterType.STRING:
        if rule.pattern is None:
            return st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=64)
        return st.from_regex(f"(?:{rule.pattern})", fullmatch=True).filter(_is_short)
    assert rule.min is not None
    assert rule.max is not None
    largest = LARGEST_SIZE if rule.type is ParameterType.SIZE else LARGEST_COUNT
    low, high = math.ceil(rule.min), math.floor(rule.max)
    return st.integers(low, max(low, min(high, largest)))


def _is_short(text: str) -> bool:
    return len(text) < 1000 and text.isascii()


@st.composite
def groups(draw: st.DrawFn, manager: str, version: str) -> dict[str, Any]:
    rules = load(manager, version)
    apart = {"port", "character_set_server", "collation_server"}
    strategies = {
        rule.name: values_of(rule)
        for rule in rules.parameters.values()
        if not rule.read_only and rule.name not in apart
    }
    values: dict[str, Any] = draw(st.fixed_dictionaries({}, optional=strategies))
    if manager == "mariadb":
        values["character_set_server"], values["collation_server"] = draw(st.sampled_from(PAIRS))
    return rules.check(values)


@FEW
@given(values=groups("mariadb", "10.11"))
def test_mariadb_starts_with_what_is_accepted(mariadb_seed: Path, values: dict[str, Any]) -> None:
    starts("mariadb", mariadb_seed, values)


@FEW
@given(values=groups("redis", "7.0"))
def test_redis_starts_with_what_is_accepted(redis_seed: Path, values: dict[str, Any]) -> None:
    starts("redis", redis_seed, values)


def starts(manager: str, seed: Path, values: dict[str, Any]) -> None:
    argv = (str(HERE / "guest_group_start.py"), "start", manager, str(seed))
    done = run(*argv, stdin=json.dumps(values))
    assert done.returncode == 0, f"{values}\n{done.stdout}{done.stderr[-2000:]}"
