"""What `act` tells about its own writes, so that the next plan need not wait for their events."""

from collections.abc import Mapping
from typing import Any, Protocol

from coffer_operator.kube.api import Key, Kind, Object


class Writes(Protocol):
    """The caches, as far as whoever reports is concerned with them."""

    def wrote(self, key: Key, kind: Kind, obj: Object) -> None:
        """The API server's answer to a write for the object `key`."""
        ...

    def gone(self, key: Key, kind: Kind, name: str, uid: str) -> None:
        """The API server said that there is no such object."""
        ...


class Journal(Writes, Protocol):
    """The caches, as far as the writer of an instance's objects is concerned with them."""

    def found_foreign(self, key: Key, kind: Kind, obj: Object) -> None:
        """An object that is not the instance's bears a name that it needs."""
        ...

    def is_ours(self, key: Key, obj: Object) -> bool:
        """Whether an object bears the labels of this instance."""
        ...

    def settle(self, key: Key, kind: str, wanted: Mapping[str, Any], live: Object) -> None:
        """Note how the API server stores `wanted` (it normalises some values)."""
        ...

    def is_settled(self, key: Key, kind: str, name: str, wanted: str, live: str) -> bool:
        """Whether an object with the digest `live` is what came of one with `wanted`."""
        ...

    def ensured_user(self, key: Key, user: str) -> None:
        """The user of an EnsureUser call with this key is set, and its binding Secret written."""
        ...
