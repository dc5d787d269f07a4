"""Keys: one random key per backup, wrapped by a key of the storage that has a name.

The ring comes from the storage's Secret: `current` names the key that wraps new backups, every
other entry is a key of 32 bytes in base64 under its id. No error or representation holds a key.
"""

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import BaseModel, ConfigDict

from coffer_common.errors import UserError

KEY_BYTES: Final = 32
CURRENT: Final = "current"
WRAPPING: Final = "AES-256-GCM"
_NONCE_BYTES: Final = 12
_CONTEXT: Final = "coffer backup key v1"


@dataclass(frozen=True)
class DataKey:
    """The random secret of one backup; what is used are keys derived from it (HKDF-SHA256)."""

    secret: bytes = field(repr=False)

    @classmethod
    def generate(cls) -> "DataKey":
        return cls(os.urandom(KEY_BYTES))

    @property
    def for_data(self) -> bytes:
        return self._derive(b"coffer backup data v1")

    @property
    def for_manifest(self) -> bytes:
        return self._derive(b"coffer backup manifest v1")

    @property
    def for_proof(self) -> bytes:
        return self._derive(b"coffer backup proof v1")

    def _derive(self, purpose: bytes) -> bytes:
        return HKDF(hashes.SHA256(), KEY_BYTES, salt=None, info=purpose).derive(self.secret)


class WrappedKey(BaseModel):
    """A backup's key under a storage's key; part of the manifest."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    id: str
    algorithm: str = WRAPPING
    wrapped: str  # base64 of nonce | ciphertext | tag


class KeyRing:
    """A storage's keys: one wraps, all unwrap."""

    def __init__(self, current: str, keys: Mapping[str, bytes]) -> None:
        """Raises UserError if `current` is not among the keys, or a key is not 32 bytes."""
        for key_id, key in keys.items():
            if len(key) != KEY_BYTES:
                raise UserError(
                    "KeyInvalid", f"encryption key {key_id!r} has {len(key)} bytes instead of 32"
                )
        if current not in keys:
            raise UserError(
                "KeyInvalid",
                f"`current` names encryption key {current!r}, and there are: {_names(keys)}",
            )
        self.current = current
        self._keys = dict(keys)

    def __repr__(self) -> str:
        return f"KeyRing(current={self.current!r}, ids={_names(self._keys)})"

    @classmethod
    def parse(cls, secret: Mapping[str, str]) -> "KeyRing":
        """From the Secret's entries (text). Raises UserError, which names the entry at fault."""
        if CURRENT not in secret:
            raise UserError("KeyInvalid", "the encryption key Secret has no entry `current`")
        keys = {
            key_id: _decode(key_id, text) for key_id, text in secret.items() if key_id != CURRENT
        }
        return cls(secret[CURRENT].strip(), keys)

    def wrap(self, data_key: DataKey, backup_id: str) -> WrappedKey:
        """Wrap by the current key, bound to the backup's id."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = AESGCM(self._keys[self.current]).encrypt(
            nonce, data_key.secret, _associated(self.current, backup_id)
        )
        return WrappedKey(id=self.current, wrapped=base64.b64encode(nonce + sealed).decode())

    def unwrap(self, wrapped: tuple[WrappedKey, ...], backup_id: str) -> DataKey:
        """The backup's key. Raises UserError KeyUnknown or KeyWrong, naming ids."""
        known = [one for one in wrapped if one.id in self._keys and one.algorithm == WRAPPING]
        if not known:
            needed = ", ".join(f"{one.id!r} ({one.algorithm})" for one in wrapped) or "none"
            raise UserError(
                "KeyUnknown",
                f"backup {backup_id} was encrypted with key {needed}; the storage's Secret has "
                f"{_names(self._keys)}: add the old key under its id",
            )
        for one in known:
            try:
                raw = base64.b64decode(one.wrapped, validate=True)
                nonce, sealed = raw[:_NONCE_BYTES], raw[_NONCE_BYTES:]
                aad = _associated(one.id, backup_id)
                return DataKey(AESGCM(self._keys[one.id]).decrypt(nonce, sealed, aad))
            except (InvalidTag, ValueError):
                continue
        raise UserError(
            "KeyWrong",
            f"the storage's Secret has a key {known[0].id!r}, but not the one that backup "
            f"{backup_id} was encrypted with (or its manifest was altered)",
        )


def _decode(key_id: str, text: str) -> bytes:
    try:
        return base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise UserError("KeyInvalid", f"encryption key {key_id!r} is not base64") from None


def _associated(key_id: str, backup_id: str) -> bytes:
    return "\0".join((_CONTEXT, key_id, backup_id)).encode()


def _names(keys: Mapping[str, bytes]) -> str:
    return ", ".join(sorted(keys)) or "none"
