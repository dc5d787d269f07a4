"""The directories with an engine's configuration files: one for each thing to start it with.

Each has the name of its contents, and is there whole or not at all, so that whatever starts the
engine, and whenever, never reads half of one configuration and half of another. What the files
say is the templates' and the engine's. Blocking; called in a thread.
"""

import hashlib
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from coffer_guest.configuration import decision, record
from coffer_guest.configuration.record import Start
from coffer_guest.engines.base import Engine
from coffer_guest.files import write_file
from coffer_guest.paths import Paths

_START: Final = "start.json"  # the Start that all the rest follows from
_NAME_LENGTH: Final = 12


def name_of(engine: Engine, start: Start, identity: Mapping[str, str]) -> str:
    """The name of the directory for a start."""
    result = hashlib.sha256(start.model_dump_json().encode())
    files = engine.configuration(Path("/"), decision.layers(start), identity)
    for name, text in sorted(files.items()):
        result.update(f"\0{name}\0{text}".encode())
    return result.hexdigest()[:_NAME_LENGTH]


def write(paths: Paths, engine: Engine, start: Start, identity: Mapping[str, str]) -> Path:
    """The directory for a start, with exactly its files. Raises OSError."""
    folder = paths.etc / name_of(engine, start, identity)
    wanted = engine.configuration(folder, decision.layers(start), identity)
    wanted[_START] = start.model_dump_json()
    if not folder.is_dir():
        scratch = paths.etc / f".{folder.name}.new"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(mode=0o750, parents=True)
        for name, text in wanted.items():
            write_file(scratch / name, text.encode(), 0o640)
        scratch.rename(folder)
    for path in folder.iterdir():
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        path = folder / name
        if not path.is_file() or path.read_text() != text:
            scratch = folder / f".{name}.new"
            write_file(scratch, text.encode(), 0o640)
            scratch.replace(path)
    return folder


def read(paths: Paths, name: str) -> Start | None:
    """What the directory of that name is for; None where it is not there."""
    return record.read(paths.etc / name / _START, Start)


def prune(paths: Paths, keep: Collection[str | None]) -> None:
    """Remove all directories but these."""
    for path in paths.etc.iterdir():
        if path.name in keep:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def empty_tmp(paths: Paths) -> None:
    """Remove what a former engine left; only while none runs."""
    if paths.tmp.exists():
        shutil.rmtree(paths.tmp)
    paths.tmp.mkdir(mode=0o700)
