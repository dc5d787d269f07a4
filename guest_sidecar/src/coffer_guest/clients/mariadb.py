"""The mariadb client: it reads user and password from an option file without a name."""

import os
from collections.abc import Sequence

from coffer_guest.clients import Credentials


def option_file(credentials: Credentials) -> str:
    """The [client] group; values are quoted as MariaDB's option files want it."""
    values = {"user": credentials.username, "password": credentials.password}
    return "[client]\n" + "".join(f"{key} = {_quote(text)}\n" for key, text in values.items())


def argv(credentials: Credentials, arguments: Sequence[str], options: str) -> list[str]:
    """The command line; what the caller adds comes last and wins."""
    database = [f"--database={credentials.database}"] if credentials.database else []
    return [
        "mariadb",
        f"--defaults-extra-file={options}",  # must be the first
        "--protocol=tcp",
        f"--host={credentials.host}",
        f"--port={credentials.port}",
        *database,
        *arguments,
    ]


def run(credentials: Credentials, arguments: Sequence[str]) -> int:
    """Become the client. Raises OSError."""
    descriptor = os.memfd_create("options", 0)
    os.fchmod(descriptor, 0o600)  # the client ignores a file that others may write to
    os.write(descriptor, option_file(credentials).encode())
    os.set_inheritable(descriptor, True)
    environ = {**os.environ, "MYSQL_HISTFILE": os.devnull}
    command = argv(credentials, arguments, f"/proc/self/fd/{descriptor}")
    os.execvpe(command[0], command, environ)  # noqa: S606 - an argv list, and it holds no secret


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    for plain, escape in (("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t"), ("\b", "\\b")):
        escaped = escaped.replace(plain, escape)
    return f'"{escaped}"'
