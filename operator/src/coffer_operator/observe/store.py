"""The cache of one kind: projections by namespace and name, indexed by instance and by a mark.

Owns what the process believes of the cluster. Fed by an informer (or by kopf) and by the answers
to our own writes, which come earlier than their events. Never does input or output.

resourceVersions are compared as numbers, which Kubernetes guarantees of every conforming server
since 1.35 and etcd has always given.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from coffer_operator.kube.api import Key

T = TypeVar("T")
B = TypeVar("B", bound=Hashable)
T_contra = TypeVar("T_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """One object: its projection, whose it is, and how new."""

    item: T
    owner: Key | None
    version: int
    uid: str


@dataclass(frozen=True, slots=True)
class Mark(Generic[B]):
    """What an object is found by beside its name, and what else of it counts there."""

    by: B
    facts: Hashable = None


Project = Callable[[Mapping[str, Any]], tuple[T, Key | None]]
OnChange = Callable[[Key | None, T], None]


class Index(Protocol[T_contra]):
    """What a Store tells of every change."""

    def moved(self, ref: Key, old: T_contra | None, new: T_contra | None) -> None: ...


class Marks(Generic[T, B]):
    """An index of a Store. `on_change` hears what objects were found by when that changes.

    It hears of our own writes as well: what they change is known to their writer alone.
    """

    def __init__(
        self,
        mark: Callable[[T], Mark[B] | None],
        on_change: Callable[[B, Key], None] | None = None,
    ) -> None:
        self._mark = mark
        self._on_change = on_change
        self._found: dict[B, dict[Key, T]] = {}

    def __getitem__(self, by: B) -> Mapping[Key, T]:
        """The objects that are found by this."""
        return self._found.get(by, {})

    def moved(self, ref: Key, old: T | None, new: T | None) -> None:
        """An object appeared, changed or vanished."""
        before = self._mark(old) if old is not None else None
        after = self._mark(new) if new is not None else None
        if before is not None and (after is None or after.by != before.by):
            objects = self._found[before.by]
            del objects[ref]
            if not objects:
                del self._found[before.by]
            self._tell(before.by, ref)
        if after is not None and new is not None:
            self._found.setdefault(after.by, {})[ref] = new
            if after != before:
                self._tell(after.by, ref)

    def _tell(self, by: B, ref: Key) -> None:
        if self._on_change is not None:
            self._on_change(by, ref)


class Both(Generic[T]):
    """Several indexes of one Store; a later one hears of a change when the former know of it."""

    def __init__(self, *indexes: Index[T]) -> None:
        self._indexes = indexes

    def moved(self, ref: Key, old: T | None, new: T | None) -> None:
        """An object appeared, changed or vanished."""
        for index in self._indexes:
            index.moved(ref, old, new)


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
    by our own writes, whose effect the writer knows. `marks` is kept up to date by every change.
    """

    def __init__(
        self,
        project: Project[T],
        on_change: OnChange[T] | None = None,
        marks: Index[T] | None = None,
    ) -> None:
        self._project = project
        self._on_change = on_change
        self._marks = marks
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

    def identity(self, ref: Key) -> tuple[str, int]:
        """The uid and the version of what is known of the object; nothing, and 0, of none."""
        entry = self._entries.get(ref)
        return (entry.uid, entry.version) if entry is not None else ("", 0)

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
        if self._marks is not None:
            self._marks.moved(ref, old.item if old is not None else None, item)
        if not quiet and self._on_change is not None:
            if old is not None and old.owner not in (None, owner):
                self._on_change(old.owner, old.item)
            if old is None or old.item != item or old.owner != owner:
                self._on_change(owner, item)

    def _drop(self, ref: Key) -> None:
        entry = self._entries.pop(ref, None)
        if entry is not None:
            self._unindex(ref, entry)
            if self._marks is not None:
                self._marks.moved(ref, entry.item, None)
            if self._on_change is not None:
                self._on_change(entry.owner, entry.item)

    def _unindex(self, ref: Key, entry: Entry[T]) -> None:
        if entry.owner is not None:
            names = self._by_owner.get(entry.owner, {})
            names.pop(ref.name, None)
            if not names:
                self._by_owner.pop(entry.owner, None)
