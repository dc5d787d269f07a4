"""What the agent says, as far as it speaks of this instance's present pod.

Pure. What lies on the volume stays true while the agent is silent; what the engine does, does not.
"""

from dataclasses import dataclass

from coffer_common.resources.instance import DatabaseInstance
from coffer_common.wire import DataState, DataStatus, EngineState, GuestStatus, OfferedStrategy
from coffer_operator.plan.world import AgentFact, PodFact, World


@dataclass(frozen=True)
class AgentView:
    """The usable part of the latest answer.

    `last` is the last answer of the present pod's agent; `live` the same while it can be reached;
    `error` why it cannot; all None: never reached in this pod.
    """

    last: GuestStatus | None = None
    live: GuestStatus | None = None
    error: str | None = None

    @property
    def data(self) -> DataStatus | None:
        """The volume as it was seen last; None: not looked yet, or cannot tell."""
        if self.last is None or self.last.data.state is DataState.UNKNOWN:
            return None
        return self.last.data

    @property
    def engine_answers(self) -> bool:
        """Whether the engine answers, as far as is known now."""
        return self.live is not None and self.live.engine.state is EngineState.RUNNING

    @property
    def backup_strategies(self) -> tuple[OfferedStrategy, ...] | None:
        """Those of its image for its engine; None: cannot tell now, or too old to say."""
        return self.live.backup_strategies if self.live is not None else None


def view_agent(world: World) -> AgentView:
    """The view of the World's agent."""
    return view(world.instance, world.pod, world.agent)


def view(instance: DatabaseInstance, pod: PodFact | None, fact: AgentFact | None) -> AgentView:
    """The view of an instance's agent; empty if it speaks of another pod or another instance."""
    if fact is None or pod is None or fact.pod_uid != pod.uid:
        return AgentView()
    status = fact.status
    if status.pod_uid != pod.uid or status.instance_uid != instance.metadata.uid:
        return AgentView(error=fact.error)
    return AgentView(last=status, live=status if fact.error is None else None, error=fact.error)
