"""What is done with a storage without an engine: probe, find, delete, sweep and their like.

    python -m coffer_guest.storage_worker [--request FILE] [--credentials FOLDER] [--keys FOLDER]
                                          [--ca FILE]

Reads a StorageRequest, one line, from stdin or from FILE. Credentials and keys may come in the
request, or from mounted Secrets: `accessKeyId`, `secretAccessKey` and `sessionToken` in one folder,
`current` and the keys in the other. The last line of the output is a StorageAnswer; it is the
container's termination message too, where the kubelet gave it a file and it fits in. Exit status 0
when the operation succeeded, 1 when the answer says why not.
"""

import argparse
import contextlib
import datetime
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from pydantic import JsonValue, ValidationError

from coffer_common.errors import CofferError, UserError
from coffer_common.wire import StorageAnswer, StorageOperation, StorageRequest
from coffer_guest.pipeline import archive, proofs
from coffer_guest.pipeline.keys import CURRENT
from coffer_guest.pipeline.manifest import Manifest
from coffer_guest.pipeline.process import NullSink
from coffer_guest.pipeline.stop import Stop, stopped_by_signal
from coffer_guest.strategies.backup.access import Access, opened
from coffer_guest.strategies.backup.chain import open_chain
from coffer_guest.strategies.storage.base import probe
from coffer_guest.task_child import failure, invalid

Result = dict[str, JsonValue]

_TERMINATION_LOG: Final = Path("/dev/termination-log")
_TERMINATION_LOG_BYTES: Final = 4096  # kubelet's limit
_CREDENTIALS: Final = {
    "accessKeyId": "access_key",
    "secretAccessKey": "secret_key",
    "sessionToken": "session_token",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    given = _parser().parse_args(argv)
    answer = run(given)
    line = answer.model_dump_json()
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
    _leave(_TERMINATION_LOG, answer)
    return 0 if answer.result is not None else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="storage_worker", description=__doc__.splitlines()[0])
    for name in ("--request", "--credentials", "--keys", "--ca"):
        parser.add_argument(name, type=Path, default=None)
    return parser


def run(given: argparse.Namespace) -> StorageAnswer:
    """Read the request and do it; a failure is an answer, too."""
    try:
        request = _request(given)
        with stopped_by_signal() as stop, opened(request.storage) as access:
            result = _OPERATIONS[request.operation](request, access, stop)
        return StorageAnswer(result=result)
    except (CofferError, OSError) as error:
        return StorageAnswer.model_validate(failure(error))


def _request(given: argparse.Namespace) -> StorageRequest:
    text = sys.stdin.readline() if given.request is None else given.request.read_text()
    try:
        content = json.loads(text)
        storage = content["storage"]
        settings = storage.setdefault("settings", {})
    except (ValueError, TypeError, KeyError, AttributeError):
        raise UserError("InvalidRequest", "the request is no StorageRequest in JSON") from None
    if given.credentials is not None:
        entries = _entries(given.credentials)
        settings |= {_CREDENTIALS[name]: entries[name] for name in _CREDENTIALS if name in entries}
    if given.ca is not None:
        settings["ca"] = given.ca.read_text()
    if given.keys is not None:
        entries = _entries(given.keys)
        if CURRENT not in entries:
            raise UserError("KeyInvalid", "the encryption key Secret has no entry `current`")
        storage["current_key"] = entries.pop(CURRENT)
        storage["keys"] = entries
    try:
        return StorageRequest.model_validate(content)
    except ValidationError as error:
        raise invalid(StorageRequest, error) from None


def _entries(folder: Path) -> dict[str, str]:
    """A mounted Secret; the names with dots are the kubelet's own."""
    files = (path for path in folder.iterdir() if not path.name.startswith("."))
    return {path.name: path.read_text().strip() for path in files}


