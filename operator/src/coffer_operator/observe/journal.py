"""Takes what `act` tells about its own writes into the caches; implements its Journal."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from coffer_common import naming
from coffer_operator.build.digest import digest, live_digest
from coffer_operator.kube.api import (
    CONFIGURATION_GROUP,
    INSTANCE,
    OPERATION,
    SECRET,
    Key,
    Kind,
    Object,
)
from coffer_operator.observe import project
from coffer_operator.observe.cache import Cache
from coffer_operator.observe.world import Observer
from coffer_operator.plan.world import ActFailure


class Notes:
    """What happened to the plans of instances and of ConfigurationGroups."""

    def __init__(self, cache: Cache, observer: Observer) -> None:
        self._cache = cache
        self._observer = observer

    def wrote(self, key: Key, kind: Kind, obj: Object) -> None:
        """The API server's answer to a write."""
        if kind == SECRET:
            if obj["metadata"]["name"] == naming.agent_tls(key.name):
                self._observer.wrote_secret(key, obj)
            return
        self._cache.store(kind).wrote(obj)
        if kind == INSTANCE:
            self._cache.confirm(key)
        elif kind == CONFIGURATION_GROUP:
            self._cache.confirm_group(key)
        elif kind != OPERATION:
            self._cache.no_longer_foreign(key, kind.kind, obj["metadata"]["name"])

    def gone(self, key: Key, kind: Kind, name: str, uid: str) -> None:
        """There is no such object."""
        self._cache.store(kind).wrote_deletion(key.namespace, name, uid)

    def found_foreign(self, key: Key, kind: Kind, obj: Object) -> None:
        """An object that is not the instance's bears a name that it needs."""
        self._cache.found_foreign(key, kind.kind, obj)

    def is_ours(self, key: Key, obj: Object) -> bool:
        return project.is_ours(obj, key)

    def settle(self, key: Key, kind: str, wanted: Mapping[str, Any], live: Object) -> None:
        """Note how the API server stores `wanted`."""
        settled = self._cache.memory(key).settled
        settled[kind, wanted["metadata"]["name"]] = (
            digest(wanted),
            live_digest(live, naming.FIELD_MANAGER),
        )

    def is_settled(self, key: Key, kind: str, name: str, wanted: str, live: str) -> bool:
        """Whether an object with the digest `live` is what came of one with `wanted`."""
        return self._cache.memory(key).settled.get((kind, name)) == (wanted, live)

    def ensured_user(self, key: Key, user: str) -> None:
        """The user of an EnsureUser call with this key is set, and its binding Secret written."""
        self._cache.memory(key).ensured_users.add(user)

    def failed(
        self, key: Key, step: str, reason: str, message: str, *, permanent: bool, at: datetime
    ) -> bool:
        """A plan stopped; whether that is news. `since` stays while it goes on failing."""
        memory = self._cache.memory(key)
        old = memory.failure
        since = old.since if old is not None else at
        memory.failure = ActFailure(step, reason, message, permanent, since)
        if old is None:
            self._cache.member_changed(key)
        return memory.failure != old

    def succeeded(self, key: Key) -> bool:
        """A plan was carried out; whether a failure ended with it."""
        memory = self._cache.memory(key)
        failed_before = memory.failure is not None
        memory.failure = None
        if failed_before:
            self._cache.member_changed(key)
        return failed_before

    def namespace_terminating(self, key: Key) -> None:
        """Nothing can be created in the instance's namespace any more."""
        self._cache.memory(key).namespace_terminating = True
