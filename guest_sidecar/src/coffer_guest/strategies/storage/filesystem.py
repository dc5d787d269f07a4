"""A directory as an object store: a mounted share, or a disk.

Objects are files, made durable and then renamed into place. Unfinished uploads lie in a directory
of their own beside them. The same contract tests as for S3 hold for it.
"""

import contextlib
import datetime
import errno
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from coffer_common.errors import CofferError, Permanent, Transient, UserError
from coffer_guest.files import sync_directory, write_durably
from coffer_guest.pipeline.codec import Buffer
from coffer_guest.pipeline.failures import Missing, UploadLost
from coffer_guest.pipeline.stop import Stop
from coffer_guest.pipeline.store import ObjectInfo, Part, Upload, crc32
from coffer_guest.strategies.storage.base import Settings, Storage, parse

_UPLOADS: Final = ".uploads"
_KEY_FILE: Final = "key"
_SEGMENT: Final = re.compile(r"[A-Za-z0-9._=@+-]+")
_PIECE_BYTES: Final = 1 << 20
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_DENIED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class FilesystemSettings(Settings):
    """The directory that holds the objects; it must exist."""

    root: Path


class FilesystemStorage(Storage):
    """One directory."""

    def __init__(self, settings: FilesystemSettings) -> None:
        self._root = settings.root
        self._uploads = settings.root / _UPLOADS

    @classmethod
    def from_settings(cls, settings: Mapping[str, JsonValue]) -> "FilesystemStorage":
        return cls(parse(FilesystemSettings, settings))

    def close(self) -> None:
        pass

    # --- multipart --------------------------------------------------------------------------------
    def create_upload(self, key: str, stop: Stop) -> str:
        stop.check()
        self._path(key)
        upload_id = secrets.token_hex(8)
        with self._judged(f"create upload of {key}"):
            self._require_root()
            folder = self._uploads / upload_id
            folder.mkdir(parents=True)
            write_durably(folder / _KEY_FILE, key.encode())
            (folder / "data").touch(0o640)
        return upload_id

    def upload_part(
        self, key: str, upload_id: str, number: int, offset_bytes: int, body: Buffer, stop: Stop
    ) -> Part:
        checksum = crc32(body)
        with self._judged(f"upload part {number} of {key}"), self._upload(upload_id) as file:
            with memoryview(body) as view:
                done_bytes = 0
                while done_bytes < len(view):
                    stop.check()
                    piece = view[done_bytes : done_bytes + _PIECE_BYTES]
                    done_bytes += os.pwrite(file, piece, offset_bytes + done_bytes)
                    piece.release()
            os.fdatasync(file)
        return Part(number, offset_bytes, len(body), checksum, checksum.hex())

    def complete_upload(self, key: str, upload_id: str, parts: Sequence[Part], stop: Stop) -> None:
        stop.check()
        size_bytes = sum(part.size_bytes for part in parts)
        target = self._path(key)
        with self._judged(f"complete upload of {key}"):
            try:
                with self._upload(upload_id) as file:
                    found_bytes = os.fstat(file).st_size
                    if found_bytes != size_bytes:
                        raise Transient(f"{key}: {found_bytes} of {size_bytes} bytes are there")
                    os.fsync(file)
            except UploadLost:
                if target.is_file() and target.stat().st_size == size_bytes:
                    return  # done before
                raise
            self._make_folder(target.parent)
            os.replace(self._uploads / upload_id / "data", target)
            sync_directory(target.parent)
            self._forget(upload_id)

    def abort_upload(self, key: str, upload_id: str, stop: Stop) -> None:
        stop.check()
        with self._judged(f"abort upload of {key}"):
            self._forget(upload_id)

    def uploads(self, prefix: str, stop: Stop) -> Iterator[Upload]:
        stop.check()
        with self._judged("list uploads"):
            self._require_root()
            found = sorted(self._uploads.glob(f"*/{_KEY_FILE}"))
        for path in found:
            with contextlib.suppress(FileNotFoundError):
                key = path.read_text()
                if key.startswith(prefix):
                    yield Upload(key, path.parent.name, _time(path.stat()))

    @contextlib.contextmanager
    def _upload(self, upload_id: str) -> Iterator[int]:
        try:
            file = os.open(self._uploads / upload_id / "data", os.O_WRONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise UploadLost(f"the storage no longer knows upload {upload_id}") from None
        try:
            yield file
        finally:
            os.close(file)

    def _forget(self, upload_id: str) -> None:
        folder = self._uploads / upload_id
        for name in ("data", _KEY_FILE):  # while the key is there, a sweeper finds it
            (folder / name).unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            folder.rmdir()

    # --- objects ----------------------------------------------------------------------------------
    def put_small(self, key: str, data: bytes, stop: Stop) -> None:
        stop.check()
        path = self._path(key)
        with self._judged(f"put {key}"):
            self._require_root()
            self._make_folder(path.parent)
            write_durably(path, data)

    def get_small(self, key: str, limit_bytes: int, stop: Stop) -> bytes:
        stop.check()
        with self._judged(f"get {key}"), self._path(key).open("rb") as file:
            data = file.read(limit_bytes + 1)
        if len(data) > limit_bytes:
            raise Permanent(f"{key} has more than {limit_bytes} bytes")
        return data

    def read_range(self, key: str, offset_bytes: int, into: memoryview, stop: Stop) -> None:
        with self._judged(f"get {key}"), self._path(key).open("rb", buffering=0) as file:
            done_bytes = 0
            while done_bytes < len(into):
                stop.check()
                piece = into[done_bytes : done_bytes + _PIECE_BYTES]
                count = os.preadv(file.fileno(), [piece], offset_bytes + done_bytes)
                piece.release()
                if count == 0:
                    raise Permanent(f"{key} ends before byte {offset_bytes + len(into)}")
                done_bytes += count

    def head(self, key: str, stop: Stop) -> ObjectInfo:
        stop.check()
        with self._judged(f"head {key}"):
            self._require_root()
            status = self._path(key).stat()
        return ObjectInfo(key, status.st_size, _time(status))

    def list(self, prefix: str, stop: Stop) -> Iterator[ObjectInfo]:
        stop.check()
        with self._judged(f"list {prefix}"):
            self._require_root()
            start = self._root / prefix.rpartition("/")[0]
            keys = [
                path.relative_to(self._root).as_posix()
                for path in start.rglob("*")
                if path.is_file() and not path.name.startswith(".")
            ]
        for key in sorted(keys):
            if key.startswith(prefix) and not key.startswith(f"{_UPLOADS}/"):
                with contextlib.suppress(FileNotFoundError):
                    status = (self._root / key).stat()
                    yield ObjectInfo(key, status.st_size, _time(status))

    def delete(self, key: str, stop: Stop) -> None:
        stop.check()
        path = self._path(key)
        with self._judged(f"delete {key}"):
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # not empty, or not there
                for folder in path.relative_to(self._root).parents[:-1]:
                    (self._root / folder).rmdir()

    # --- helpers ----------------------------------------------------------------------------------
    def _path(self, key: str) -> Path:
        segments = key.split("/")
        if not all(_SEGMENT.fullmatch(one) and one not in {".", ".."} for one in segments):
            raise Permanent(f"{key!r} is no key")
        if segments[0] == _UPLOADS:
            raise Permanent(f"{key!r} is a reserved key")
        return self._root.joinpath(*segments)

    def _require_root(self) -> None:
        if not self._root.is_dir():
            raise UserError("BucketMissing", f"there is no directory {self._root}")

    def _make_folder(self, folder: Path) -> None:
        missing = [one for one in (folder, *folder.parents) if not one.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for one in missing:
            sync_directory(one.parent)

    @contextlib.contextmanager
    def _judged(self, request: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            self._require_root()
            raise Missing(f"{request}: there is no such object") from None
        except OSError as error:
            raise _judge(request, error) from error


def _judge(request: str, error: OSError) -> CofferError:
    about = f"{request}: {os.strerror(error.errno or 0)}"
    if error.errno in _FULL:
        return UserError("StorageFull", f"the storage has no room left: {about}")
    if error.errno in _DENIED:
        return UserError("StorageAccessDenied", f"the storage may not be used: {about}")
    return Transient(about)


def _time(status: os.stat_result) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(status.st_mtime, datetime.UTC)
