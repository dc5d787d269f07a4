"""What S3's and botocore's errors mean to us. Messages name the request, never credentials."""

from typing import Final

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    ParamValidationError,
    ResponseStreamingError,
    SSLError,
)
from urllib3.exceptions import HTTPError

from coffer_common.errors import CofferError, Permanent, Transient, UserError
from coffer_guest.pipeline.failures import Missing, UploadLost
from coffer_guest.strategies.storage.retry import Again

_DENIED: Final = frozenset(
    {
        "AccessDenied",
        "AllAccessDisabled",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "SignatureDoesNotMatch",
        "XAdminUserNotFound",
        "403",
        "401",
    }
)
_FULL: Final = frozenset(
    {"EntityTooLargeForQuota", "InsufficientStorage", "QuotaExceeded", "XMinioStorageFull", "507"}
)
_REGION: Final = frozenset(
    {
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "PermanentRedirect",
        "301",
    }
)
_MISSING: Final = frozenset({"404", "NoSuchKey", "NoSuchVersion", "NotFound"})
# A 4xx that is the connection's or the moment's fault. A digest that does not fit was damaged on
# the way: the next attempt sends the same buffer.
_AGAIN: Final = frozenset(
    {
        "BadDigest",
        "IncompleteBody",
        "InvalidDigest",
        "OperationAborted",
        "RequestTimeout",
        "SlowDown",
        "TooManyRequests",
        "XAmzContentChecksumMismatch",
        "XAmzContentSHA256Mismatch",
        "408",
        "409",
        "429",
    }
)


def judge(request: str, bucket: str, error: Exception) -> Again:
    """The verdict on what a request raised. `request` is "operation key". Re-raises our faults."""
    if isinstance(error, CofferError):
        return Again(error, isinstance(error, _Cut))
    if isinstance(error, ClientError):
        return _answered(request, bucket, error)
    return _unanswered(request, error)


def _unanswered(request: str, error: Exception) -> Again:
    if isinstance(error, NoCredentialsError | ParamValidationError):
        return Again(Permanent(f"{request}: {type(error).__name__}"), False)
    if isinstance(error, SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        message = (
            "the storage's certificate is not accepted: give its CA in the BackupStorage, or a "
            "certificate that fits the endpoint's name"
        )
        return Again(UserError("StorageCertificate", message), False)
    if isinstance(error, HTTPClientError):
        for cause in _causes(error):
            if isinstance(cause, CofferError):  # a stop, raised while the body was read
                return Again(cause, False)
        return Again(_unreachable(request, error), True)
    if isinstance(error, BotoCoreError | ResponseStreamingError | HTTPError | OSError):
        return Again(_unreachable(request, error), True)
    raise error


def cut(request: str, done_bytes: int, wanted_bytes: int) -> Transient:
    """An answer's body that ended early."""
    return _Cut(f"{request}: the answer ended after {done_bytes} of {wanted_bytes} bytes")


class _Cut(Transient):
    """Worth another attempt."""


def _causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    step: BaseException | None = error
    while step is not None and step not in found:
        found.append(step)
        step = step.__cause__ or step.__context__
    return found


def _unreachable(request: str, error: Exception) -> Transient:
    return Transient(f"{request}: the storage cannot be reached: {type(error).__name__}")


def _answered(request: str, bucket: str, error: ClientError) -> Again:
    answer = error.response
    code = str(answer.get("Error", {}).get("Code", ""))
    metadata = answer.get("ResponseMetadata", {})
    status = metadata.get("HTTPStatusCode", 0)
    about = f"{request}: {code} (HTTP {status})"
    known = _user_error(code, status, bucket, about)
    if known is not None:
        return Again(known, False)
    if code == "NoSuchUpload":
        return Again(UploadLost(f"{request}: the storage no longer knows the upload"), False)
    if code in _MISSING:
        return Again(Missing(f"{request}: there is no such object"), False)
    if code in _AGAIN or status in {408, 409, 429} or status >= 500 or status == 200:
        after = metadata.get("HTTPHeaders", {}).get("retry-after", "")
        return Again(Transient(about, float(after) if after.isdigit() else None), True)
    return Again(Permanent(f"the storage refuses {about}"), False)


def _user_error(code: str, status: int, bucket: str, about: str) -> UserError | None:
    if code == "NoSuchBucket":
        return UserError(
            "BucketMissing", f"there is no bucket {bucket!r}: create it, or correct it"
        )
    if code == "RequestTimeTooSkewed":
        return UserError("ClockSkewed", f"{about}: the node's clock and the storage's differ")
    if code in _FULL or status == 507:
        return UserError("StorageFull", f"the storage has no room left: {about}")
    if code in _REGION or status == 301:
        return UserError(
            "StorageRegion",
            f"bucket {bucket!r} is in another region or at another endpoint: {about}",
        )
    if code in _DENIED or status in {401, 403}:
        return UserError(
            "StorageAccessDenied",
            f"the storage's credentials are wrong or may not do this in bucket {bucket!r}: {about}",
        )
    return None
