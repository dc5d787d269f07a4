"""S3 and what speaks its protocol, through boto3.

Imported by the children of tasks alone: boto3 costs more memory than the whole idle agent.
Retries are ours (`retry.py`): botocore's cannot be woken when the task is cancelled.
"""

import base64
import contextlib
import functools
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import IO, TYPE_CHECKING, Final, TypeVar, cast

import boto3
from botocore.config import Config
from pydantic import Field, JsonValue, SecretStr

from coffer_common.errors import Permanent, Transient
from coffer_guest.pipeline.codec import Buffer
from coffer_guest.pipeline.failures import Missing, UploadLost
from coffer_guest.pipeline.stop import Stop
from coffer_guest.pipeline.store import ObjectInfo, Part, Upload, composite_checksum, crc32
from coffer_guest.strategies.storage.base import Settings, Storage, parse
from coffer_guest.strategies.storage.retry import RetryPolicy
from coffer_guest.strategies.storage.s3_body import PartBody
from coffer_guest.strategies.storage.s3_errors import cut, judge

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.type_defs import CompletedPartTypeDef

T = TypeVar("T")
_CONNECT_S: Final = 10.0  # and for each 256 KiB that are sent
_READ_S: Final = 60.0
_LEAST_S: Final = 0.1
_CHUNK_BYTES: Final = 1 << 20
_CONNECTIONS: Final = 16


class S3Settings(Settings):
    """How to reach a bucket; endpoint None is AWS."""

    bucket: str = Field(min_length=1)
    endpoint: str | None = None
    region: str = "us-east-1"
    path_style: bool = True
    ca: str | None = None  # PEM; None is the system's
    access_key: SecretStr
    secret_key: SecretStr
    session_token: SecretStr | None = None


@functools.cache
def _session() -> boto3.session.Session:
    """It has read what S3 is, which takes ten times as long as opening a client."""
    return boto3.session.Session()


_OPENING: Final = threading.Lock()  # a session may not open two clients at once


