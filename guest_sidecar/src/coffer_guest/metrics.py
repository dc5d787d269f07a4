"""The agent's status as Prometheus metrics. Imported at the first scrape."""

from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from coffer_common.wire import EngineState, GuestStatus, TaskState

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST


class _Status(Collector):
    """One status as metric families."""

    def __init__(self, status: GuestStatus) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        status = self._status
        info = {"version": status.agent_version, "engine_version": status.engine.version or ""}
        yield InfoMetricFamily("coffer_guest", "The agent and its engine", value=info)
        yield GaugeMetricFamily(
            "coffer_engine_up",
            "1 while the engine answers queries",
            value=float(status.engine.state is EngineState.RUNNING),
        )
        states = GaugeMetricFamily(
            "coffer_engine_state", "1 for the state the engine is in", labels=["state"]
        )
        for state in EngineState:
            states.add_metric([state.value], float(status.engine.state is state))
        yield states
        yield CounterMetricFamily(
            "coffer_engine_restarts",
            "Restarts of the engine that nobody asked for, in this launcher's life",
            value=status.engine.restarts,
        )
        if status.data.size_bytes is not None and status.data.used_bytes is not None:
            yield GaugeMetricFamily(
                "coffer_volume_size_bytes", "Size of the data volume", value=status.data.size_bytes
            )
            yield GaugeMetricFamily(
                "coffer_volume_used_bytes",
                "Use of the data volume, in steps of one percent",
                value=status.data.used_bytes,
            )
        yield GaugeMetricFamily(
            "coffer_tasks_running",
            "Tasks that run now",
            value=sum(task.state is TaskState.RUNNING for task in status.tasks),
        )


def render(status: GuestStatus) -> bytes:
    """The text exposition of a status."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Status(status))
    return generate_latest(registry)
