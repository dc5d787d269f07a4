"""Lays out a new data directory: from the one made when the image was built, or from a backup.

Runs while the volume's lock is held and the engine does not run. The marker is written twice:
first as incomplete, so that what a crash leaves is known as ours and unfinished, and last as
complete, when the data are on the disk. Dying between any two steps repeats the whole.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from coffer_common.errors import Permanent, Transient
from coffer_guest.files import sync_directory, sync_file_system
from coffer_guest.paths import Paths
from coffer_guest.volume import Marker, write_marker

#: Told the name of each step before it; tests end the process there.
Step = Callable[[str], None]

STEPS: Final = ("intent", "clear", "copy", "fit", "sync", "rename", "complete", "done")

_COPY: Final = ("/bin/cp", "--recursive", "--sparse=always", "--no-target-directory")
_COPY_TIMEOUT_S: Final = 600.0


class Origin(Protocol):
    """Where the data come from."""

    def check(self) -> None:
        """Raises where this origin cannot be used; the volume has not been touched yet."""

    def fill(self, directory: Path, step: Step) -> None:
        """Make `directory`, with everything that an engine starts from. On failure it is lost."""


@dataclass(frozen=True, slots=True)
class Seed:
    """The image's data; `fit` fits a copy to the instance."""

    path: Path
    fit: Callable[[Path], None]

    def check(self) -> None:
        if not self.path.is_dir():
            raise Permanent(f"the image has no pre-initialised data in {self.path}")

    def fill(self, directory: Path, step: Step) -> None:
        step("copy")
        copy_tree(self.path, directory)
        step("fit")
        self.fit(directory)


def lay_out(paths: Paths, origin: Origin, marker: Marker, step: Step) -> None:
    """Make the volume hold fresh data of `origin` under `marker` (complete or not, as given).

    Raises what `origin` raises (Permanent where it is unusable), and OSError.
    """
    origin.check()
    step("intent")
    paths.private.mkdir(mode=0o750, exist_ok=True)
    write_marker(paths.marker, marker.model_copy(update={"complete": False}))
    step("clear")
    for path in (paths.incoming, paths.increment, paths.data):
        remove(path)
    origin.fill(paths.incoming, step)
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
    """Copy directories (0700) and files (0600 at most); runs of zeros become holes.

    By coreutils' cp: the interpreter is busy with the agent's imports then, and would be asked for
    each of some thousand calls. Raises Transient.
    """
    try:
        done = subprocess.run(  # noqa: S603 - an argv list without user input
            [*_COPY, source, target],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_COPY_TIMEOUT_S,
            umask=0o077,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Transient(f"not copied after {_COPY_TIMEOUT_S:.0f} s") from error
    if done.returncode != 0:
        raise Transient(done.stderr.strip().partition("\n")[0] or f"cp: {done.returncode}")


def remove(path: Path) -> None:
    """Remove a file or a directory with all in it; it may be gone already."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)
