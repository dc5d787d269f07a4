"""Durable files: written whole or not at all, and on the disk when the call returns."""

import contextlib
import ctypes
import os
from pathlib import Path


def write_durably(path: Path, data: bytes, mode: int = 0o640) -> None:
    """Replace `path` by `data` atomically; both survive a power cut once this returns."""
    scratch = path.with_name(f".{path.name}.new")
    write_file(scratch, data, mode, durable=True)
    os.replace(scratch, path)
    sync_directory(path.parent)


def write_file(path: Path, data: bytes, mode: int = 0o640, *, durable: bool = False) -> None:
    """Write `path` anew with exactly this mode."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        if durable:
            os.fsync(file.fileno())


def tail(path: Path, limit_bytes: int) -> str:
    """The end of a text; nothing where there is no such file. Raises OSError."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - limit_bytes))
            return file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""


def sync_directory(path: Path) -> None:
    """The names in a directory are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file_system(path: Path) -> None:
    """Everything written to the file system of `path` is on the disk.

    One syncfs(2) is one journal commit; an fsync for each of some hundred new files is as many.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    finally:
        os.close(descriptor)
