"""The archives of images that were built: one file for each target and tag, in the cache.

An archive that is there is whole: it is written under another name first.
"""

import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from coffer_images.inputs import TAG_LENGTH

KEEP = 2
UNFINISHED = ".unfinished"


@dataclass(frozen=True)
class Archives:
    """The folder of archives."""

    folder: Path

    def path(self, target: str, tag: str) -> Path:
        return self.folder / f"{target}-{tag}.tar"

    def find(self, target: str, tag: str) -> Path | None:
        """The archive if it was made; whatever is asked for counts as used, see `prune`."""
        path = self.path(target, tag)
        try:
            os.utime(path)
        except FileNotFoundError:
            return None
        return path

    def unfinished(self, target: str, tag: str) -> Path:
        """Where to write an archive, before `finish`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.path(target, tag)
        return path.with_name(path.name + UNFINISHED)

    def context(self) -> Path:
        """A new empty folder to build from."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix="context-", suffix=UNFINISHED, dir=self.folder))

    def finish(self, target: str, tag: str) -> Path:
        return self.unfinished(target, tag).rename(self.path(target, tag))

    def tags(self, target: str) -> list[str]:
        """The tags of a target's archives, the one used last first."""
        pattern = re.compile(rf"{re.escape(target)}-([0-9a-f]{{{TAG_LENGTH}}})\.tar")
        found = []
        for path in self.folder.glob(f"{target}-*.tar"):
            if match := pattern.fullmatch(path.name):
                found.append((path.stat().st_mtime_ns, match[1]))
        return [tag for _, tag in sorted(found, reverse=True)]

    def prune(self, target: str) -> list[str]:
        """Remove all but the archives used last; return the tags that stay."""
        tags = self.tags(target)
        for tag in tags[KEEP:]:
            self.path(target, tag).unlink(missing_ok=True)
        return tags[:KEEP]

    def sweep(self) -> None:
        """Remove what a build that was killed left; nobody else may be building."""
        for path in self.folder.glob(f"*{UNFINISHED}"):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
