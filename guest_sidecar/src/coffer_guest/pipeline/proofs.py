"""Proofs: the outcome of a backup's last test restore, as an object beside its manifest.

    <prefix>/<instance uid>/base/<backup uid>/verified.json

Authenticated by a key derived from the backup's own, over everything in it, the digest of the
manifest among that: one that was forged, altered, or written for another backup counts for nothing.
An older one of the same backup cannot be told from the newest. No backup is the worse for having
none.
"""

import hmac
import json
import logging
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, JsonValue

from coffer_common.errors import CofferError, Transient
from coffer_common.proof import Proof
from coffer_guest.pipeline.archive import Location, exists, open_manifest
from coffer_guest.pipeline.failures import Missing, incomplete
from coffer_guest.pipeline.keys import DataKey, KeyRing
from coffer_guest.pipeline.manifest import Manifest
from coffer_guest.pipeline.stop import Cancelled, Stop
from coffer_guest.pipeline.store import ObjectStore

_log = logging.getLogger(__name__)

FORMAT: Final = 1
_MAX_BYTES: Final = 64 << 10


class _Kept(BaseModel):
    """What the object says, but for its MAC."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    format: Literal[1] = FORMAT
    id: str  # of the backup
    digest: str  # of its manifest
    proof: Proof


def keep(
    store: ObjectStore,
    location: Location,
    ring: KeyRing,
    proof: Proof,
    stop: Stop,
    digest: str | None = None,
) -> None:
    """Write the proof of the backup there in place of a former one.

    Its manifest has to be authentic, and the recorded one if there is a record; its data need not
    be there. Raises Damaged, UserError (keys), and what the store raises.
    """
    manifest, key = open_manifest(store, location, ring, stop, digest)
    kept = _Kept(id=manifest.id, digest=manifest.digest, proof=proof).model_dump(mode="json")
    text = json.dumps(kept | {"mac": _mac(kept, key)}, indent=1).encode()
    store.put_small(location.verified, text, stop)
    if not exists(store, location.manifest, stop):  # deleted meanwhile: this is to go, too
        store.delete(location.verified, stop)
        raise incomplete(location.path)


def recall(
    store: ObjectStore, location: Location, manifest: Manifest, ring: KeyRing, stop: Stop
) -> Proof | None:
    """The proof of this very backup; None: there is none that can be trusted.

    Raises Transient where the store cannot be asked.
    """
    try:
        text = store.get_small(location.verified, _MAX_BYTES, stop)
        return _decode(text, location, manifest, ring)
    except Missing:
        return None
    except (Transient, Cancelled):
        raise
    except CofferError as error:
        _log.warning("%s is ignored: %s", location.verified, error)
        return None


def _decode(text: bytes, location: Location, manifest: Manifest, ring: KeyRing) -> Proof | None:
    """Raises UserError for a key that is not there."""
    try:
        content: dict[str, JsonValue] = dict(json.loads(text))
        said = str(content.pop("mac", ""))
        kept = _Kept.model_validate(content)
    except (ValueError, TypeError, RecursionError) as error:
        name = type(error).__name__
        _log.warning("%s is ignored: it is no proof (%s)", location.verified, name)
        return None
    key = ring.unwrap(manifest.keys, location.backup_id)
    whose = kept.id == manifest.id == location.backup_id and kept.digest == manifest.digest
    authentic = hmac.compare_digest(said.encode(), _mac(content, key).encode())
    if not (whose and authentic):
        why = "it was altered" if whose else "it is of another backup"
        _log.warning("%s is ignored: %s", location.verified, why)
        return None
    return kept.proof


def _mac(content: dict[str, JsonValue], key: DataKey) -> str:
    signed = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    return hmac.digest(key.for_proof, signed, "sha256").hex()
