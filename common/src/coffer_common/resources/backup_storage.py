"""BackupStorage: a bucket that backups are kept in, and how they get there."""

from typing import Annotated

from pydantic import Field

from coffer_common.resources.base import (
    CONDITION_LIST,
    DATE_TIME,
    MAX_OBJECT_NAME,
    QUANTITY,
    Condition,
    Metadata,
    Resource,
    cel,
)


class SecretRef(Resource):
    """A Secret in the same namespace."""

    name: Annotated[
        str, Field(description="Name of the Secret.", min_length=1, max_length=MAX_OBJECT_NAME)
    ]


class CaRef(Resource):
    """A key of a Secret that holds certificates of authorities (PEM)."""

    name: Annotated[
        str, Field(description="Name of the Secret.", min_length=1, max_length=MAX_OBJECT_NAME)
    ]
    key: Annotated[
        str, Field(description="Key in the Secret; without it, ca.crt.", max_length=MAX_OBJECT_NAME)
    ] = "ca.crt"


class S3Spec(Resource):
    """A bucket of an S3 server."""

    endpoint: Annotated[
        str | None,
        Field(
            description="URL of the server; without it, Amazon's for the region.",
            max_length=1024,
            json_schema_extra=cel(
                (
                    "self.matches('^https?://[^ /?#@]+/?$')",
                    "endpoint is http:// or https:// and a host, with :port if need be; no path, "
                    "and no credentials, which are in the Secret of credentialsSecretRef",
                )
            ),
        ),
    ] = None
    region: Annotated[str, Field(description="Region.", min_length=1, max_length=64)] = "us-east-1"
    bucket: Annotated[
        str,
        Field(
            description="Name of the bucket; it must exist.",
            max_length=63,
            json_schema_extra=cel(
                (
                    "self.matches('^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$')",
                    "bucket is 3 to 63 lower-case letters, digits, '.' and '-', and begins and ends"
                    " with a letter or digit",
                )
            ),
        ),
    ]
    prefix: Annotated[
        str,
        Field(
            description="Folder in the bucket.",
            max_length=256,
            json_schema_extra=cel(
                (
                    "self.matches('^([A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*)?$') && "
                    "self.split('/').all(folder, folder != '.' && folder != '..')",
                    "prefix is folders of letters, digits, '.', '_' and '-', with one / between "
                    "them and none at its ends; none of them is . or ..",
                )
            ),
        ),
    ] = ""
    path_style: Annotated[
        bool,
        Field(description="Name the bucket in the path instead of the host, as most servers want."),
    ] = True
    ca_secret_ref: Annotated[
        CaRef | None, Field(description="Authorities to trust beside the system's.")
    ] = None
    credentials_secret_ref: Annotated[
        SecretRef,
        Field(description="Secret with the keys accessKeyId and secretAccessKey."),
    ]


class EncryptionSpec(Resource):
    """How backups are encrypted before they leave the pod."""

    key_secret_ref: Annotated[
        SecretRef,
        Field(
            description="Secret with the key `current`, which names a key id, and one 32-byte "
            "base64 entry per key id; old ones stay for reading."
        ),
    ]


class UploadSpec(Resource):
    """How objects are sent."""

    part_size: Annotated[
        str, Field(description="Size of a part to begin with.", pattern=QUANTITY, max_length=16)
    ] = "16Mi"
    concurrency: Annotated[int, Field(description="Parts under way.", ge=1, le=32)] = 4
    rate_limit: Annotated[
        str | None,
        Field(
            description="Bytes per second and instance that backups send; restores have no limit.",
            pattern=QUANTITY,
            max_length=16,
        ),
    ] = None


class BackupStorageSpec(Resource):
    """Where backups are kept."""

    s3: Annotated[S3Spec, Field(description="A bucket of an S3 server.")]
    encryption: Annotated[EncryptionSpec, Field(description="How backups are encrypted.")]
    upload: Annotated[UploadSpec, Field(description="How objects are sent.")] = Field(
        default_factory=UploadSpec
    )


class StorageListing(Resource):
    """What came of the latest request for a list, made by an annotation."""

    request: Annotated[str, Field(description="Value of coffer.dev/list-requested.")]
    time: Annotated[str, Field(description="When.", json_schema_extra=DATE_TIME)]
    error: Annotated[
        str | None,
        Field(description="Why there is none; else it is in the ConfigMap <storage>-listing."),
    ] = None


class BackupStorageStatus(Resource):
    """What Coffer reports of a storage."""

    observed_generation: Annotated[
        int | None, Field(description="Generation of the spec that this status speaks of.")
    ] = None
    conditions: Annotated[
        tuple[Condition, ...],
        Field(description="Ready and what else is known.", json_schema_extra=CONDITION_LIST),
    ] = ()
    probed_at: Annotated[
        str | None,
        Field(
            description="When it was last written to, read, listed and deleted from.",
            json_schema_extra=DATE_TIME,
        ),
    ] = None
    swept_at: Annotated[
        str | None,
        Field(
            description="When what backups that died had left in the bucket was last removed.",
            json_schema_extra=DATE_TIME,
        ),
    ] = None
    listing: Annotated[
        StorageListing | None, Field(description="The latest list of what is in the bucket.")
    ] = None
    key_id: Annotated[str | None, Field(description="Key that new backups get.")] = None
    secrets_revision: Annotated[
        str | None, Field(description="Of spec and Secrets as they were probed.")
    ] = None


class BackupStorage(Resource):
    """A bucket for backups, probed before it is Ready."""

    metadata: Metadata
    spec: Annotated[BackupStorageSpec, Field(description="Where backups are kept.")]
    status: Annotated[BackupStorageStatus, Field(description="What Coffer reports.")] = Field(
        default_factory=BackupStorageStatus
    )
