"""Which objects are applied, and what stands in their way.

Pure. Nothing is taken over: an object of another under a name that is needed stops the instance,
and what a former instance of the same name left is waited for until it is gone.
"""

from typing import Any

from coffer_common import naming
from coffer_common.errors import UserError
from coffer_operator.build import volume as build_volume
from coffer_operator.build.children import children
from coffer_operator.build.identity import Blueprint, Identity, needed_names
from coffer_operator.plan import reasons
from coffer_operator.plan.finding import Finding, Severity
from coffer_operator.plan.model import Annotate, Apply
from coffer_operator.plan.wording import name_taken
from coffer_operator.plan.world import Child, World


def taken_name(world: World, identity: Identity) -> UserError | None:
    """The first object that has a needed name and is not ours."""
    for kind, name in _all_names(identity):
        child = world.children.get((kind, name))
        if child is not None and not child.ours:
            return name_taken(kind, name)
    return None


def former_objects(world: World, identity: Identity) -> Finding | None:
    """Objects of a deleted instance of the same name: garbage collection is about to take them."""
    for kind, name in _all_names(identity):
        child = world.children.get((kind, name))
        if child is not None and child.ours and child.owner_uid not in (None, identity.uid):
            return Finding(
                Severity.PROGRESS,
                reasons.FORMER_OBJECTS,
                f"waits until the {kind} {name} of a deleted instance of this name is gone",
            )
    return None


def apply_children(world: World, blueprint: Blueprint) -> tuple[Apply, ...]:
    """All objects but the volume; those under deletion come back once they are gone."""
    return tuple(Apply(obj) for obj in children(blueprint) if not _is_going(_child(world, obj)))


def apply_volume(blueprint: Blueprint) -> Apply:
    """The volume, made only where there is none."""
    return Apply(build_volume.data_volume(blueprint), create_only=True)


def annotate_volume(
    world: World, blueprint: Blueprint | None, data_id: str | None
) -> tuple[Annotate, ...]:
    """What the claim must bear, where it does not.

    `data_id` is what the agent vouches for; None: it does not, and then a claim that is ours gets
    no more than the owner reference that the deletion policy asks for. Without a blueprint (an
    invalid spec) the data id is recorded all the same.
    """
    volume = world.volume
    if volume is None or volume.deleting:
        return ()
    wanted: dict[str, str] = {}
    if data_id is not None:
        wanted = {naming.ANNOTATION_DATA_ID: data_id}
        if blueprint is not None:
            wanted |= build_volume.annotations(blueprint)
    present = {
        naming.ANNOTATION_GROUP: volume.group,
        naming.ANNOTATION_ROLE: volume.role,
        naming.ANNOTATION_RESOLVED: volume.datastore_version,
        naming.ANNOTATION_DATA_ID: volume.data_id,
    }
    changed = {key: value for key, value in wanted.items() if present.get(key) != value}
    adopts = blueprint is not None and data_id is not None and not volume.ours
    owners = None
    if blueprint is not None and (volume.ours or adopts):
        references = build_volume.owner_references(blueprint)
        if {str(owner["uid"]) for owner in references} != set(volume.owner_uids):
            owners = references
    if not changed and owners is None and not adopts:
        return ()
    return (
        Annotate(
            "PersistentVolumeClaim",
            volume.name,
            volume.uid,
            annotations=changed,
            owner_references=owners,
            labels=blueprint.identity.labels if blueprint is not None and adopts else {},
        ),
    )


def _all_names(identity: Identity) -> tuple[tuple[str, str], ...]:
    return (*needed_names(identity), ("Secret", naming.agent_tls(identity.name)))


def _child(world: World, obj: dict[str, Any]) -> Child | None:
    return world.children.get((obj["kind"], obj["metadata"]["name"]))


def _is_going(child: Child | None) -> bool:
    return child is not None and child.deleting
