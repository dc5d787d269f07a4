"""Whole backups in a store: save, open, restore, find, delete, sweep.

    <prefix>/<instance uid>/base/<backup uid>/data
    <prefix>/<instance uid>/base/<backup uid>/manifest.json
    <prefix>/<instance uid>/base/<backup uid>/verified.json    once it was tried: see proofs

The manifest comes last and goes first: a folder without one is no backup.
"""

import datetime
import logging
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from coffer_common.errors import UserError
from coffer_guest.pipeline import manifest as manifests
from coffer_guest.pipeline.failures import Damaged, Missing, incomplete
from coffer_guest.pipeline.keys import DataKey, KeyRing
from coffer_guest.pipeline.manifest import MAX_MANIFEST_BYTES, DataObject, Facts, Manifest
from coffer_guest.pipeline.process import Sink, Source
from coffer_guest.pipeline.read import ReadOptions, check_object, read_stream
from coffer_guest.pipeline.stop import Stop
from coffer_guest.pipeline.store import ObjectInfo, ObjectStore
from coffer_guest.pipeline.write import WriteOptions, write_stream

_log = logging.getLogger(__name__)

_SEGMENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=@+-]{0,200}")
_DATA: Final = "data"
_MANIFEST: Final = "manifest.json"
_VERIFIED: Final = "verified.json"
_BASE: Final = "base"


