"""The data volume: whether it may be made, used or must be left alone.

Pure, and the keeper of the first rule: where data have been, no new volume is ever made, and a
volume that is not known to be right is never written to.
"""

from dataclasses import dataclass
from typing import Final

from coffer_common import naming
from coffer_common.wire import DataState
from coffer_operator.plan import reasons
from coffer_operator.plan.agent import AgentView
from coffer_operator.plan.finding import Finding, Severity
from coffer_operator.plan.known import Known, disagreement
from coffer_operator.plan.world import VolumeFact, World

NEARLY_FULL_PERCENT: Final = 90


@dataclass(frozen=True)
class VolumeVerdict:
    """What may be done with the volume.

    `make`: there is none and there never was one. `hold`: nothing may be applied or restarted.
    `record`: the agent vouches for the data, so PVC and status get the `data_id`.
    `finding` is about the instance's way, `warning` only about the volume's health.
    """

    data_id: str | None = None
    make: bool = False
    hold: bool = False
    record: bool = False
    finding: Finding | None = None
    warning: Finding | None = None


def judge_volume(world: World, known: Known, view: AgentView) -> VolumeVerdict:
    """The verdict over the PVC and over what the agent found on it."""
    name = naming.data_volume(world.instance.metadata.name)
    volume = world.volume
    if volume is None:
        return _absent(name, known, view)
    mismatch = disagreement(world)
    if volume.lost:
        return _error(
            known,
            reasons.VOLUME_LOST,
            f"the PersistentVolume behind {name} is gone; bring it back, or delete instance and "
            f"claim, and restore a backup into a new instance",
        )
    if mismatch is not None:
        return _error(
            known,
            reasons.VOLUME_MISMATCH,
            f"{name} is not the volume of this instance: {mismatch}; put the right volume under "
            "that name, or delete the instance",
        )
    waiting = _on_its_way_out(world, name, volume)
    if waiting is not None and not _holds_our_data(world, view):
        return VolumeVerdict(hold=True, finding=waiting)
    return _with_data(world, name, known, view)


def _absent(name: str, known: Known, view: AgentView) -> VolumeVerdict:
    laid_out = view.data is not None and view.data.state is DataState.LAID_OUT
    if known.data_id is None and not laid_out:
        return VolumeVerdict(make=True)
    found = known.data_id or (view.data.data_id if view.data else None)
    return VolumeVerdict(
        data_id=found,
        hold=True,
        finding=Finding(
            Severity.ERROR,
            reasons.VOLUME_LOST,
            f"the claim {name} with the data {found} is gone; bind a claim of that name to the "
            "former PersistentVolume, or delete the instance and restore a backup into a new one",
        ),
    )


def _holds_our_data(world: World, view: AgentView) -> bool:
    """Whether this very instance has data, as status or the agent of its pod says."""
    laid_out = view.data is not None and view.data.state is DataState.LAID_OUT
    return laid_out or world.instance.status.data_id is not None


def _on_its_way_out(world: World, name: str, volume: VolumeFact) -> Finding | None:
    """A volume that a new instance finds and that is about to go: waited for, never used."""
    if volume.deleting:
        return Finding(
            Severity.PROGRESS,
            reasons.VOLUME_DELETING,
            f"waits until the former claim {name} is gone; it is being deleted",
        )
    strangers = [uid for uid in volume.owner_uids if uid != world.instance.metadata.uid]
    if strangers:
        return Finding(
            Severity.PROGRESS,
            reasons.VOLUME_DELETING,
            f"waits until the claim {name} is deleted with its former owner; to keep its data, "
            "take the ownerReferences off it",
        )
    return None


def _with_data(world: World, name: str, known: Known, view: AgentView) -> VolumeVerdict:
    """The verdict where there is a volume that may be looked into."""
    data = view.data
    if data is None or data.state is DataState.PREPARING:
        return VolumeVerdict(data_id=known.data_id, warning=_health(world, name))
    if data.state is DataState.LOST:
        return _error(
            known,
            reasons.VOLUME_LOST,
            f"{name} is empty, but should hold the data {known.data_id}; put the former volume "
            "under that name, or delete instance and claim, and restore a backup into a new one",
        )
    if data.state is DataState.FOREIGN:
        return _foreign(world, name, known, data.message)
    if data.state is DataState.FAILED:
        return VolumeVerdict(
            data_id=known.data_id,
            finding=Finding(
                Severity.ERROR,
                reasons.PREPARE_FAILED,
                _line(
                    f"the data could not be laid out: {data.message}; mend the cause, then "
                    "run a ResetStatus operation"
                ),
            ),
        )
    if known.data_id not in (None, data.data_id):
        return _foreign(world, name, known, f"it holds the data {data.data_id}")
    return VolumeVerdict(
        data_id=data.data_id,
        record=data.data_id is not None,
        warning=_health(world, name),
    )


def _foreign(world: World, name: str, known: Known, message: str) -> VolumeVerdict:
    if world.instance.status.data_id is None:
        return VolumeVerdict(
            data_id=known.data_id,
            finding=Finding(
                Severity.ERROR,
                reasons.VOLUME_IN_USE,
                _line(
                    f"{name} holds something else: {message}; to keep that, delete this instance "
                    "and use another name or the datastore version that fits; to do without it, "
                    "delete instance and claim and create the instance again"
                ),
            ),
        )
    return _error(
        known,
        reasons.VOLUME_REPLACED,
        f"{name} does not hold the data {known.data_id} of this instance: {message}; put the "
        "former volume under that name, or delete the instance",
    )


def _error(known: Known, reason: str, message: str) -> VolumeVerdict:
    return VolumeVerdict(
        data_id=known.data_id, hold=True, finding=Finding(Severity.ERROR, reason, _line(message))
    )


def _health(world: World, name: str) -> Finding | None:
    """What a person should know of a volume that works."""
    volume = world.volume
    if volume is not None and volume.deleting:
        return Finding(
            Severity.STALLED,
            reasons.VOLUME_DELETING,
            f"the claim {name} was deleted and goes with its data as soon as the pod stops; copy "
            "the data elsewhere before anything restarts the pod",
        )
    percent = used_percent(world)
    if percent is not None and percent >= NEARLY_FULL_PERCENT:
        return Finding(
            Severity.STALLED,
            reasons.VOLUME_NEARLY_FULL,
            f"{percent} % of {name} are used; delete data, or move to an instance with more room",
        )
    return None


def used_percent(world: World) -> int | None:
    """Share of the volume in use, in whole percent, as reported last; None: cannot tell."""
    fact = world.agent
    if fact is not None and world.pod is not None and fact.pod_uid == world.pod.uid:
        data = fact.status.data
        if data.size_bytes and data.used_bytes is not None:
            return min(100, max(0, data.used_bytes * 100 // data.size_bytes))
    reported = world.instance.status.volume
    return reported.used_percent if reported else None


def _line(text: str) -> str:
    return " ".join(text.split())
