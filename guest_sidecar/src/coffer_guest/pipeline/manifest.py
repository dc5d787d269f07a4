"""The manifest of a backup: what it is, where it ends, and proof of both.

It is written last: a folder without one holds no backup. Its MAC is keyed by the backup's own
key, over everything but the wrapped keys: so a key can be rotated by wrapping it anew, and an
altered, foreign or replayed manifest does not fit. The MAC covers the text's values, not this
model: what a newer release adds is authenticated too.
"""

import hashlib
import hmac
import json
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from coffer_guest.pipeline.failures import Damaged
from coffer_guest.pipeline.frames import CIPHER
from coffer_guest.pipeline.keys import DataKey, KeyRing, WrappedKey

FORMAT: Final = 1
MAX_MANIFEST_BYTES: Final = 16 << 20
_UNSIGNED: Final = ("keys", "mac")

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, defer_build=True)


class Parent(_Model):
    """The backup that an incremental one continues."""

    id: str
    path: str
    digest: Digest  # of the parent's manifest: `Manifest.digest`


class Facts(_Model):
    """What the backup is, as its strategy says; the data path only stores and returns it."""

    type: Literal["full", "incremental"] = "full"
    strategy: str
    datastore: str
    engine_version: str
    tool: str = ""
    tool_version: str = ""
    agent_version: str = ""
    instance: dict[str, str] = {}  # uid, name, namespace
    data_id: str = ""  # of the volume the backup was taken from
    created_at: str  # RFC 3339, when the tool started
    finished_at: str
    position: dict[str, str] = {}  # gtid, binlogFile, lsnFrom, lsnTo: as the engine has them
    parent: Parent | None = None
    full_id: str = ""  # of the chain's first backup
    depth: Count = 0  # of the chain: 0 is a full backup
    extra: dict[str, JsonValue] = {}


class StoredPart(_Model):
    """One part of the data object, in order."""

    size_bytes: Count
    crc32: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]


class DataObject(_Model):
    """The `data` object, and the plain stream inside it."""

    size_bytes: Count
    plain_bytes: Count
    plain_sha256: Digest
    records: Count
    compression: str
    cipher: str = CIPHER
    header_sha256: Digest
    parts: tuple[StoredPart, ...]


class Manifest(_Model):
    """A whole manifest; one that came from `decode` is authentic."""

    format: Literal[1] = FORMAT
    id: str
    facts: Facts
    data: DataObject
    keys: tuple[WrappedKey, ...]

    @property
    def digest(self) -> str:
        """Names this content for ever: a Backup records it, and a later manifest is held to it."""
        return hashlib.sha256(_canonical(self.model_dump(mode="json"))).hexdigest()

    def encode(self, key: DataKey) -> bytes:
        """The object's text, with its MAC."""
        content = self.model_dump(mode="json")
        return json.dumps(content | {"mac": _mac(content, key)}, indent=1).encode()


def decode(
    text: bytes, path: str, ring: KeyRing, backup_id: str, digest: str | None = None
) -> tuple[Manifest, DataKey, dict[str, JsonValue]]:
    """Read and authenticate the manifest found at `path`; also the values as they were written.

    `backup_id` is whose manifest it should be; `digest`, where it was recorded, which one.
    Raises Damaged (unreadable, another backup's, altered, replayed) and UserError (keys).
    """
    content, manifest = _parse(text, path)
    if manifest.id != backup_id:
        raise Damaged(
            f"{path} is the manifest of backup {manifest.id}, not of {backup_id}", "BackupReplayed"
        )
    key = ring.unwrap(manifest.keys, backup_id)
    if not hmac.compare_digest(str(content.get("mac", "")).encode(), _mac(content, key).encode()):
        raise Damaged(f"{path} was altered after it was written: its MAC does not fit")
    if digest is not None and manifest.digest != digest:
        raise Damaged(
            f"{path} is authentic but not the one that was recorded for backup {backup_id}: an "
            f"older one was put in its place",
            "BackupReplayed",
        )
    return manifest, key, content


def rewrap(text: bytes, path: str, ring: KeyRing, backup_id: str) -> bytes | None:
    """The manifest with its key wrapped by the ring's current key; None if it is already.

    Only the manifest changes, and its digest does not. Raises what `decode` raises.
    """
    manifest, key, content = decode(text, path, ring, backup_id)
    if any(wrapped.id == ring.current for wrapped in manifest.keys):
        return None
    content["keys"] = [ring.wrap(key, backup_id).model_dump(mode="json")]
    return json.dumps(content, indent=1).encode()


def peek(text: bytes, path: str) -> Manifest:
    """What a manifest claims, without proof: for a list of what lies in a bucket."""
    return _parse(text, path)[1]


def _parse(text: bytes, path: str) -> tuple[dict[str, JsonValue], Manifest]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise Damaged(f"{path} is not a manifest: {error}") from error
    if not isinstance(content, dict):
        raise Damaged(f"{path} is not a manifest")
    if content.get("format") != FORMAT:
        raise Damaged(
            f"{path} has format {content.get('format')!r}, and this release reads {FORMAT}",
            "BackupFormatUnknown",
        )
    try:
        return content, Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise Damaged(f"{path} is not a manifest: {where}: {first['msg']}") from None


def _canonical(content: dict[str, JsonValue]) -> bytes:
    signed = {key: value for key, value in content.items() if key not in _UNSIGNED}
    return json.dumps(signed, sort_keys=True, separators=(",", ":")).encode()


def _mac(content: dict[str, JsonValue], key: DataKey) -> str:
    return hmac.digest(key.for_manifest, _canonical(content), "sha256").hex()
