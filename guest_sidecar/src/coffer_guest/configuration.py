"""The engine's configuration directory: written before each start that the agent asks for.

Owns the directory. What the files say is the templates' and the engine's.
Blocking; called in a thread.
"""

import shutil
from collections.abc import Mapping

from coffer_guest.engines.base import Engine
from coffer_guest.files import write_file
from coffer_guest.paths import Paths


def write(paths: Paths, template: str, engine: Engine, identity: Mapping[str, str]) -> None:
    """Make the directory hold exactly the files of this configuration.

    `template` is the lowest layer, rendered; see template.
    """
    wanted = engine.configuration(template, identity)
    paths.etc.mkdir(mode=0o750, exist_ok=True)
    for path in paths.etc.iterdir():
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        path = paths.etc / name
        if not path.is_file() or path.read_text() != text:
            scratch = paths.etc / f".{name}.new"
            write_file(scratch, text.encode(), 0o640)
            scratch.replace(path)


def empty_tmp(paths: Paths) -> None:
    """Remove what a former engine left; only while none runs."""
    if paths.tmp.exists():
        shutil.rmtree(paths.tmp)
    paths.tmp.mkdir(mode=0o700)
