"""The operator's metrics. What can be read off the caches is read when a scrape comes."""

from collections import Counter as Tally
from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from coffer_operator.shell.backup_metrics import backup_metrics
from coffer_operator.shell.engine import Engine
from coffer_operator.shell.reconcile import Outcome

_SECONDS: Final = (0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0)


class Metrics:
    """Counters and histograms, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "coffer_api_requests",
            "Requests to the API server, by verb and HTTP status (0: no answer).",
            ("verb", "code"),
            registry=self.registry,
        )
        self._request_seconds = Histogram(
            "coffer_api_request_seconds",
            "Time until the head of the API server's answer.",
            ("verb",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._look_seconds = Histogram(
            "coffer_reconcile_seconds",
            "Duration of one look at an object: observe, plan and act.",
            ("kind", "result"),
            buckets=_SECONDS,
            registry=self.registry,
        )

    def requested(self, verb: str, code: int, seconds: float) -> None:
        """A request to the API server was answered."""
        self._requests.labels(verb, str(code)).inc()
        if verb != "watch":
            self._request_seconds.labels(verb).observe(seconds)

    def looked(self, kind: str, outcome: Outcome, seconds: float) -> None:
        """A worker has finished with an object. Keys are no labels: there are too many."""
        result = "failed" if outcome.failed else "acted" if outcome.wrote else "unchanged"
        self._look_seconds.labels(kind, result).observe(seconds)

    def watch(self, engine: Engine) -> None:
        """Show what the engine's caches hold."""
        self.registry.register(_Caches(engine))


class _Caches(Collector):
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        engine = self._engine
        yield _gauge("coffer_active", "1 while this operator may act.", engine.active.is_set())
        queues = engine.queues
        yield _by_kind(
            "coffer_queue_depth",
            "Objects that wait for a worker.",
            {kind: len(queue) for kind, queue in queues.items()},
        )
        yield _by_kind(
            "coffer_queue_oldest_seconds",
            "How long the object has waited that waits longest.",
            {kind: queue.oldest_s() for kind, queue in queues.items()},
        )
        ages = engine.agents.ages_s()
        yield _gauge(
            "coffer_agent_oldest_seconds",
            "Age of the oldest latest word of an agent.",
            max(ages, default=0.0),
        )
        yield _gauge("coffer_agents", "Agents that were heard of.", len(ages))
        phases = GaugeMetricFamily("coffer_instances", "Instances by phase.", labels=["phase"])
        for phase, count in Tally(
            str(instance.status.phase or "New")
            for _, instance in engine.cache.instances.items()
            if instance is not None
        ).items():
            phases.add_metric([phase], count)
        yield phases
        operations = GaugeMetricFamily(
            "coffer_operations", "Operations by type and phase.", labels=["type", "phase"]
        )
        for (kind, phase), count in Tally(
            (str(operation.spec.type), str(operation.status.phase or "New"))
            for _, operation in engine.cache.operations.items()
            if operation is not None
        ).items():
            operations.add_metric([kind, phase], count)
        yield operations
        backups = GaugeMetricFamily("coffer_backups", "Backups by phase.", labels=["phase"])
        for phase, count in Tally(
            str(backup.status.phase or "New")
            for _, backup in engine.backups.backups.items()
            if backup is not None
        ).items():
            backups.add_metric([phase], count)
        yield backups
        yield from backup_metrics(b for _, b in engine.backups.backups.items() if b is not None)
        groups = [group for _, group in engine.cache.groups.items() if group is not None]
        yield _gauge("coffer_configuration_groups", "ConfigurationGroups.", len(groups))


def _by_kind(name: str, text: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=["kind"])
    for kind, value in values.items():
        family.add_metric([kind], value)
    return family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=float(value))
