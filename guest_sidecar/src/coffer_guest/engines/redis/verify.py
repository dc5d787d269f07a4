"""The task `verify`: all data were loaded, and can be counted. Runs in a task's child process.

Redis reads all of a snapshot, and its checksum, before it answers; one that is damaged keeps it
from starting. So what is left to see is that it has loaded, and what.
"""

import asyncio
from collections.abc import Iterator

from coffer_common.quantity import counted
from coffer_guest.engines.base import EngineUnavailable
from coffer_guest.engines.redis import acl, configuration
from coffer_guest.engines.redis.session import Session
from coffer_guest.task_child import Outcome, TaskContext


def run(context: TaskContext) -> Outcome:
    """Result: {keys, databases}. Raises EngineUnavailable, Transient, UserError."""
    run = context.site.run
    session = Session(run / configuration.SOCKET, acl.ADMINISTRATOR, run / configuration.SECRET)
    return outcome(str(asyncio.run(session.ask(("INFO", "persistence", "keyspace")))))


def outcome(info: str) -> Outcome:
    """From the answer to INFO. Raises EngineUnavailable while data are being loaded."""
    facts = dict(_facts(info))
    if facts.get("loading") != "0":
        raise EngineUnavailable("the server is still loading its data")
    found = [_keys(text) for name, text in facts.items() if name.startswith("db")]
    counts = [count for count in found if count is not None]
    total, databases = sum(counts), len(counts)
    return Outcome(
        f"the snapshot was loaded: {counted(total, 'key')} in {counted(databases, 'database')}",
        {"keys": total, "databases": databases},
    )


def _facts(info: str) -> Iterator[tuple[str, str]]:
    for line in info.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            yield name, value.strip()


def _keys(text: str) -> int | None:
    """Of `keys=12,expires=0,avg_ttl=0`; None for what says something else."""
    name, _, number = text.partition(",")[0].partition("=")
    return int(number) if name == "keys" and number.isdecimal() else None
