"""What a storage strategy is, and how one is found by name.

A strategy is a class named in the entry point group `coffer.storage`. It is made from settings
that come with a task's request; credentials among them never reach a disk, a log or a message.
"""

import contextlib
import importlib.metadata
import secrets
from abc import abstractmethod
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from coffer_common.errors import CofferError, Permanent, UserError
from coffer_guest.pipeline.parts import MIN_PART_BYTES
from coffer_guest.pipeline.stop import Stop
from coffer_guest.pipeline.store import ObjectStore
from coffer_guest.pipeline.upload import abort_uploads

GROUP: Final = "coffer.storage"
_PROBE: Final = ".coffer-probe"
_PROBE_BYTES: Final = 4096


class Settings(BaseModel):
    """Base of a strategy's settings: unknown keys are refused, and secrets are SecretStr."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


S = TypeVar("S", bound=Settings)


class Storage(ObjectStore):
    """An object store that can be made from settings. Closed after use."""

    @classmethod
    @abstractmethod
    def from_settings(cls, settings: Mapping[str, JsonValue]) -> Self:
        """Make one; does not touch the network. Raises UserError."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_storage(name: str, settings: Mapping[str, JsonValue]) -> Storage:
    """The storage of this strategy. Raises UserError for an unknown name or wrong settings."""
    found = importlib.metadata.entry_points(group=GROUP)
    if name not in found.names:
        names = ", ".join(sorted(found.names)) or "none"
        raise UserError("StorageUnknown", f"no storage is named {name!r}; there are: {names}")
    strategy = found[name].load()
    if not (isinstance(strategy, type) and issubclass(strategy, Storage)):
        raise UserError("StorageUnknown", f"entry point {name!r} of {GROUP} is no storage")
    return strategy.from_settings(settings)


def parse(model: type[S], settings: Mapping[str, JsonValue]) -> S:
    """Settings as their model. Raises UserError that names the field, never its value."""
    try:
        return model.model_validate(settings)
    except ValidationError as error:
        first = error.errors(include_input=False, include_context=False, include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        raise UserError("StorageInvalid", f"storage settings: {where}: {first['msg']}") from None


def probe(store: ObjectStore, prefix: str, stop: Stop) -> None:
    """Write, read, list, upload in parts and delete below the prefix; nothing is left there.

    Raises the store's error, or Permanent where an answer is not what was written.
    """
    folder = "/".join(filter(None, (prefix.strip("/"), _PROBE)))
    key = f"{folder}/{secrets.token_hex(8)}"
    try:
        _use(store, folder, key, stop)
    except CofferError:
        with contextlib.suppress(CofferError):  # the first error is the one to tell
            _clean(store, key, stop)
        raise
    _clean(store, key, stop)
    _expect("delete", not any(found.key == key for found in store.list(f"{folder}/", stop)))


def _use(store: ObjectStore, folder: str, key: str, stop: Stop) -> None:
    content = secrets.token_bytes(_PROBE_BYTES)
    store.put_small(key, content, stop)
    _expect("read", store.get_small(key, _PROBE_BYTES, stop) == content)
    _expect("list", any(found.key == key for found in store.list(f"{folder}/", stop)))
    upload_id = store.create_upload(key, stop)
    uploads = [upload.id for upload in store.uploads(f"{folder}/", stop)]
    _expect("list of uploads", upload_id in uploads)
    body = bytearray(MIN_PART_BYTES)
    body[: len(content)] = content
    part = store.upload_part(key, upload_id, 1, 0, body, stop)
    store.complete_upload(key, upload_id, [part], stop)
    middle = bytearray(_PROBE_BYTES // 2)
    with memoryview(middle) as view:
        store.read_range(key, len(middle), view, stop)
    _expect("ranged read", middle == content[len(middle) :])


def _clean(store: ObjectStore, key: str, stop: Stop) -> None:
    store.delete(key, stop)
    abort_uploads(store, key, stop)  # also one whose id was in an answer that was lost


def _expect(what: str, true: bool) -> None:
    if not true:
        raise Permanent(f"the storage's {what} does not give what was written")
