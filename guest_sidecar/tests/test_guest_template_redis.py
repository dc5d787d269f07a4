"""Every directive of Redis's template is one of the real server, which takes it as it is."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from coffer_common.rules import ParameterType, load
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


def current(server: Redis, name: str) -> str:
    found, value = server.ask("CONFIG", "GET", name)
    assert found == name
    return str(value)


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
