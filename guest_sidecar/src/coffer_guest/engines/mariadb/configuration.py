"""MariaDB's option files: one per layer, read in the order of their numbers, the last wins.

Pure.
"""

from typing import Final

from coffer_guest.engines.base import Site
from coffer_guest.engines.mariadb.sql import identifier

MAIN: Final = "my.cnf"  # includes the layers in order
TEMPLATE: Final = "10-template.cnf"
SYSTEM: Final = "90-system.cnf"
INIT: Final = "init.sql"

SOCKET: Final = "mariadb.sock"

_UNITS: Final = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SECTIONS: Final = ("mysqld", "mariadbd", "server", "mariadb")


def files(template: str, site: Site, server_id: str, account: str) -> dict[str, str]:
    """Name to text of all option files, and of the statements run at each start."""
    layers = {
        TEMPLATE: template,
        SYSTEM: _system(site, server_id),
    }
    # each by name: whether !includedir sorts is the business of the file system
    includes = "".join(f"!include {site.etc / name}\n" for name in sorted(layers))
    return {MAIN: includes, INIT: _init(account), **layers}


def _system(site: Site, server_id: str) -> str:
    """What users may not set."""
    values = {
        "datadir": site.data,
        "tmpdir": site.tmp,
        "socket": site.run / SOCKET,
        "pid_file": site.run / "mariadb.pid",
        "port": site.port,
        "bind_address": site.address,
        "server_id": server_id,
        "init_file": site.etc / INIT,
        "skip_name_resolve": "ON",
        "unix_socket": "ON",
        "secure_file_priv": site.tmp,
        "feedback": "OFF",
    }
    lines = (f"{name} = {value}\n" for name, value in values.items())
    return "".join(("[mariadbd]\n", *lines, "skip_log_error\n"))


def _init(account: str) -> str:
    """The agent's account as it must be, whatever an administrator did to it.

    The server stops at the first statement that fails; none of these does on a sound server.
    """
    user = f"{identifier(account)}@{identifier('localhost')}"
    return (
        "SET SESSION sql_log_bin = 0;\n"
        f"CREATE USER IF NOT EXISTS {user} IDENTIFIED VIA unix_socket;\n"
        f"ALTER USER {user} IDENTIFIED VIA unix_socket REQUIRE NONE ACCOUNT UNLOCK;\n"
        f"GRANT ALL PRIVILEGES ON *.* TO {user} WITH GRANT OPTION;\n"
    )


def parse(text: str) -> dict[str, str]:
    """The server's options in an option file; a bare option is ON, the last of a name wins."""
    values: dict[str, str] = {}
    inside = False
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line[0] in "#;!":
            continue
        if line.startswith("["):
            inside = line.strip("[]").split("-")[0] in _SECTIONS
        elif inside:
            name, sign, value = line.partition("=")
            values[name.strip().replace("-", "_")] = value.strip().strip("'\"") if sign else "ON"
    return values


def size_bytes(text: str) -> int:
    """A size as option files write it: 96M. Raises ValueError."""
    unit = _UNITS.get(text[-1:].upper())
    return int(text) if unit is None else int(text[:-1]) * unit
