"""What is settled of an instance: version, group, role and data id, from wherever it survived.

Pure. Status is a cache: where it is missing (CRs restored without status), the annotations of the
data volume say the same; where the two disagree, nobody acts (design §1.9).
"""

from dataclasses import dataclass

from coffer_common import naming
from coffer_common.resources.instance_status import Role
from coffer_operator.plan.world import World

_SUFFIX_LENGTH = 5


@dataclass(frozen=True)
class Known:
    """What must not be decided again.

    `data_id` is that of the data that must be on the volume; None: none that is known of.
    """

    version_name: str | None
    group: str
    role: Role
    data_id: str | None
    flavor: str | None  # the one applied last


def settle(world: World) -> Known:
    """What status, volume and children say, in this order."""
    status, volume = world.instance.status, world.volume
    name = world.instance.metadata.name
    config = world.children.get(("ConfigMap", naming.agent_config(name)))
    stateful_set = world.children.get(("StatefulSet", name))
    resolved = status.datastore.name if status.datastore else None
    return Known(
        version_name=resolved or (volume.datastore_version if volume else None),
        group=status.group or (volume.group if volume else None) or _new_group(world),
        role=status.role or _role(volume.role if volume else None),
        data_id=(
            status.data_id
            or (volume.data_id if volume else None)
            or (
                config.annotations.get(naming.ANNOTATION_DATA_ID)
                if config is not None and config.owner_uid == world.instance.metadata.uid
                else None
            )
        ),
        flavor=(
            stateful_set.annotations.get(naming.ANNOTATION_FLAVOR)
            if stateful_set is not None and stateful_set.ours
            else None
        ),
    )


def disagreement(world: World) -> str | None:
    """One line on what status and volume say differently; None if they agree."""
    status, volume = world.instance.status, world.volume
    if volume is None:
        return None
    pairs = (
        ("data id", status.data_id, volume.data_id),
        ("group", status.group, volume.group),
        (
            "DatastoreVersion",
            status.datastore.name if status.datastore else None,
            volume.datastore_version,
        ),
    )
    for what, expected, found in pairs:
        if expected is not None and found is not None and expected != found:
            return f"the {what} of the instance is {expected}, that of its volume {found}"
    return None


def _new_group(world: World) -> str:
    """The instance's name, unless Services of a group of that name exist under another owner."""
    name = world.instance.metadata.name
    for service in (naming.read_write_service(name), naming.read_only_service(name)):
        child = world.children.get(("Service", service))
        if (
            child is not None
            and not child.ours
            and child.annotations.get(naming.ANNOTATION_GROUP) == name
        ):
            suffix = naming.short_hash(world.instance.metadata.uid, _SUFFIX_LENGTH)
            return f"{name}-{suffix}"
    return name


def _role(text: str | None) -> Role:
    try:
        return Role(text) if text is not None else Role.STANDALONE
    except ValueError:
        return Role.STANDALONE