class S3Storage(Storage):
    """One bucket."""

    def __init__(self, settings: S3Settings, retry: RetryPolicy = RetryPolicy()) -> None:  # noqa: B008 - frozen
        self._bucket = settings.bucket
        self._retry = retry
        self._ca = _memory_file(settings.ca) if settings.ca else None
        token = settings.session_token
        with _OPENING:
            self._client: S3Client = _session().client(
                "s3",
                endpoint_url=settings.endpoint,
                region_name=settings.region,
                aws_access_key_id=settings.access_key.get_secret_value(),
                aws_secret_access_key=settings.secret_key.get_secret_value(),
                aws_session_token=token.get_secret_value() if token else None,
                verify=f"/proc/self/fd/{self._ca}" if self._ca is not None else None,
                config=Config(
                    signature_version="s3v4",
                    connect_timeout=_CONNECT_S,
                    read_timeout=_READ_S,
                    max_pool_connections=_CONNECTIONS,
                    retries={"total_max_attempts": 1},
                    tcp_keepalive=True,
                    # some servers refuse the trailers that are botocore's default
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                    s3={
                        "addressing_style": "path" if settings.path_style else "virtual",
                        # what is stored is authenticated by its own format, and hashing costs
                        "payload_signing_enabled": False,
                    },
                ),
            )
        self._waits = threading.local()
        self._client.meta.events.register("before-call.s3", self._limit_wait)

    @classmethod
    def from_settings(cls, settings: Mapping[str, JsonValue]) -> "S3Storage":
        return cls(parse(S3Settings, settings))

    def close(self) -> None:
        self._client.close()
        if self._ca is not None:
            os.close(self._ca)
            self._ca = None

    def _ask(self, what: str, key: str, call: Callable[[], T], stop: Stop) -> T:
        remaining_s = stop.remaining_s
        self._waits.read_s = (
            _READ_S if remaining_s is None else min(_READ_S, remaining_s + _LEAST_S)
        )
        return self._retry.run(call, partial(judge, f"{what} {key}", self._bucket), stop)

    def _limit_wait(self, context: dict[str, object], **_: object) -> None:
        """Before each request, in its thread: no answer is waited for beyond the stop's limit."""
        context["read_timeout"] = self._waits.read_s

    # --- multipart --------------------------------------------------------------------------------
    def create_upload(self, key: str, stop: Stop) -> str:
        answer = self._ask(
            "create upload of",
            key,
            lambda: self._client.create_multipart_upload(
                Bucket=self._bucket, Key=key, ChecksumAlgorithm="CRC32"
            ),
            stop,
        )
        return answer["UploadId"]

    def upload_part(
        self, key: str, upload_id: str, number: int, offset_bytes: int, body: Buffer, stop: Stop
    ) -> Part:
        checksum = crc32(body)
        answer = self._ask(
            f"upload part {number} of",
            key,
            lambda: self._client.upload_part(
                Bucket=self._bucket,
                Key=key,
                UploadId=upload_id,
                PartNumber=number,
                Body=cast("IO[bytes]", PartBody(body, stop)),
                ContentLength=len(body),
                ChecksumCRC32=_text(checksum),
            ),
            stop,
        )
        return Part(number, offset_bytes, len(body), checksum, answer["ETag"])

    def complete_upload(self, key: str, upload_id: str, parts: Sequence[Part], stop: Stop) -> None:
        listed: list[CompletedPartTypeDef] = [
            {
                "PartNumber": part.number,
                "ETag": part.tag,
                "ChecksumCRC32": _text(part.crc32),
            }
            for part in parts
        ]

        def complete() -> None:
            try:
                self._client.complete_multipart_upload(
                    Bucket=self._bucket,
                    Key=key,
                    UploadId=upload_id,
                    MultipartUpload={"Parts": listed},
                )
            except self._client.exceptions.ClientError as error:
                # an earlier attempt may have succeeded though its answer was lost
                if error.response.get("Error", {}).get("Code") != "NoSuchUpload" or not (
                    self._holds(key, parts, stop)
                ):
                    raise

        self._ask("complete upload of", key, complete, stop)

    def _holds(self, key: str, parts: Sequence[Part], stop: Stop) -> bool:
        try:
            found = self.head(key, stop)
        except Missing:
            return False
        return found.size_bytes == sum(part.size_bytes for part in parts) and (
            found.checksum in {None, composite_checksum(parts)}
        )

    def abort_upload(self, key: str, upload_id: str, stop: Stop) -> None:
        with contextlib.suppress(UploadLost, Missing):
            self._ask(
                "abort upload of",
                key,
                lambda: self._client.abort_multipart_upload(
                    Bucket=self._bucket, Key=key, UploadId=upload_id
                ),
                stop,
            )

    def uploads(self, prefix: str, stop: Stop) -> Iterator[Upload]:
        # without the upload's id as a second marker, which some servers refuse: what is left out
        # at the edge of a page of a thousand is found by the next sweep
        after = ""
        while True:
            page = self._ask(
                "list uploads below",
                prefix,
                partial(
                    self._client.list_multipart_uploads,
                    Bucket=self._bucket,
                    Prefix=prefix,
                    KeyMarker=after,
                ),
                stop,
            )
            for found in page.get("Uploads", []):
                if found["Key"].startswith(prefix):
                    yield Upload(found["Key"], found["UploadId"], found["Initiated"])
            following = page.get("NextKeyMarker", "")
            if not page.get("IsTruncated") or following <= after:
                return
            after = following

    # --- objects ----------------------------------------------------------------------------------
    def put_small(self, key: str, data: bytes, stop: Stop) -> None:
        checksum = _text(crc32(data))
        self._ask(
            "put",
            key,
            lambda: self._client.put_object(
                Bucket=self._bucket, Key=key, Body=data, ChecksumCRC32=checksum
            ),
            stop,
        )

    def get_small(self, key: str, limit_bytes: int, stop: Stop) -> bytes:
        def get() -> bytes:
            answer = self._client.get_object(Bucket=self._bucket, Key=key)
            with answer["Body"] as body:
                size_bytes = answer["ContentLength"]
                if size_bytes > limit_bytes:
                    raise Permanent(f"{key} has {size_bytes} bytes, more than {limit_bytes}")
                data: bytes = body.read()
            if len(data) != size_bytes:
                raise cut(f"get {key}", len(data), size_bytes)
            return data

        return self._ask("get", key, get, stop)

    def read_range(self, key: str, offset_bytes: int, into: memoryview, stop: Stop) -> None:
        done_bytes = 0

        def read() -> None:  # goes on where the last attempt ended
            nonlocal done_bytes
            first = offset_bytes + done_bytes
            last = offset_bytes + len(into) - 1
            answer = self._client.get_object(
                Bucket=self._bucket, Key=key, Range=f"bytes={first}-{last}"
            )
            if not answer.get("ContentRange", "").startswith(f"bytes {first}-{last}/"):
                answer["Body"].close()
                raise Permanent(f"get {key}: asked for bytes {first} to {last}, got others")
            with answer["Body"] as body:
                while done_bytes < len(into):
                    stop.check()
                    chunk = body.read(min(_CHUNK_BYTES, len(into) - done_bytes))
                    if not chunk:
                        raise cut(f"get {key}", done_bytes, len(into))
                    into[done_bytes : done_bytes + len(chunk)] = chunk
                    done_bytes += len(chunk)

        if into:
            self._ask("get", key, read, stop)

    def head(self, key: str, stop: Stop) -> ObjectInfo:
        answer = self._ask(
            "head",
            key,
            lambda: self._client.head_object(Bucket=self._bucket, Key=key, ChecksumMode="ENABLED"),
            stop,
        )
        checksum = answer.get("ChecksumCRC32")
        # of a single put, or of a server that hashes the whole: nothing to compare parts with
        composite = checksum if checksum is not None and "-" in checksum else None
        return ObjectInfo(key, answer["ContentLength"], answer["LastModified"], composite)

    def list(self, prefix: str, stop: Stop) -> Iterator[ObjectInfo]:
        after = ""
        while True:
            page = self._ask(
                "list",
                prefix,
                partial(
                    self._client.list_objects_v2,
                    Bucket=self._bucket,
                    Prefix=prefix,
                    StartAfter=after,
                ),
                stop,
            )
            for found in page.get("Contents", []):
                after = found["Key"]
                yield ObjectInfo(after, found["Size"], found["LastModified"])
            if not page.get("IsTruncated"):
                return
            if not page.get("Contents"):
                raise Transient(f"list {prefix}: a page without objects that is not the last")

    def delete(self, key: str, stop: Stop) -> None:
        with contextlib.suppress(Missing):
            self._ask(
                "delete",
                key,
                lambda: self._client.delete_object(Bucket=self._bucket, Key=key),
                stop,
            )


def _text(checksum: bytes) -> str:
    return base64.b64encode(checksum).decode()


def _memory_file(text: str) -> int:
    """A file that exists in memory only, for a library that wants a path."""
    descriptor = os.memfd_create("ca", os.MFD_CLOEXEC)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(text.encode())
    return descriptor
