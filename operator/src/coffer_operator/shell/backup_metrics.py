"""What the operator's metrics say of backups, read off the caches when a scrape comes.

One row per instance that has backups: an alert needs to know whose is old. Scratch instances have
none.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from prometheus_client.core import GaugeMetricFamily, Metric

from coffer_common.resources.backup import Backup, BackupPhase
from coffer_operator.plan.clock import from_text

_LABELS: Final = ("namespace", "instance")
PASSED: Final = "Passed"


class Row(NamedTuple):
    """What is shown of one instance; None: not known. Times in seconds since the epoch."""

    last_success: float | None = None
    duration_s: float | None = None
    size_bytes: float | None = None
    last_verified: float | None = None
    recovery_s: float | None = None


_FAMILIES: Final = (
    (
        "coffer_backup_last_success_timestamp_seconds",
        "When the newest backup of an instance was complete.",
        "last_success",
    ),
    (
        "coffer_backup_last_duration_seconds",
        "How long the newest backup of an instance took.",
        "duration_s",
    ),
    (
        "coffer_backup_last_size_bytes",
        "Bytes of the newest backup of an instance in its bucket.",
        "size_bytes",
    ),
    (
        "coffer_backup_last_verified_timestamp_seconds",
        "When a backup of an instance last passed its test restore.",
        "last_verified",
    ),
    (
        "coffer_backup_last_recovery_seconds",
        "From the begin of that test restore to the end of its check.",
        "recovery_s",
    ),
)


def backup_metrics(backups: Iterable[Backup]) -> Iterator[Metric]:
    """All families."""
    found = rows(backups)
    for name, text, field in _FAMILIES:
        family = GaugeMetricFamily(name, text, labels=_LABELS)
        for labels, row in sorted(found.items()):
            value: float | None = getattr(row, field)
            if value is not None:
                family.add_metric(labels, value)
        yield family


def rows(backups: Iterable[Backup]) -> dict[tuple[str, str], Row]:
    """By namespace and instance. Adopted Backups are of no instance here."""
    of: dict[tuple[str, str], list[Backup]] = {}
    for backup in backups:
        reference = backup.spec.instance_ref
        if reference is not None:
            of.setdefault((backup.metadata.namespace or "", reference.name), []).append(backup)
    return {labels: _row(found) for labels, found in of.items()}


def _row(backups: Iterable[Backup]) -> Row:
    done = [b for b in backups if b.status.phase is BackupPhase.COMPLETED]
    newest = max(done, key=lambda b: b.status.finished_at or "", default=None)
    proofs = [b.status.verified for b in done if b.status.verified is not None]
    passed = [proof for proof in proofs if proof.result == PASSED]
    proof = max(passed, key=lambda p: p.time, default=None)
    status = newest.status if newest is not None else None
    return Row(
        last_success=_seconds(status.finished_at) if status is not None else None,
        duration_s=status.duration_seconds if status is not None else None,
        size_bytes=status.size_bytes if status is not None else None,
        last_verified=_seconds(proof.time) if proof is not None else None,
        recovery_s=proof.duration_seconds if proof is not None else None,
    )


def _seconds(text: str | None) -> float | None:
    moment = from_text(text)
    return moment.timestamp() if moment is not None else None
