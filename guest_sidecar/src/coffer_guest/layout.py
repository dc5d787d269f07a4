"""Lays out a new data directory from the one made when the image was built.

Runs while the volume's lock is held and the engine does not run. The marker is written twice:
first as incomplete, so that what a crash leaves is known as ours and unfinished, and last as
complete, when the data are on the disk. Dying between any two steps repeats the whole.
"""

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from coffer_common.errors import Permanent
from coffer_guest.files import sync_directory, sync_file_system
from coffer_guest.paths import Paths
from coffer_guest.volume import Marker, write_marker

#: Told the name of each step before it; tests end the process there.
Step = Callable[[str], None]

STEPS: Final = ("intent", "clear", "copy", "sync", "rename", "complete", "done")

_CHUNK: Final = 1 << 16
_ZEROS: Final = bytes(_CHUNK)


def lay_out(paths: Paths, seed: Path, marker: Marker, step: Step) -> None:
    """Make the volume hold a fresh copy of `seed` under `marker` (complete or not, as given).

    Raises Permanent where the seed is unusable, OSError where the volume is.
    """
    if not seed.is_dir():
        raise Permanent(f"the image has no pre-initialised data in {seed}")
    step("intent")
    paths.private.mkdir(mode=0o750, exist_ok=True)
    write_marker(paths.marker, marker.model_copy(update={"complete": False}))
    step("clear")
    _remove(paths.incoming)
    _remove(paths.data)
    step("copy")
    copy_tree(seed, paths.incoming)
    step("sync")
    sync_file_system(paths.volume)
    step("rename")
    os.rename(paths.incoming, paths.data)
    sync_directory(paths.volume)
    sync_directory(paths.private)
    step("complete")
    write_marker(paths.marker, marker.model_copy(update={"complete": True}))
    step("done")


def copy_tree(source: Path, target: Path) -> None:
    """Copy directories (0700) and files (0600); runs of zeros become holes."""
    target.mkdir(mode=0o700)
    with os.scandir(source) as entries:
        for entry in entries:
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                copy_tree(Path(entry.path), target / entry.name)
            elif stat.S_ISREG(mode):
                _copy_file(Path(entry.path), target / entry.name)
            else:
                raise Permanent(f"{entry.path} is neither a file nor a directory")


def _copy_file(source: Path, target: Path) -> None:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(source, "rb", buffering=0) as reader, open(descriptor, "wb", buffering=0) as writer:
        size = 0
        while chunk := reader.read(_CHUNK):
            size += len(chunk)
            if chunk == _ZEROS[: len(chunk)]:
                writer.seek(size)
            else:
                _write_all(writer.fileno(), chunk)
        writer.truncate(size)


def _write_all(descriptor: int, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)
