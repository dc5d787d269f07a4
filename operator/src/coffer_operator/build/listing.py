"""The ConfigMap with the list of what a storage holds, made of what its worker has written. Pure.

It belongs to the BackupStorage and says nothing that is secret. The worker's whole answer is in its
log: the termination message that other workers answer by holds 4 KiB.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from coffer_common import naming
from coffer_common.errors import UserError
from coffer_common.resources.base import Metadata
from coffer_common.wire import StorageAnswer

Object = dict[str, Any]

LISTING: Final = "listing.json"
REQUEST: Final = "nonce"
TRUNCATED: Final = "truncated"  # "true": the oldest are left out
MAX_LOG_BYTES: Final = 8 * 1024**2
_MAX_BYTES: Final = 900 * 1024  # of 1 MiB that a ConfigMap may have


def listing_config_map(owner: Metadata, request: str, log: str) -> Object:
    """The ConfigMap that answers the request. Raises UserError for a log without an answer."""
    found = sorted(_entries(log), key=lambda entry: str(entry["finishedAt"]), reverse=True)
    kept, size_bytes = [], 0
    for entry in found:
        text = json.dumps(entry, separators=(",", ":"))
        size_bytes += len(text.encode()) + 2
        if size_bytes > _MAX_BYTES:
            break
        kept.append(text)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": naming.storage_listing(owner.name),
            "namespace": owner.namespace,
            "ownerReferences": [
                {
                    "apiVersion": naming.API_VERSION,
                    "kind": "BackupStorage",
                    "name": owner.name,
                    "uid": owner.uid,
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "data": {
            LISTING: "[" + ",\n".join(kept) + "]",
            REQUEST: request,
            TRUNCATED: "true" if len(kept) < len(found) else "false",
        },
    }


def _entries(log: str) -> list[Object]:
    """Of the last line that is an answer: warnings may come before and after it."""
    for line in reversed(log.splitlines()):
        try:
            answer = StorageAnswer.model_validate_json(line)
        except ValidationError:
            continue
        backups = (answer.result or {}).get("backups")
        if isinstance(backups, list):
            return [_entry(one) for one in backups if isinstance(one, Mapping)]
    raise UserError(
        "ListUnreadable", "the storage worker's list is not readable, or more than 8 MiB"
    )


def _entry(shown: Mapping[str, Any]) -> Object:
    instance = shown.get("instance")
    of: Mapping[str, Any] = instance if isinstance(instance, Mapping) else {}
    return {
        "path": shown.get("path"),
        "type": shown.get("type"),
        "strategy": shown.get("strategy"),
        "instance": of.get("name"),
        "instanceUid": of.get("uid"),
        "datastore": shown.get("datastore"),
        "engineVersion": shown.get("engineVersion"),
        "finishedAt": shown.get("finishedAt"),
        "sizeBytes": shown.get("sizeBytes"),
        "rawBytes": shown.get("plainBytes"),
        "parent": shown.get("parent"),
        "verified": _verified(shown.get("verified")),
    }


def _verified(proof: Any) -> Object | None:
    if not isinstance(proof, Mapping):
        return None
    return {"result": proof.get("result"), "time": proof.get("time")}