@dataclass(frozen=True, slots=True)
class Location:
    """The folder of one backup. `path` has no slash at either end."""

    path: str

    @classmethod
    def of(cls, prefix: str, instance_uid: str, backup_id: str) -> "Location":
        return cls.parse("/".join((prefix.strip("/"), instance_uid, _BASE, backup_id)).lstrip("/"))

    @classmethod
    def parse(cls, path: str) -> "Location":
        """From a user's text. Raises UserError."""
        segments = path.strip("/").split("/")
        well_formed = all(_SEGMENT.fullmatch(segment) for segment in segments)
        if len(segments) < 3 or segments[-2] != _BASE or not well_formed:
            raise UserError(
                "LocationInvalid",
                f"{path!r} is no backup's location: <prefix>/<instance uid>/base/<backup uid>/",
            )
        return cls("/".join(segments))

    @property
    def backup_id(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def data(self) -> str:
        return f"{self.path}/{_DATA}"

    @property
    def manifest(self) -> str:
        return f"{self.path}/{_MANIFEST}"

    @property
    def verified(self) -> str:
        return f"{self.path}/{_VERIFIED}"


@dataclass(frozen=True, slots=True)
class OpenBackup:
    """An authentic manifest with the key to its data."""

    location: Location
    manifest: Manifest
    key: DataKey


def save(
    source: Source,
    store: ObjectStore,
    location: Location,
    ring: KeyRing,
    describe: Callable[[DataObject], Facts],
    options: WriteOptions,
    stop: Stop,
) -> Manifest:
    """Take the source's stream as the backup at this location.

    `describe` is asked when the tool has succeeded and the data is stored and compared. Where the
    location holds this backup already, complete, that is the result: the task died between the
    manifest and its own record of it. Raises what `write_stream` raises, and Damaged where the
    location holds something else. Nothing counts as a backup unless this returns.
    """
    try:
        if exists(store, location.manifest, stop):
            source.kill()
            return open_backup(store, location, ring, stop).manifest
    except BaseException:
        source.kill()
        raise
    key = DataKey.generate()
    data = write_stream(source, store, location.data, location.backup_id, key, options, stop)
    manifest = Manifest(
        id=location.backup_id,
        facts=describe(data),
        data=data,
        keys=(ring.wrap(key, location.backup_id),),
    )
    stop.check()
    store.put_small(location.manifest, manifest.encode(key), stop)
    return manifest


def open_backup(
    store: ObjectStore,
    location: Location,
    ring: KeyRing,
    stop: Stop,
    digest: str | None = None,
) -> OpenBackup:
    """Read and authenticate a backup's manifest, and look for its data: before any is touched.

    `digest` is the recorded one, if there is a record. Raises Damaged and UserError (keys).
    """
    manifest, key = open_manifest(store, location, ring, stop, digest)
    check_object(store, location.data, manifest.data, stop)
    return OpenBackup(location, manifest, key)


def open_manifest(
    store: ObjectStore, location: Location, ring: KeyRing, stop: Stop, digest: str | None = None
) -> tuple[Manifest, DataKey]:
    """The same, without a look for the data."""
    try:
        text = store.get_small(location.manifest, MAX_MANIFEST_BYTES, stop)
    except Missing:
        raise incomplete(location.path) from None
    manifest, key, _ = manifests.decode(text, location.manifest, ring, location.backup_id, digest)
    return manifest, key


def restore(
    backup: OpenBackup,
    store: ObjectStore,
    sink: Sink,
    options: ReadOptions,
    stop: Stop,
) -> None:
    """Deliver an opened backup's stream to the sink. Raises what `read_stream` raises."""
    read_stream(store, backup.location.data, backup.manifest, backup.key, sink, options, stop)


def rewrap(store: ObjectStore, location: Location, ring: KeyRing, stop: Stop) -> bool:
    """Wrap the backup's key by the ring's current key; whether that changed anything."""
    text = store.get_small(location.manifest, MAX_MANIFEST_BYTES, stop)
    changed = manifests.rewrap(text, location.manifest, ring, location.backup_id)
    if changed is not None:
        store.put_small(location.manifest, changed, stop)
    return changed is not None


def delete(store: ObjectStore, location: Location, stop: Stop) -> None:
    """Delete a backup, its manifest first. Again is no error."""
    store.delete(location.manifest, stop)
    for found in list(store.list(f"{location.path}/", stop)):
        store.delete(found.key, stop)
    for upload in list(store.uploads(f"{location.path}/", stop)):
        store.abort_upload(upload.key, upload.id, stop)


class Found(NamedTuple):
    """A backup as it lies there. `tried`: there is an object that speaks of a test restore."""

    location: Location
    manifest: Manifest
    tried: bool


def find(store: ObjectStore, prefix: str, stop: Stop) -> Iterator[Found]:
    """All backups below a prefix, with what their manifests claim (without proof)."""
    for location, objects in _folders(store, prefix, stop):
        keys = {found.key for found in objects}
        if location.manifest in keys:
            text = store.get_small(location.manifest, MAX_MANIFEST_BYTES, stop)
            try:
                manifest = manifests.peek(text, location.manifest)
                yield Found(location, manifest, location.verified in keys)
            except Damaged as error:
                _log.warning("%s", error)


@dataclass(frozen=True, slots=True)
class Swept:
    """What `sweep` removed: keys of uploads, and locations."""

    uploads: tuple[str, ...]
    folders: tuple[str, ...]


def sweep(
    store: ObjectStore,
    prefix: str,
    before: datetime.datetime,
    running: Collection[str],
    stop: Stop,
) -> Swept:
    """Abort uploads and delete folders without a manifest, where all is older than `before`.

    `running` are ids of backups that are being taken now: theirs are left alone, and so is
    whatever is not in a backup's place right below the prefix: it may be another's.
    """
    uploads = []
    for upload in list(store.uploads(_folder_prefix(prefix), stop)):
        place = _place(prefix, upload.key)
        if place is None or upload.started_at >= before or place.backup_id in running:
            continue
        store.abort_upload(upload.key, upload.id, stop)
        uploads.append(upload.key)
    folders = []
    for location, objects in list(_folders(store, prefix, stop)):
        complete = any(found.key == location.manifest for found in objects)
        old = all(found.modified_at < before for found in objects)
        if complete or not old or location.backup_id in running:
            continue
        if exists(store, location.manifest, stop):  # it came while we listed
            continue
        for found in objects:
            store.delete(found.key, stop)
        folders.append(location.path)
    return Swept(tuple(uploads), tuple(folders))


def _folders(
    store: ObjectStore, prefix: str, stop: Stop
) -> Iterator[tuple[Location, list[ObjectInfo]]]:
    """What lies in the places of backups, by place. Other objects in the bucket are not ours."""
    location: Location | None = None
    objects: list[ObjectInfo] = []
    for found in store.list(_folder_prefix(prefix), stop):
        here = _place(prefix, found.key)
        if here is None:
            continue
        if location is not None and here != location:
            yield location, objects
            objects = []
        location = here
        objects.append(found)
    if location is not None:
        yield location, objects


def exists(store: ObjectStore, key: str, stop: Stop) -> bool:
    """Whether there is such an object."""
    try:
        store.head(key, stop)
    except Missing:
        return False
    return True


def _place(prefix: str, key: str) -> Location | None:
    """The backup that an object is of; None: it is in no backup's place right below the prefix.

    A storage whose prefix is below this one has backups of its own.
    """
    folder, _, name = key.rpartition("/")
    below = folder.removeprefix(_folder_prefix(prefix))
    if not name or not key.startswith(_folder_prefix(prefix)) or below.count("/") != 2:
        return None
    try:
        return Location.parse(folder)
    except UserError:
        return None


def _folder_prefix(prefix: str) -> str:
    return f"{prefix.strip('/')}/" if prefix.strip("/") else ""
