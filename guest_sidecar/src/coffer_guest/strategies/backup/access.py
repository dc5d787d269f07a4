"""From a request's StorageAccess to an open store, a key ring and options."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import JsonValue

from coffer_common.errors import UserError
from coffer_common.wire import StorageAccess
from coffer_guest.pipeline.archive import Location
from coffer_guest.pipeline.keys import CURRENT, KeyRing
from coffer_guest.pipeline.parts import DEFAULT_PART_BYTES
from coffer_guest.pipeline.read import ReadOptions
from coffer_guest.pipeline.stop import Progress, unheard
from coffer_guest.pipeline.write import WriteOptions
from coffer_guest.strategies.storage.base import Storage, open_storage

_TRANSFERS = 4


@dataclass(frozen=True)
class Access:
    """An open storage. Paths are below its prefix."""

    request: StorageAccess
    store: Storage
    ring: KeyRing

    @property
    def prefix(self) -> str:
        return self.request.prefix.strip("/")

    def location(self, path: str) -> Location:
        """Raises UserError."""
        below = Location.parse(path).path
        return Location.parse(f"{self.prefix}/{below}" if self.prefix else below)

    def path(self, location: Location) -> str:
        """The other way round."""
        return location.path.removeprefix(f"{self.prefix}/" if self.prefix else "")

    def url(self, location: Location) -> str:
        """For people; without credentials."""
        settings = self.request.settings
        if "bucket" in settings:
            return f"s3://{settings['bucket']}/{location.path}"
        if "root" in settings:
            return f"file://{settings['root']}/{location.path}"
        return f"{self.request.strategy}:{location.path}"

    def write_options(self, expected_bytes: int | None, progress: Progress) -> WriteOptions:
        return WriteOptions(
            part_bytes=self.request.part_size_bytes or DEFAULT_PART_BYTES,
            uploads=self.request.concurrency or _TRANSFERS,
            rate_bytes_per_s=self.request.rate_limit_bytes,
            expected_bytes=expected_bytes,
            progress=progress,
        )

    def read_options(self, progress: Progress = unheard, *, whole: bool = False) -> ReadOptions:
        """`whole`: compare the checksum of the whole plain stream, too."""
        return ReadOptions(
            digest=whole,
            downloads=self.request.concurrency or _TRANSFERS,
            rate_bytes_per_s=self.request.rate_limit_bytes,
            progress=progress,
        )


@contextlib.contextmanager
def opened(request: StorageAccess) -> Iterator[Access]:
    """The storage, closed with the block. Raises UserError; does not touch the network."""
    if CURRENT in request.keys:
        raise UserError("KeyInvalid", f"no encryption key can have the id {CURRENT!r}")
    ring = KeyRing.parse({CURRENT: request.current_key, **request.keys})
    settings: dict[str, JsonValue] = dict(request.settings)
    with open_storage(request.strategy, settings) as store:
        yield Access(request, store, ring)
