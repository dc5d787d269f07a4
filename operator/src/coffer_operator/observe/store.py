"""The cache of one kind: projections by namespace and name, indexed by instance.

Owns what the process believes of the cluster. Fed by an informer (or by kopf) and by the answers
to our own writes, which come earlier than their events. Never does input or output.

resourceVersions are compared as numbers, which Kubernetes guarantees of every conforming server
since 1.35 and etcd has always given.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from coffer_operator.kube.api import Key

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """One object: its projection, whose it is, and how new."""

    item: T
    owner: Key | None
    version: int
    uid: str


Project = Callable[[Mapping[str, Any]], tuple[T, Key | None]]
OnChange = Callable[[Key | None, T], None]


def version_of(obj: Mapping[str, Any]) -> int:
    """The resourceVersion as a number; 0 where there is none."""
    text = str(obj.get("metadata", {}).get("resourceVersion", ""))
    return int(text) if text.isdecimal() else 0


def _uid_of(obj: Mapping[str, Any]) -> str:
    return str(obj["metadata"].get("uid", ""))


def ref_of(obj: Mapping[str, Any]) -> Key:
    metadata = obj["metadata"]
    return Key(metadata.get("namespace", ""), metadata["name"])


class Store(Generic[T]):
    """Projections of all objects of a kind.

    `project` gives an object's projection and the instance it belongs to. `on_change` is called
    with that instance whenever the projection became another one, appeared or vanished, except
    by our own writes, whose effect the writer knows.
    """

    def __init__(self, project: Project[T], on_change: OnChange[T] | None = None) -> None:
        self._project = project
        self._on_change = on_change
        self._entries: dict[Key, Entry[T]] = {}
        self._by_owner: dict[Key, dict[str, T]] = {}
        self._stream_version = 0  # the stream has told everything up to here
        self._gone: dict[Key, str] = {}  # uids of what is gone, until the stream says so as well

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, namespace: str, name: str) -> T | None:
        entry = self._entries.get(Key(namespace, name))
        return entry.item if entry else None

    def knows(self, namespace: str, name: str) -> bool:
        """Whether the object exists, whatever its projection."""
        return Key(namespace, name) in self._entries

    def of(self, owner: Key) -> Mapping[str, T]:
        """The objects of an instance, by name."""
        return self._by_owner.get(owner, {})

    def items(self) -> Iterable[tuple[Key, T]]:
        return [(ref, entry.item) for ref, entry in self._entries.items()]

    def saw(self, obj: Mapping[str, Any]) -> None:
        """The stream told of an object that was added or changed.

        One that the API server has told us is gone does not come back: the stream is behind.
        """
        self._stream_version = max(self._stream_version, version_of(obj))
        ref = ref_of(obj)
        if ref in self._gone and self._gone[ref] == _uid_of(obj):
            return
        self._gone.pop(ref, None)
        self._put(obj, quiet=False)

    def saw_deletion(self, obj: Mapping[str, Any]) -> None:
        """The stream told of a deletion; one of an older object than ours does not count."""
        version = version_of(obj)
        self._stream_version = max(self._stream_version, version)
        ref = ref_of(obj)
        self._gone.pop(ref, None)
        entry = self._entries.get(ref)
        if entry is not None and entry.version <= version:
            self._drop(ref)

    def saw_version(self, version: int) -> None:
        """A bookmark."""
        self._stream_version = max(self._stream_version, version)

    def replace(self, seen: Mapping[Key, int], version: int) -> None:
        """After a whole list, whose items were given to `saw`: what it lacks is gone.

        Except what we wrote after the list was taken.
        """
        gone = [
            ref
            for ref, entry in self._entries.items()
            if ref not in seen and entry.version <= version
        ]
        for ref in gone:
            self._drop(ref)
        for ref in [ref for ref in self._gone if ref not in seen]:
            del self._gone[ref]
        self.saw_version(version)

    def wrote(self, obj: Mapping[str, Any]) -> None:
        """The answer to a write of ours. Nothing is told to `on_change`.

        An answer that is late counts nothing: the stream was further already, and if the object
        is not here then it was deleted since.
        """
        ref = ref_of(obj)
        if ref in self._gone and self._gone[ref] == _uid_of(obj):
            return
        if version_of(obj) > self._stream_version or ref in self._entries:
            self._put(obj, quiet=True)

    def wrote_deletion(self, namespace: str, name: str, uid: str) -> None:
        """The API server said that the object that we knew under this uid does not exist.

        Another of the name, made since, stays.
        """
        ref = Key(namespace, name)
        entry = self._entries.get(ref)
        if entry is not None and entry.uid != uid:
            return
        if uid:
            self._gone[ref] = uid
        self._drop(ref)

    def _put(self, obj: Mapping[str, Any], *, quiet: bool) -> None:
        ref = ref_of(obj)
        version = version_of(obj)
        old = self._entries.get(ref)
        if old is not None and 0 < version <= old.version:
            return
        item, owner = self._project(obj)
        if old is not None and old.owner != owner:
            self._unindex(ref, old)
        self._entries[ref] = Entry(item, owner, version, _uid_of(obj))
        if owner is not None:
            self._by_owner.setdefault(owner, {})[ref.name] = item
        if not quiet and self._on_change is not None:
            if old is not None and old.owner not in (None, owner):
                self._on_change(old.owner, old.item)
            if old is None or old.item != item or old.owner != owner:
                self._on_change(owner, item)

    def _drop(self, ref: Key) -> None:
        entry = self._entries.pop(ref, None)
        if entry is not None:
            self._unindex(ref, entry)
            if self._on_change is not None:
                self._on_change(entry.owner, entry.item)

    def _unindex(self, ref: Key, entry: Entry[T]) -> None:
        if entry.owner is not None:
            names = self._by_owner.get(entry.owner, {})
            names.pop(ref.name, None)
            if not names:
                self._by_owner.pop(entry.owner, None)
