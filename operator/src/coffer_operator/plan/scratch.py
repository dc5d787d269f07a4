"""The scratch instance of a test restore: as its source is, where that can be told. Pure.

It takes part in nothing: it names no ConfigurationGroup, has no users and no databases of its own,
and goes, with its volume, when the Operation that owns it goes.
"""

import re
from typing import Any, Final

from coffer_common import naming
from coffer_common.errors import UserError
from coffer_common.quantity import parse_bytes
from coffer_common.resources.backup import Backup
from coffer_common.resources.catalogue import DatastoreVersion, Flavor
from coffer_common.resources.instance import DatabaseInstance, DeletionPolicy
from coffer_common.resources.operation import Operation
from coffer_operator.build.quantities import size
from coffer_operator.plan import reasons
from coffer_operator.plan.restore import chain_bytes
from coffer_operator.plan.verification_world import VerificationWorld
from coffer_operator.plan.world import Catalogue

ROOM: Final = 1.5  # of what the data take
DUMP_ROOM: Final = 3.0  # of what the statements take: they hold no indexes
RAM: Final = 2.0  # of what the data take, where no instance shows what they need
_MIB: Final = 1024**2
_NUMBERS: Final = re.compile(r"\d+")


def scratch_name(operation: Operation) -> str:
    """The name of the instance that the Operation's Backup is restored into."""
    reference = operation.spec.backup_ref
    return naming.scratch_instance(reference.name if reference is not None else "")


def is_of(instance: DatabaseInstance, operation: Operation) -> bool:
    """Whether the instance was made for this very Operation."""
    return operation.metadata.uid in (o.get("uid") for o in instance.metadata.owner_references)


def scratch_instance(world: VerificationWorld, backup: Backup) -> dict[str, Any]:
    """The object. Raises UserError where the catalogue has nothing that the Backup fits into."""
    operation, source = world.operation, world.source
    version = _version(world.catalogue, backup, source)
    is_dump = backup.status.strategy in naming.LOGICAL_STRATEGIES
    needed_bytes = chain_bytes(backup, world.chain)
    room_bytes = int(needed_bytes * (DUMP_ROOM if is_dump else ROOM))
    spec: dict[str, Any] = {
        "datastore": {"type": version.spec.datastore, "version": version.spec.version},
        "flavor": _flavor(world.catalogue, version, source, needed_bytes),
        "volume": {"size": _volume_size(version, source, room_bytes)},
        "deletionPolicy": DeletionPolicy.DELETE.value,
    }
    if not is_dump:  # which is loaded into it
        spec["restoreFrom"] = {"backupRef": {"name": backup.metadata.name}}
    if source is not None:
        given = source.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
        spec["scheduling"] = given["scheduling"]
        if source.spec.volume.storage_class_name is not None:
            spec["volume"]["storageClassName"] = source.spec.volume.storage_class_name
    return {
        "apiVersion": naming.API_VERSION,
        "kind": "DatabaseInstance",
        "metadata": {
            "name": scratch_name(operation),
            "namespace": operation.metadata.namespace,
            "labels": {
                naming.LABEL_MANAGED_BY: naming.MANAGED_BY,
                naming.LABEL_SCRATCH: "true",
            },
            "ownerReferences": [
                {
                    "apiVersion": naming.API_VERSION,
                    "kind": "Operation",
                    "name": operation.metadata.name,
                    "uid": operation.metadata.uid,
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "spec": spec,
    }


def _version(
    catalogue: Catalogue, backup: Backup, source: DatabaseInstance | None
) -> DatastoreVersion:
    """The source's, or the one that is nearest to, and not below, what the Backup was taken of."""
    known = source.status.datastore if source is not None else None
    if known is not None and known.name in catalogue.datastore_versions:
        return catalogue.datastore_versions[known.name]
    datastore, engine = backup.status.datastore, _numbers(backup.status.engine_version or "")
    fitting = [
        version
        for version in catalogue.datastore_versions.values()
        if version.spec.datastore == datastore and version.spec.active
    ]
    reached = [
        version
        for version in fitting
        if (own := _numbers(version.spec.version)) >= engine[: len(own)]
    ]
    if not reached:
        raise UserError(
            reasons.UNKNOWN_VERSION,
            f"the catalogue has no active version of {datastore} that a backup of "
            f"{backup.status.engine_version} can be restored into",
        )
    return min(reached, key=lambda v: (_numbers(v.spec.version), v.metadata.name))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in _NUMBERS.findall(version.partition("-")[0]))


def _flavor(
    catalogue: Catalogue,
    version: DatastoreVersion,
    source: DatabaseInstance | None,
    needed_bytes: int,
) -> str:
    """The source's, or the smallest with memory for the data, or the largest there is."""
    allowed = {
        name: flavor
        for name, flavor in catalogue.flavors.items()
        if not version.spec.flavors or name in version.spec.flavors
    }
    if source is not None and source.spec.flavor in allowed:
        return source.spec.flavor
    if not allowed:
        raise UserError(
            reasons.UNKNOWN_FLAVOR,
            f"the catalogue has no Flavor for {version.metadata.name} to restore into",
        )
    by_size = sorted(allowed, key=lambda name: (_ram_bytes(allowed[name]), name))
    large = (name for name in by_size if _ram_bytes(allowed[name]) >= needed_bytes * RAM)
    return next(large, by_size[-1])


def _ram_bytes(flavor: Flavor) -> int:
    return _bytes(flavor.spec.ram)


def _volume_size(
    version: DatastoreVersion, source: DatabaseInstance | None, room_bytes: int
) -> str:
    """In whole MiB; at least the source's."""
    wanted = max(
        room_bytes,
        _bytes(version.spec.min_volume_size),
        _bytes(source.spec.volume.size) if source is not None else 0,
    )
    return size(-(-wanted // _MIB) * _MIB)


def _bytes(quantity: str) -> int:
    try:
        return parse_bytes(quantity)
    except ValueError:
        return 0  # refused elsewhere
