"""One module per engine plugin, named like it: how the engine's own client is run.

Each has `run(credentials, arguments) -> int`, which becomes the client or runs it and gives its
exit code. Apart from the engines, because those import what a client's start should not wait for.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Credentials:
    """A user of the engine, and where the engine listens in this pod."""

    username: str
    port: int
    password: str = field(repr=False)
    database: str | None = None
    host: str = "127.0.0.1"
