"""Settings, the choice by name, and what S3's errors mean."""

import errno
import importlib.metadata
import os
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    HTTPClientError,
    ReadTimeoutError,
    SSLError,
)

from coffer_common.errors import CofferError, Permanent, Transient, UserError
from coffer_guest.pipeline.failures import Missing, UploadLost
from coffer_guest.pipeline.stop import Cancelled, Stop
from coffer_guest.strategies.storage import base
from coffer_guest.strategies.storage.filesystem import FilesystemSettings, FilesystemStorage
from coffer_guest.strategies.storage.s3 import S3Settings, S3Storage
from coffer_guest.strategies.storage.s3_body import PartBody
from coffer_guest.strategies.storage.s3_errors import judge

GOOD: dict[str, Any] = {"bucket": "b", "access_key": "hush-a", "secret_key": "hush-s"}


def answered(code: str, status: int, **headers: str) -> ClientError:
    return ClientError(
        {
            "Error": {"Code": code, "Message": "hush"},
            "ResponseMetadata": {
                "HTTPStatusCode": status,
                "HTTPHeaders": headers,
                "HostId": "",
                "RequestId": "",
                "RetryAttempts": 0,
            },
        },
        "UploadPart",
    )


@pytest.mark.parametrize(
    ("code", "status", "kind", "retry"),
    [
        ("InternalError", 500, Transient, True),
        ("SlowDown", 503, Transient, True),
        ("InternalError", 200, Transient, True),  # CompleteMultipartUpload fails like that
        ("RequestTimeout", 400, Transient, True),
        ("BadDigest", 400, Transient, True),
        ("429", 429, Transient, True),
        ("NoSuchUpload", 404, UploadLost, False),
        ("NoSuchKey", 404, Missing, False),
        ("404", 404, Missing, False),
        ("InvalidRange", 416, Permanent, False),
        ("NotImplemented", 501, Transient, True),
    ],
)
def test_answers_and_their_policy(
    code: str, status: int, kind: type[CofferError], retry: bool
) -> None:
    verdict = judge("upload part 1 of k", "b", answered(code, status))
    assert type(verdict.error) is kind
    assert verdict.retry is retry
    assert "hush" not in str(verdict.error)
    assert "upload part 1 of k" in str(verdict.error)


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        ("NoSuchBucket", 404, "BucketMissing"),
        ("InvalidAccessKeyId", 403, "StorageAccessDenied"),
        ("SignatureDoesNotMatch", 403, "StorageAccessDenied"),
        ("403", 403, "StorageAccessDenied"),
        ("RequestTimeTooSkewed", 403, "ClockSkewed"),
        ("XMinioStorageFull", 507, "StorageFull"),
        ("QuotaExceeded", 403, "StorageFull"),
        ("PermanentRedirect", 301, "StorageRegion"),
    ],
)
def test_answers_the_user_can_mend(code: str, status: int, reason: str) -> None:
    verdict = judge("put k", "b", answered(code, status))
    assert isinstance(verdict.error, UserError)
    assert verdict.error.reason == reason
    assert not verdict.retry
    assert "hush" not in verdict.error.message


def test_the_time_a_server_asks_for_is_kept() -> None:
    error = judge("put k", "b", answered("SlowDown", 503, **{"retry-after": "7"})).error
    assert isinstance(error, Transient)
    assert error.retry_after_s == 7


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url="http://s3"),
        ReadTimeoutError(endpoint_url="http://s3"),
        ConnectionClosedError(endpoint_url="http://s3"),
        SSLError(endpoint_url="http://s3", error=OSError("EOF")),
        ConnectionResetError(),
    ],
)
def test_no_answer_is_tried_again(error: Exception) -> None:
    verdict = judge("put k", "b", error)
    assert isinstance(verdict.error, Transient)
    assert verdict.retry


def test_a_certificate_is_the_user_s_to_mend() -> None:
    error = SSLError(endpoint_url="http://s3", error=OSError("CERTIFICATE_VERIFY_FAILED"))
    verdict = judge("put k", "b", error)
    assert isinstance(verdict.error, UserError)
    assert verdict.error.reason == "StorageCertificate"


def test_a_stop_within_a_request_is_no_failure_of_it() -> None:
    wrapped = HTTPClientError(error="x")
    wrapped.__cause__ = Cancelled("cancelled")
    verdict = judge("put k", "b", wrapped)
    assert isinstance(verdict.error, Cancelled)
    assert not verdict.retry


def test_our_own_faults_are_not_the_store_s() -> None:
    with pytest.raises(KeyError):
        judge("put k", "b", KeyError("x"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bucket": ""}, "bucket"),
        ({"secret_key": 5}, "secret_key"),
        ({"buckett": "hush"}, "buckett"),
        ({"ca": ["hush"]}, "ca"),
    ],
)
def test_wrong_settings_name_the_field_and_no_value(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        S3Storage.from_settings(GOOD | change)
    assert "hush" not in str(caught.value)


def test_settings_do_not_show_secrets() -> None:
    assert "hush" not in repr(S3Settings.model_validate(GOOD))


class _Names:
    def __init__(self, name: str, value: str) -> None:
        self.found = importlib.metadata.EntryPoints(
            [importlib.metadata.EntryPoint(name, value, base.GROUP)]
        )

    def __call__(self, group: str) -> importlib.metadata.EntryPoints:
        assert group == base.GROUP
        return self.found


def test_a_storage_is_chosen_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = _Names("dir", f"{FilesystemStorage.__module__}:FilesystemStorage")
    monkeypatch.setattr(importlib.metadata, "entry_points", names)
    assert isinstance(base.open_storage("dir", {"root": str(tmp_path)}), FilesystemStorage)
    with pytest.raises(UserError, match=r"'tape'.*dir"):
        base.open_storage("tape", {})
    wrong = _Names("wrong", "pathlib:Path")
    monkeypatch.setattr(importlib.metadata, "entry_points", wrong)
    with pytest.raises(UserError, match="no storage"):
        base.open_storage("wrong", {})


@pytest.mark.parametrize(
    "key", ["", "/a", "a//b", "../x", "a/../../x", "a/./b", ".uploads/x", "a\0"]
)
def test_keys_stay_below_the_root(tmp_path: Path, key: str) -> None:
    store = FilesystemStorage(FilesystemSettings(root=tmp_path))
    with Stop() as stop, pytest.raises(Permanent, match="key"):
        store.put_small(key, b"x", stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "reason"), [(errno.ENOSPC, "StorageFull"), (errno.EROFS, "StorageAccessDenied")]
)
def test_a_full_disk_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, reason: str
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    store = FilesystemStorage(FilesystemSettings(root=tmp_path))
    with Stop() as stop:
        upload_id = store.create_upload("k", stop)
        monkeypatch.setattr(os, "pwrite", refuse)
        with pytest.raises(UserError, match=os.strerror(number)) as caught:
            store.upload_part("k", upload_id, 1, 0, bytearray(9), stop)
    assert caught.value.reason == reason


def test_a_body_is_sent_in_pieces_and_stops_between_them() -> None:
    data = bytearray(os.urandom(1_000_000))
    with Stop() as stop:
        body = PartBody(data, stop)
        pieces = list(iter(lambda: bytes(body.read(16384)), b""))
        assert b"".join(pieces) == data
        assert max(map(len, pieces)) == 256 << 10
        assert body.seek(0) == body.tell() == 0
        assert bytes(body.read()) == data
        body.seek(0)
        body.read(1)
        stop.set()
        with pytest.raises(Cancelled):
            body.read(1)
