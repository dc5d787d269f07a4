"""What of a BackupStorage can be known to be wrong without asking it. Pure."""

from typing import Final

from coffer_common.errors import UserError
from coffer_common.quantity import parse_bytes
from coffer_common.resources.backup_storage import (
    BackupStorageSpec,
)
from coffer_operator.plan import reasons

MIN_PART: Final = "5Mi"  # of S3 itself
MAX_PART: Final = "64Mi"  # two of them are in the agent's memory at least


def check_storage(spec: BackupStorageSpec) -> list[UserError]:
    """The errors of a storage, the gravest first."""
    errors = []
    part, limit, s3 = spec.upload.part_size, spec.upload.rate_limit, spec.s3
    if not parse_bytes(MIN_PART) <= parse_bytes(part) <= parse_bytes(MAX_PART):
        errors.append(
            UserError(
                reasons.INVALID,
                f"spec.upload.partSize: {part} is not between {MIN_PART} and {MAX_PART}; leave it "
                "out, since parts grow with the backup",
            )
        )
    if limit is not None and parse_bytes(limit) < 1:
        errors.append(
            UserError(
                reasons.INVALID,
                f"spec.upload.rateLimit: at {limit} bytes per second nothing is ever sent; write "
                "more, or leave it out",
            )
        )
    if s3.ca_secret_ref is not None and (s3.endpoint or "").startswith("http://"):
        errors.append(
            UserError(
                reasons.INVALID,
                f"spec.s3.caSecretRef: nothing is encrypted on the way to {s3.endpoint}; write "
                "https://, or leave caSecretRef out",
            )
        )
    return errors


def for_reading(spec: BackupStorageSpec) -> BackupStorageSpec:
    """The storage as a restore reads it: upload.rateLimit holds back nobody who needs the data."""
    return spec.model_copy(update={"upload": spec.upload.model_copy(update={"rate_limit": None})})
