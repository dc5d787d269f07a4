"""What the Secrets of a BackupStorage must hold. Pure.

The one place that reads their contents; what it gives has no secret in its representation. The
same check serves whoever tells of a storage and whoever uses it.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from coffer_common.errors import UserError
from coffer_common.resources.backup_storage import (
    BackupStorageSpec,
)
from coffer_common.wire import StorageAccess
from coffer_operator.build.storage import storage_access
from coffer_operator.plan import reasons

CURRENT: Final = "current"
KEY_BYTES: Final = 32
_PEM: Final = "-----BEGIN CERTIFICATE-----"

SecretData = Mapping[str, str]  # as a Secret's `data` has it: base64


@dataclass(frozen=True)
class OpenedSecrets:
    """What a storage's Secrets hold."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    session_token: str | None = field(repr=False)
    ca: str | None
    current_key: str
    keys: Mapping[str, str] = field(repr=False)  # id to base64


def secret_names(spec: BackupStorageSpec) -> tuple[str, ...]:
    """The Secrets that the storage refers to, each once."""
    ca = spec.s3.ca_secret_ref
    names = (
        spec.s3.credentials_secret_ref.name,
        spec.encryption.key_secret_ref.name,
        *((ca.name,) if ca is not None else ()),
    )
    return tuple(dict.fromkeys(names))


def open_secrets(spec: BackupStorageSpec, found: Mapping[str, SecretData | None]) -> OpenedSecrets:
    """The contents of the Secrets by name; None: there is none of that name.

    Raises UserError, which names Secret and key and never repeats a value.
    """
    credentials = spec.s3.credentials_secret_ref.name
    access_key = _text(found, credentials, "accessKeyId", "spec.s3.credentialsSecretRef")
    secret_key = _text(found, credentials, "secretAccessKey", "spec.s3.credentialsSecretRef")
    token = (found.get(credentials) or {}).get("sessionToken")
    current, keys = _key_ring(spec, found)
    return OpenedSecrets(
        access_key=access_key,
        secret_key=secret_key,
        session_token=_decoded(token) if token else None,
        ca=_authorities(spec, found),
        current_key=current,
        keys=keys,
    )


def whole_access(spec: BackupStorageSpec, opened: OpenedSecrets) -> StorageAccess:
    """How an agent reaches the storage; for a request's body and for nothing else."""
    plain: dict[str, Any] = storage_access(spec)
    settings = plain["settings"] | {
        "access_key": opened.access_key,
        "secret_key": opened.secret_key,
        "session_token": opened.session_token,
        "ca": opened.ca,
    }
    secrets = {"current_key": opened.current_key, "keys": dict(opened.keys)}
    return StorageAccess.model_validate(plain | {"settings": settings} | secrets)


def _key_ring(
    spec: BackupStorageSpec, found: Mapping[str, SecretData | None]
) -> tuple[str, dict[str, str]]:
    where, name = "spec.encryption.keySecretRef", spec.encryption.key_secret_ref.name
    current = _text(found, name, CURRENT, where)
    keys: dict[str, str] = {}
    for key_id in sorted(set(found.get(name) or {}) - {CURRENT}):
        text = _text(found, name, key_id, where)
        try:
            raw = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        if len(raw) != KEY_BYTES:
            raise UserError(
                reasons.KEY_INVALID,
                f"{where}: the entry {key_id} of Secret {name} is no key of {KEY_BYTES} bytes in "
                f"base64; make one with: head -c {KEY_BYTES} /dev/urandom | base64",
            )
        keys[key_id] = text
    if current not in keys:
        ids = ", ".join(keys) or "none"
        raise UserError(
            reasons.KEY_INVALID,
            f"{where}: `{CURRENT}` of Secret {name} names the key {current!r}, which is not there; "
            f"there: {ids}",
        )
    return current, keys


def _authorities(spec: BackupStorageSpec, found: Mapping[str, SecretData | None]) -> str | None:
    ref = spec.s3.ca_secret_ref
    if ref is None:
        return None
    text = _text(found, ref.name, ref.key, "spec.s3.caSecretRef")
    if _PEM not in text:
        raise UserError(
            reasons.CA_INVALID,
            f"spec.s3.caSecretRef: the key {ref.key} of Secret {ref.name} holds no certificate "
            "(PEM)",
        )
    return text


def _text(found: Mapping[str, SecretData | None], name: str, key: str, where: str) -> str:
    data = found.get(name)
    if data is None:
        raise UserError(
            reasons.SECRET_MISSING,
            f"{where}: there is no Secret {name}; create it (it is looked for every few minutes)",
        )
    text = _decoded(data.get(key, ""))
    if not text:
        raise UserError(
            reasons.SECRET_MISSING, f"{where}: Secret {name} has no text under the key {key}"
        )
    return text


def _decoded(text: str) -> str:
    """Without white space around it: files that Secrets are made of end with a line break."""
    try:
        return base64.b64decode(text, validate=True).decode().strip()
    except (binascii.Error, UnicodeDecodeError):
        return ""
