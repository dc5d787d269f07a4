"""Redis's configuration files: one per layer, read in the order of their numbers, the last wins.

Directives that add up over files instead (`save`, `client-output-buffer-limit` per class) stand in
the template alone. Pure.
"""

import shlex
from typing import Final

from coffer_guest.engines.base import Site

MAIN: Final = "redis.conf"
TEMPLATE: Final = "10-template.conf"
SYSTEM: Final = "90-system.conf"

SOCKET: Final = "redis.sock"
ACL_FILE: Final = "users.acl"  # in the data directory: users outlive the pod


def files(template: str, site: Site) -> dict[str, str]:
    """Name to text of all configuration files."""
    layers = {TEMPLATE: template, SYSTEM: _system(site)}
    includes = "".join(f"include {_word(str(site.etc / name))}\n" for name in sorted(layers))
    return {MAIN: includes, **layers}


def _system(site: Site) -> str:
    """What users may not set."""
    values: dict[str, str] = {
        "dir": _word(str(site.data)),
        "port": str(site.port),
        # "-": an address that the host lacks (no IPv6) is no error
        "bind": "* -::*" if site.address == "*" else _word(site.address),
        "unixsocket": _word(str(site.run / SOCKET)),
        "unixsocketperm": "700",
        "pidfile": _word(str(site.run / "redis.pid")),
        "aclfile": _word(str(site.data / ACL_FILE)),
        "protected-mode": "no",  # every user has a password, and `default` is off
        "daemonize": "no",
        "supervised": "no",
        "logfile": '""',
        "dbfilename": "dump.rdb",
        "appendfilename": "appendonly.aof",
        "appenddirname": "appendonlydir",
        "shutdown-on-sigterm": "default",  # save what is to be saved, or refuse; see launch
        "enable-protected-configs": "no",
        "enable-debug-command": "no",
        "enable-module-command": "no",
    }
    return "".join(f"{name} {value}\n" for name, value in values.items())


def _word(text: str) -> str:
    """One argument of a directive, quoted as Redis's configuration wants it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def parse(text: str) -> dict[str, str]:
    """Directives of a configuration file; those that add up are joined by a space."""
    values: dict[str, str] = {}
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        name, _, rest = line.partition(" ")
        value = " ".join(shlex.split(rest))
        name = name.lower()
        values[name] = f"{values[name]} {value}" if name in values else value
    return values
