"""Runs an engine's own client in the database container as one of the instance's users.

`put` reads the credentials from standard input and prints a word; `run WORD [ARGUMENT …]` becomes
the client, with the credentials behind that word. Two steps, since a terminal would echo what it
carries. In between they lie in a 0600 file in memory (`naming.RUN_PATH`), which `run` removes
first of all; they are never an argument or an environment variable. What a client needs to take
them is known by `coffer_guest.clients.<manager>` alone. Standard library only: it starts often.
"""

import contextlib
import importlib
import json
import os
import re
import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

from coffer_common import naming
from coffer_guest.clients import Credentials

_WORD: Final = re.compile(r"[0-9a-f]{16}")
_MANAGER: Final = re.compile(r"[a-z][a-z0-9_]*")
_LIFE_S: Final = 60.0  # between put and run; a caller that died leaves a file no longer than that


class ConnectError(Exception):
    """One line that says why there is no client."""


def put(run_path: Path, text: str, now_s: float) -> str:
    """Keep credentials (JSON) for `take`; the word that leads to them."""
    for old in run_path.glob("connect-*.json"):
        with contextlib.suppress(FileNotFoundError):
            if now_s - old.stat().st_mtime > _LIFE_S:
                old.unlink()
    json.loads(text)  # nothing but credentials is kept
    word = secrets.token_hex(8)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    descriptor = os.open(_file(run_path, word), flags, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    return word


def take(run_path: Path, word: str, now_s: float) -> tuple[str, Credentials]:
    """Engine plugin and credentials behind a word, once. Raises ConnectError."""
    if _WORD.fullmatch(word) is None:
        raise ConnectError("this is not a word of `put`")
    path = _file(run_path, word)
    try:
        written_s, text = path.stat().st_mtime, path.read_text()
        path.unlink()
    except FileNotFoundError:
        raise ConnectError("these credentials were used already, or are too old") from None
    if now_s - written_s > _LIFE_S:
        raise ConnectError("these credentials are too old")
    fields = json.loads(text)
    return fields.pop("manager"), Credentials(**fields)


def run(manager: str, credentials: Credentials, arguments: Sequence[str]) -> int:
    """Run the client; its exit code, if it did not take our place. Raises ConnectError."""
    if _MANAGER.fullmatch(manager) is None:
        raise ConnectError(f"no engine plugin is named {manager!r}")
    try:
        client = importlib.import_module(f"coffer_guest.clients.{manager}")
    except ModuleNotFoundError:
        raise ConnectError(f"this image has no client for {manager!r}") from None
    try:
        code: int = client.run(credentials, arguments)
    except OSError as error:
        raise ConnectError(f"cannot run the client: {error.strerror}") from None
    return code


def main() -> NoReturn:
    """`put`, or `run WORD [ARGUMENT …]`."""
    run_path = Path(naming.RUN_PATH)
    action, *rest = sys.argv[1:] or [""]
    if (action, bool(rest)) not in (("put", False), ("run", True)):
        sys.exit("error: usage: put | run WORD [ARGUMENT …]")
    try:
        if action == "put":
            sys.stdout.write(put(run_path, sys.stdin.read(), time.time()) + "\n")
            sys.exit(0)
        sys.exit(run(*take(run_path, rest[0], time.time()), rest[1:]))
    except (ConnectError, OSError) as error:
        sys.exit(f"error: {error}")
    except (ValueError, TypeError, KeyError) as error:  # their texts may quote credentials
        sys.exit(f"error: these are no credentials ({type(error).__name__})")


def _file(run_path: Path, word: str) -> Path:
    return run_path / f"connect-{word}.json"


if __name__ == "__main__":
    main()
