"""A snapshot as the data that a Redis starts with, whether it keeps an append-only file or not.

With `appendonly yes` Redis 7 reads nothing but the append-only file, and starts empty where there
is none: a snapshot alone would be an empty instance that looks healthy. So the snapshot stands
under both names, once on the disk: as `dump.rdb`, and as the base of an append-only file. When the
server has begun to write one of them, the other is out of date, and goes before the next start.
"""

import os
from pathlib import Path
from typing import Final

from coffer_guest.engines.redis.configuration import (
    APPEND_FOLDER,
    APPEND_NAME,
    SNAPSHOT,
)
from coffer_guest.files import sync_directory, write_durably

_BASE: Final = f"{APPEND_NAME}.1.base.rdb"
_MANIFEST: Final = f"{APPEND_NAME}.manifest"
_MANIFEST_TEXT: Final = f"file {_BASE} seq 1 type b\n"


def lay(directory: Path) -> None:
    """Make `directory`, which holds a snapshot, what a server starts from. Raises OSError."""
    folder = directory / APPEND_FOLDER
    folder.mkdir(mode=0o700)
    os.link(directory / SNAPSHOT, folder / _BASE)
    write_durably(folder / _MANIFEST, _MANIFEST_TEXT.encode(), 0o600)


def tidy(directory: Path) -> None:
    """Before a start: remove of the two what the server did not go on with. Raises OSError.

    Where it has not started since, or has written nothing yet, both stay.
    """
    folder, snapshot = directory / APPEND_FOLDER, directory / SNAPSHOT
    base, manifest = folder / _BASE, folder / _MANIFEST
    if not manifest.exists():
        return
    if manifest.read_text() == _MANIFEST_TEXT:
        if base.exists() and not (snapshot.exists() and snapshot.samefile(base)):
            # it saved a snapshot of its own, and never opened the append-only file
            manifest.unlink()
            sync_directory(folder)
            base.unlink()
    elif base.exists() and snapshot.exists() and snapshot.samefile(base):
        snapshot.unlink()
        sync_directory(directory)
