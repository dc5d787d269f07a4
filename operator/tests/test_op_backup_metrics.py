"""Backups in the operator's metrics: one row per instance that has any."""

from typing import Any

from prometheus_client import generate_latest
from prometheus_client.core import CollectorRegistry, Metric
from prometheus_client.registry import Collector

from coffer_common.resources.backup import Backup
from coffer_operator.shell.backup_metrics import backup_metrics
from op_backup_worlds import backup


def shown(*backups: Backup) -> list[str]:
    class One(Collector):
        def collect(self) -> list[Metric]:
            return list(backup_metrics(backups))

    registry = CollectorRegistry()
    registry.register(One())
    text = generate_latest(registry).decode()
    return [line for line in text.splitlines() if not line.startswith("#")]


def done(name: str, day: int, **status: Any) -> Backup:
    plain = {"phase": "Completed", "finishedAt": f"1970-01-{day:02}T00:00:00Z"}
    return backup(name, plain | status)


def test_the_newest_and_the_last_proof() -> None:
    proof = {"time": "1970-01-01T00:01:00Z", "result": "Passed", "durationSeconds": 7}
    fault = {"time": "1970-01-01T01:00:00Z", "result": "Failed", "durationSeconds": 8}
    old = done("old", 1, sizeBytes=5, verified=proof)
    new = done("new", 2, sizeBytes=6, durationSeconds=3, verified=fault)
    labels = '{instance="shop",namespace="prod"}'
    assert shown(new, old) == [
        f"coffer_backup_last_success_timestamp_seconds{labels} 86400.0",
        f"coffer_backup_last_duration_seconds{labels} 3.0",
        f"coffer_backup_last_size_bytes{labels} 6.0",
        f"coffer_backup_last_verified_timestamp_seconds{labels} 60.0",
        f"coffer_backup_last_recovery_seconds{labels} 7.0",
    ]


def test_what_is_not_known_is_not_shown() -> None:
    adopted = Backup.model_validate(
        {
            "metadata": {"name": "b"},
            "spec": {"path": "u/base/b", "storageRef": {"name": "s"}},
            "status": {"phase": "Completed", "finishedAt": "1970-01-02T00:00:00Z"},
        }
    )
    assert shown(backup("running", {"phase": "Running"}), adopted) == []
