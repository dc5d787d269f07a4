"""Redis's configuration files: one per layer, read in the order of their numbers, the last wins.

Directives that add up over files instead (`save`, `client-output-buffer-limit` per class) are
merged, and stand in a file of their own. Pure.
"""

import re
import shlex
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Final

from coffer_common.wire import Value
from coffer_guest.engines.base import Layers, Site

MAIN: Final = "redis.conf"
TEMPLATE: Final = "10-template.conf"
DEFAULTS: Final = "20-defaults.conf"
GROUP: Final = "30-group.conf"
MERGED: Final = "80-merged.conf"  # of all layers, what would add up
SYSTEM: Final = "90-system.conf"

SOCKET: Final = "redis.sock"
SECRET: Final = "redis-administrator"  # noqa: S105 - a file, beside the socket
SNAPSHOT: Final = "dump.rdb"
APPEND_NAME: Final = "appendonly.aof"
APPEND_FOLDER: Final = "appendonlydir"
ACL_FILE: Final = "users.acl"  # in the data directory: users outlive the pod

BUFFER_LIMIT: Final = "client-output-buffer-limit"
_ADD_UP: Final = ("save", BUFFER_LIMIT)
#: Class to limits where nothing is said; as Redis is built.
_BUFFER_LIMITS: Final = {
    "normal": ("0", "0", "0"),
    "replica": ("268435456", "67108864", "60"),
    "pubsub": ("33554432", "8388608", "60"),
}
_LIMITS: Final = 3  # of a class: hard, soft, seconds
_SYNONYMS: Final = {"slave": "replica"}
_MEMORY: Final = re.compile(r"([0-9]+)(b|kb?|mb?|gb?)", re.IGNORECASE)
_UNITS: Final = {
    **{"b": 1, "k": 1000, "m": 1000**2, "g": 1000**3},
    **{"kb": 1024, "mb": 1024**2, "gb": 1024**3},
}


def files(folder: Path, layers: Layers, site: Site) -> dict[str, str]:
    """Name to text of all configuration files."""
    merged: dict[str, Value] = {}
    for layer in (parse(layers.template), layers.defaults, layers.values):
        for name in _ADD_UP:
            if name in layer:
                merged[name] = combine(name, merged.get(name), layer[name])
    texts = {
        TEMPLATE: _without_sums(layers.template),
        DEFAULTS: _layer(layers.defaults),
        GROUP: _layer(layers.values),
        MERGED: "".join(
            f"{name} {_words(str(merged[name]))}\n" for name in _ADD_UP if name in merged
        ),
        SYSTEM: _system(layers.port, site),
    }
    includes = "".join(f"include {_word(str(folder / name))}\n" for name in sorted(texts))
    return {MAIN: includes, **texts}


def text_of(value: Value) -> str:
    """A value as CONFIG SET takes it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return format(Decimal(repr(value)), "f") if isinstance(value, float) else str(value)


def canonical(value: Value) -> str:
    """One text for all spellings: memory in bytes, and one name for each class of clients."""
    words = text_of(value).split()
    if len(words) == 1:
        return _canonical_word(words[0])
    return " ".join(_SYNONYMS.get(word, _canonical_word(word)) for word in words)


def _canonical_word(word: str) -> str:
    memory = _MEMORY.fullmatch(word)
    return str(int(memory[1]) * _UNITS[memory[2].lower()]) if memory else word


def combine(name: str, lower: Value | None, upper: Value) -> Value:
    """See Engine.combine: limits of buffers are set class by class, all else as a whole."""
    if name != BUFFER_LIMIT:
        return upper
    limits = {**_BUFFER_LIMITS, **_limits(lower or ""), **_limits(upper)}
    return " ".join(" ".join((name, *numbers)) for name, numbers in limits.items())


def _limits(value: Value) -> dict[str, tuple[str, ...]]:
    words = canonical(value).split()
    step = _LIMITS + 1
    return {words[at]: tuple(words[at + 1 : at + step]) for at in range(0, len(words), step)}


def _without_sums(template: str) -> str:
    lines = template.splitlines(keepends=True)
    return "".join(line for line in lines if line.strip().split(" ")[0].lower() not in _ADD_UP)


def _layer(values: Mapping[str, Value]) -> str:
    return "".join(
        f"{name} {_word(text_of(value))}\n"
        for name, value in sorted(values.items())
        if name not in _ADD_UP
    )


def _system(port: int, site: Site) -> str:
    """What users may not set."""
    values: dict[str, str] = {
        "dir": _word(str(site.data)),
        "port": str(port),
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
        "dbfilename": SNAPSHOT,
        "appendfilename": APPEND_NAME,
        "appenddirname": APPEND_FOLDER,
        "shutdown-on-sigterm": "default",  # save what is to be saved, or refuse; see launch
        "enable-protected-configs": "no",
        "enable-debug-command": "no",
        "enable-module-command": "no",
    }
    return "".join(f"{name} {value}\n" for name, value in values.items())


def _word(text: str) -> str:
    """One argument of a directive, quoted as Redis's configuration wants it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _words(text: str) -> str:
    """Several arguments; none at all is one empty one."""
    return " ".join(_word(word) for word in text.split() or [""])


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
