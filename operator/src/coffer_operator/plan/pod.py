"""The pod: whether it is the wanted one, whether it runs, and what keeps it from running.

Pure. A pod is deleted only where it is known not to run (or at the word of an Operation), and
never while its volume is in doubt.
"""

from dataclasses import dataclass
from typing import Final

from coffer_operator.plan import reasons
from coffer_operator.plan.finding import Finding, Severity
from coffer_operator.plan.model import Delete
from coffer_operator.plan.world import ContainerFact, PodFact, World

_IMAGE_REASONS: Final = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ErrImageNotPresent",
        "RegistryUnavailable",
        "ImageInspectError",
    }
)
_CRASH_LOOP: Final = "CrashLoopBackOff"


@dataclass(frozen=True)
class PodVerdict:
    """What is known of the pod; None in `runs` and `outdated` is cannot tell.

    `settled`: the StatefulSet has the wanted template and its controller has seen it, so that a
    pod made now is the wanted one.
    """

    runs: bool | None
    outdated: bool | None
    settled: bool
    trouble: Finding | None


def judge_pod(world: World, wanted_hash: str | None) -> PodVerdict:
    """The verdict; `wanted_hash` is that of the template, None where there is none to want."""
    pod, fact = world.pod, world.stateful_set
    settled = (
        fact is not None
        and wanted_hash is not None
        and fact.template_hash == wanted_hash
        and fact.observed_generation >= fact.generation
    )
    if pod is None:
        return PodVerdict(runs=False, outdated=None, settled=settled, trouble=None)
    return PodVerdict(
        runs=_runs(pod, world.node_ready),
        outdated=pod.template_hash != wanted_hash if wanted_hash is not None else None,
        settled=settled,
        trouble=_trouble(pod),
    )


def delete_outdated(world: World, verdict: PodVerdict) -> Delete | None:
    """Deletes a pod that is outdated and does not run: else a mended mistake never heals."""
    pod = world.pod
    if pod is None or pod.deleting or not verdict.settled:
        return None
    if verdict.outdated is True and verdict.runs is False:
        return Delete("Pod", pod.name, pod.uid, why="it does not run and its template is outdated")
    return None


def volume_allows_restart(world: World) -> bool:
    """Whether a new pod would find the volume: a claim under deletion goes with the last pod."""
    volume = world.volume
    return volume is not None and not volume.deleting and not volume.lost


def crash_loops(container: ContainerFact | None) -> bool:
    """Whether kubelet holds the container back since it ended again and again."""
    return container is not None and container.waiting_reason == _CRASH_LOOP


def _runs(pod: PodFact, node_ready: bool | None) -> bool | None:
    if pod.phase in ("Succeeded", "Failed"):
        return False
    if node_ready is False or pod.phase not in ("Pending", "Running"):
        return None
    if pod.phase == "Pending":
        return False
    if pod.database is None:
        return None
    return pod.database.running


def _trouble(pod: PodFact) -> Finding | None:
    """What keeps the pod from running, as scheduler and kubelet say it."""
    if pod.unschedulable is not None and pod.node is None:
        return Finding(
            Severity.PROGRESS,
            reasons.UNSCHEDULABLE,
            f"no node fits {pod.name}: {_line(pod.unschedulable)}; change flavor or scheduling, "
            "or add nodes",
        )
    for container in (pod.guest, pod.database):
        if container is not None and container.waiting_reason in _IMAGE_REASONS:
            said = _line(container.waiting_message or "")
            return Finding(
                Severity.PROGRESS,
                reasons.IMAGE,
                f"the image of container {container.name} cannot be had "
                f"({container.waiting_reason}): {said}; mend the image of the DatastoreVersion "
                "or the way to its registry",
            )
    return None


def _line(text: str) -> str:
    return " ".join(text.split())
