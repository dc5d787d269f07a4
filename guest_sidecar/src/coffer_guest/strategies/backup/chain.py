"""A backup and what restoring it needs: found, authenticated and held against one another.

Log sequence numbers belong to one data directory. Increments of two of them restored half of the
rows with every tool reporting success, so each link is checked here, both when an increment is
taken and when a chain is restored.
"""

from collections.abc import Sequence
from typing import Final

from coffer_guest.pipeline import archive
from coffer_guest.pipeline.archive import OpenBackup
from coffer_guest.pipeline.failures import Damaged
from coffer_guest.pipeline.manifest import Facts, Manifest
from coffer_guest.pipeline.stop import Stop
from coffer_guest.strategies.backup.access import Access

LSN_FROM: Final = "lsnFrom"
LSN_TO: Final = "lsnTo"
_MAX_DEPTH: Final = 1000
_BROKEN: Final = "ChainBroken"


def open_chain(access: Access, path: str, digest: str | None, stop: Stop) -> list[OpenBackup]:
    """The backup at `path` (the last) and all that it needs, from the full one on.

    Every manifest is authentic, its key is known, its object is there in its size, and the links
    fit. Raises Damaged and UserError, which name the backup at fault, and what the store raises.
    """
    chain = [archive.open_backup(access.store, access.location(path), access.ring, stop, digest)]
    while (parent := chain[0].manifest.facts.parent) is not None:
        if len(chain) > _MAX_DEPTH:
            raise Damaged(f"{path} stands on more than {_MAX_DEPTH} others", _BROKEN)
        try:
            found = archive.open_backup(
                access.store, access.location(parent.path), access.ring, stop, parent.digest
            )
        except Damaged as error:
            child = access.path(chain[0].location)
            raise Damaged(f"{child} needs {parent.path}: {error.message}", error.reason) from error
        chain.insert(0, found)
    check_links([one.manifest for one in chain])
    return chain


def check_links(chain: Sequence[Manifest]) -> None:
    """Each manifest continues the one before it. Raises Damaged. Pure."""
    for depth, (manifest, before) in enumerate(zip(chain, (None, *chain), strict=False)):
        fault = _fault(manifest.facts, depth, chain[0].id, before)
        if fault:
            raise Damaged(f"backup {manifest.id} does not fit into its chain: {fault}", _BROKEN)


def _fault(facts: Facts, depth: int, full_id: str, before: Manifest | None) -> str:
    if facts.depth != depth or facts.full_id != full_id:
        return f"it is number {facts.depth} on {facts.full_id}, found as {depth} on {full_id}"
    if before is None:
        return "" if facts.type == "full" else "it is an increment without a parent"
    former = before.facts
    same = {
        "data id": (facts.data_id, former.data_id),
        "instance": (facts.instance.get("uid"), former.instance.get("uid")),
        "datastore": (facts.datastore, former.datastore),
        "LSN": (facts.position.get(LSN_FROM), former.position.get(LSN_TO)),
    }
    for what, (ours, parents) in same.items():
        if not ours or ours != parents:
            return f"its {what} is {ours or 'unknown'}, that of backup {before.id} is {parents}"
    return ""


def needed_bytes(chain: Sequence[Manifest]) -> int:
    """The most that restoring takes: the full, what each increment may add, and one beside it."""
    increments = [manifest.data.plain_bytes for manifest in chain[1:]]
    return chain[0].data.plain_bytes + sum(increments) + max(increments, default=0)
