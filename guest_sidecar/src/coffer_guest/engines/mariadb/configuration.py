"""MariaDB's option files: one per layer, read in the order of their numbers, the last wins.

Pure.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Final

from coffer_common.wire import Value
from coffer_guest.engines.base import Layers, Site
from coffer_guest.engines.mariadb.sql import identifier

MAIN: Final = "my.cnf"  # includes the layers in order
TEMPLATE: Final = "10-template.cnf"
DEFAULTS: Final = "20-defaults.cnf"
GROUP: Final = "30-group.cnf"
SYSTEM: Final = "90-system.cnf"
INIT: Final = "init.sql"

SOCKET: Final = "mariadb.sock"
BINARY_LOG: Final = "binlog"  # in the data directory; followed by .000001, .index
#: A backup tells its place in it. Rows, so that nothing depends on what functions say of
#: themselves; synced, for InnoDB counts on it to know what was committed; small files, for the
#: oldest go when all together take more than their share of the volume (see binary_log).
_BINARY_LOG: Final = {
    "log_bin": BINARY_LOG,
    "binlog_format": "ROW",
    "sync_binlog": 1,
    "max_binlog_size": "32M",
    "binlog_expire_logs_seconds": 86400,
}

#: Variables whose option has another name.
OPTIONS: Final = {
    "time_zone": "default_time_zone",
    "tx_isolation": "transaction_isolation",
    "tx_read_only": "transaction_read_only",
}
_VARIABLES: Final = {option: name for name, option in OPTIONS.items()}
_UNITS: Final = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40, "P": 2**50, "E": 2**60}
_SIZE: Final = re.compile(r"([0-9]+)([KMGTPE])", re.IGNORECASE)
_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_WORDS: Final = {"on": "ON", "true": "ON", "yes": "ON", "off": "OFF", "false": "OFF", "no": "OFF"}
_SECTIONS: Final = ("mysqld", "mariadbd", "server", "mariadb")


def files(folder: Path, layers: Layers, site: Site, server_id: str, account: str) -> dict[str, str]:
    """Name to text of all option files, and of the statements run at each start."""
    texts = {
        TEMPLATE: layers.template,
        DEFAULTS: _layer(layers.defaults),
        GROUP: _layer(layers.values),
        SYSTEM: _system(folder, layers.port, site, server_id),
    }
    # each by name: whether !includedir sorts is the business of the file system
    includes = "".join(f"!include {folder / name}\n" for name in sorted(texts))
    return {MAIN: includes, INIT: _init(account), **texts}


def _layer(values: Mapping[str, Value]) -> str:
    lines = (
        f"{OPTIONS.get(name, name)} = {option_text(value)}\n"
        for name, value in sorted(values.items())
    )
    return "".join(("[mariadbd]\n", *lines))


def option_text(value: Value) -> str:
    """A value as an option file holds it."""
    if isinstance(value, bool):
        return "ON" if value else "OFF"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return format(Decimal(repr(value)), "f")
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def canonical(value: Value) -> str:
    """One text for all spellings: sizes in bytes, ON and OFF, numbers without idle zeros."""
    if isinstance(value, bool):
        return "ON" if value else "OFF"
    text = str(value).strip() if not isinstance(value, float) else option_text(value)
    if _SIZE.fullmatch(text):
        return str(size_bytes(text))
    if _NUMBER.fullmatch(text):
        number = Decimal(text)
        return str(int(number)) if number == number.to_integral() else f"{number.normalize():f}"
    return _WORDS.get(text.lower(), text)


def _system(folder: Path, port: int, site: Site, server_id: str) -> str:
    """What users may not set, or what Coffer must know."""
    values = {
        "datadir": site.data,
        "tmpdir": site.tmp,
        "socket": site.run / SOCKET,
        "pid_file": site.run / "mariadb.pid",
        "port": port,
        "bind_address": site.address,
        "server_id": server_id,
        "init_file": folder / INIT,
        "skip_name_resolve": "ON",
        "unix_socket": "ON",
        "secure_file_priv": site.tmp,
        "feedback": "OFF",
        **_BINARY_LOG,
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
            name = name.strip().replace("-", "_")
            values[_VARIABLES.get(name, name)] = value.strip().strip("'\"") if sign else "ON"
    return values


def size_bytes(text: str) -> int:
    """A size as option files write it: 96M. Raises ValueError."""
    unit = _UNITS.get(text[-1:].upper())
    return int(text) if unit is None else int(text[:-1]) * unit


def last_words(log: str) -> str:
    """The first error of the last start that had any; else the last line."""
    starts = re.split(r"^.* as process [0-9]+$", log, flags=re.MULTILINE)
    for start in reversed(starts):
        errors = [line for line in start.splitlines() if "[ERROR]" in line]
        if errors:
            return errors[0].partition("[ERROR]")[2].strip()
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return lines[-1] if lines else ""
