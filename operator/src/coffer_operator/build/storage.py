"""How a BackupStorage is reached, in the words of the guest API, without what is secret.

Pure. Credentials and keys are added where they are used: in the request to an agent, or by kubelet
in a storage worker's pod.
"""

from typing import Any, Final

from coffer_common.quantity import parse_bytes
from coffer_common.resources.backup_storage import (
    BackupStorageSpec,
)
from coffer_common.wire import StorageAccess

STRATEGY: Final = "s3"  # in the entry point group coffer.storage


def storage_access(spec: BackupStorageSpec) -> dict[str, Any]:
    """A StorageAccess but for credentials, CA and keys, as JSON."""
    limit = spec.upload.rate_limit
    access = StorageAccess(
        strategy=STRATEGY,
        settings={
            "bucket": spec.s3.bucket,
            "endpoint": spec.s3.endpoint,
            "region": spec.s3.region,
            "path_style": spec.s3.path_style,
        },
        prefix=spec.s3.prefix,
        current_key="",
        keys={},
        part_size_bytes=parse_bytes(spec.upload.part_size),
        concurrency=spec.upload.concurrency,
        rate_limit_bytes=parse_bytes(limit) if limit is not None else None,
    )
    return access.model_dump(mode="json", exclude={"current_key", "keys"})