def _leave(path: Path, answer: StorageAnswer) -> None:
    if not path.exists():
        return
    text = answer.model_dump_json()
    if len(text.encode()) > _TERMINATION_LOG_BYTES:
        short: Result | None = None if answer.result is None else {"truncated": True}
        message = answer.message[: _TERMINATION_LOG_BYTES // 8]
        text = answer.model_copy(update={"result": short, "message": message}).model_dump_json()
    with contextlib.suppress(OSError), open(path, "w", encoding="utf-8") as file:
        file.write(text)


# --- operations -----------------------------------------------------------------------------------
def _probe(_: StorageRequest, access: Access, stop: Stop) -> Result:
    probe(access.store, access.prefix, stop)
    return {"keyId": access.ring.current}


def _find(_: StorageRequest, access: Access, stop: Stop) -> Result:
    every = archive.find(access.store, access.prefix, stop)
    return {"backups": [_listed(found, access, stop) for found in every]}


def _listed(found: archive.Found, access: Access, stop: Stop) -> Result:
    shown = _shown(access.path(found.location), found.manifest)
    if found.tried:
        shown["verified"] = _proof(found.location, found.manifest, access, stop)
    return shown


def _show(request: StorageRequest, access: Access, stop: Stop) -> Result:
    """Of a chain only the end: a termination message has no room for more."""
    chain = open_chain(access, request.path, request.digest, stop)
    last = chain[-1]
    shown = _shown(access.path(last.location), last.manifest)
    shown["verified"] = _proof(last.location, last.manifest, access, stop)
    return {"chain": [shown], "length": len(chain)}


def _proof(location: archive.Location, manifest: Manifest, access: Access, stop: Stop) -> JsonValue:
    proof = proofs.recall(access.store, location, manifest, access.ring, stop)
    return proof.model_dump(mode="json") if proof is not None else None


def _scrub(request: StorageRequest, access: Access, stop: Stop) -> Result:
    chain = open_chain(access, request.path, request.digest, stop)
    for one in chain:
        archive.restore(one, access.store, NullSink(), access.read_options(), stop)
    return {"backups": len(chain), "bytes": sum(one.manifest.data.size_bytes for one in chain)}


def _delete(request: StorageRequest, access: Access, stop: Stop) -> Result:
    archive.delete(access.store, access.location(request.path), stop)
    return {"path": request.path}


def _sweep(request: StorageRequest, access: Access, stop: Stop) -> Result:
    age = datetime.timedelta(seconds=request.older_than_s)
    before = datetime.datetime.now(datetime.UTC) - age
    swept = archive.sweep(access.store, access.prefix, before, request.running, stop)
    return {"uploads": list(swept.uploads), "folders": list(swept.folders)}


def _rewrap(request: StorageRequest, access: Access, stop: Stop) -> Result:
    changed = archive.rewrap(access.store, access.location(request.path), access.ring, stop)
    return {"changed": changed, "keyId": access.ring.current}


_OPERATIONS: Final[Mapping[StorageOperation, Callable[[StorageRequest, Access, Stop], Result]]] = {
    StorageOperation.PROBE: _probe,
    StorageOperation.FIND: _find,
    StorageOperation.SHOW: _show,
    StorageOperation.SCRUB: _scrub,
    StorageOperation.DELETE: _delete,
    StorageOperation.SWEEP: _sweep,
    StorageOperation.REWRAP: _rewrap,
}


def _shown(path: str, manifest: Manifest) -> Result:
    """A backup as an operator records it; the size of what it says is bounded."""
    facts, data = manifest.facts, manifest.data
    return {
        "path": path,
        "id": manifest.id,
        "digest": manifest.digest,
        "type": facts.type,
        "strategy": facts.strategy,
        "datastore": facts.datastore,
        "engineVersion": facts.engine_version,
        "instance": dict(facts.instance),
        "dataId": facts.data_id,
        "createdAt": facts.created_at,
        "finishedAt": facts.finished_at,
        "position": dict(facts.position),
        "parent": facts.parent.path if facts.parent else None,
        "depth": facts.depth,
        "sizeBytes": data.size_bytes,
        "plainBytes": data.plain_bytes,
        "plainSha256": data.plain_sha256,
        "keyId": manifest.keys[0].id if manifest.keys else "",
        "verified": None,
    }


if __name__ == "__main__":
    sys.exit(main())
