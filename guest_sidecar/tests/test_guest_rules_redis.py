"""Every parameter of Redis's rules and template is one of the real server, and of that kind."""

import re
from collections.abc import Iterator
from pathlib import Path

import hiredis
import pytest

from coffer_common.rules import Parameter, ParameterType, load
from coffer_common.templates import render
from coffer_common.wire import FlavorSize
from guest_engines import Redis, folder, program, reachable, running
from guest_harness import until

pytestmark = pytest.mark.guest

RULES = load("redis", "7.0").parameters
TINY = FlavorSize(ram_bytes=512 * 1024**2, vcpus=0.25)
FLAVORS = {
    "tiny": TINY,
    "large": FlavorSize(ram_bytes=8 * 1024**3, vcpus=4),
}
WORDS = re.compile(r"[^0-9.-]")
NUMBERS = {ParameterType.INTEGER, ParameterType.SIZE, ParameterType.DURATION}


def serve(home: Path, flavor: FlavorSize) -> Iterator[Redis]:
    (home / "redis.conf").write_text(render("redis", "7.0", flavor))
    path = home / "sock"
    argv = [
        program("redis-server"),
        str(home / "redis.conf"),
        *("--port", "0"),
        *("--unixsocket", str(path)),
        *("--dir", str(home)),
    ]
    with running(argv, home / "log", lambda: reachable(path)), Redis(path) as client:
        yield client
        wait_for_rewrite(client)


def wait_for_rewrite(client: Redis) -> None:
    """Whoever sets appendonly has started a rewrite; until it ends Redis refuses to stop."""
    until(
        "the rewrite ends",
        lambda: client.info("persistence")["aof_rewrite_in_progress"] == "0",
    )


@pytest.fixture(scope="module")
def server() -> Iterator[Redis]:
    with folder() as home:
        yield from serve(home, TINY)


def each_rule(**wanted: bool) -> pytest.MarkDecorator:
    chosen = [
        rule
        for rule in RULES.values()
        if all(getattr(rule, key) is value for key, value in wanted.items())
    ]
    assert chosen
    return pytest.mark.parametrize("rule", chosen, ids=lambda rule: rule.name)


def current(server: Redis, name: str) -> str:
    found, value = server.ask("CONFIG", "GET", name)
    assert found == name
    return str(value)


@each_rule()
def test_a_rule_agrees_with_the_server(server: Redis, rule: Parameter) -> None:
    value = current(server, rule.name)
    if rule.type is ParameterType.BOOLEAN:
        assert value in ("yes", "no")
    elif rule.type is ParameterType.ENUM:
        assert value in rule.allowed
    elif rule.type in NUMBERS:
        assert not WORDS.search(value)
    if not rule.read_only:
        assert rule.check(value) is not None


def settings_to_try(rule: Parameter, value: str) -> list[str]:
    """Values that a server must take; the present one last."""
    if rule.type is ParameterType.ENUM:
        return [*rule.allowed, value]
    if rule.type is ParameterType.BOOLEAN:
        return ["no" if value == "yes" else "yes", value]
    limits = [limit for limit in (rule.min, rule.max) if limit is not None]
    safe = [str(limit) for limit in limits if rule.name not in ("maxmemory", "maxclients")]
    return [*safe, value]


@each_rule(read_only=False, restart_required=False)
def test_a_dynamic_parameter_is_set_live(server: Redis, rule: Parameter) -> None:
    before = current(server, rule.name)
    for value in settings_to_try(rule, before):
        server.ask("CONFIG", "SET", rule.name, value)
    assert current(server, rule.name) == before


@each_rule(restart_required=True)
def test_a_static_parameter_is_not_set_live(server: Redis, rule: Parameter) -> None:
    with pytest.raises(hiredis.ReplyError, match=r"can't set (immutable|protected) config"):
        server.ask("CONFIG", "SET", rule.name, current(server, rule.name))


@pytest.mark.parametrize("name", FLAVORS)
def test_the_server_runs_with_the_templates_values(name: str) -> None:
    with folder() as home:
        for client in serve(home, FLAVORS[name]):
            lines = render("redis", "7.0", FLAVORS[name]).splitlines()
            pairs = [line.split(" ", 1) for line in lines if line and not line.startswith("#")]
            for key, text in pairs:
                value = current(client, key)
                if key == "client-output-buffer-limit":
                    assert text.split(" ")[0] in value
                elif RULES[key].type is ParameterType.SIZE:
                    assert RULES[key].check(text) == int(value), key
                else:
                    assert value == text.strip('"'), key
