"""The operator's connection to the simulated API server: KubeApi with latency and faults.

One client is one life of the operator: `close` is the process's death, after which nothing that
the life still does has an effect. What goes wrong is asked of a `Faults`, which never decides
anything by itself but from its own random numbers.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from coffer_common.errors import CofferError
from coffer_operator.kube.api import (
    POD,
    Kind,
    NotFoundError,
    Object,
    Page,
    UnavailableError,
    WatchEvent,
)
from sim_apiserver import ApiServer, Deletion, copied
from sim_requests import selects

T = TypeVar("T")


class Faults(Protocol):
    """What happens to requests and to events on their way."""

    def latency_s(self) -> float:
        """How long one way of a request takes."""
        ...

    def before(self, verb: str, kind: Kind) -> CofferError | None:
        """An error instead of the request."""
        ...

    def after(self, verb: str, kind: Kind) -> CofferError | None:
        """An error instead of the answer: the request was carried out."""
        ...

    def event_delay_s(self, kind: Kind) -> float:
        """How long an event stays behind; those after it wait as well."""
        ...

    def event_copies(self, kind: Kind) -> int:
        """How often an event is delivered: 1, 2; or 0: the stream breaks there."""
        ...


class Calm:
    """No faults."""

    def latency_s(self) -> float:
        return 0.0

    def before(self, verb: str, kind: Kind) -> CofferError | None:
        del verb, kind
        return None

    def after(self, verb: str, kind: Kind) -> CofferError | None:
        del verb, kind
        return None

    def event_delay_s(self, kind: Kind) -> float:
        del kind
        return 0.0

    def event_copies(self, kind: Kind) -> int:
        del kind
        return 1


Observer = Callable[[str, Kind, str | None, str, Object | None], None]
# verb, kind, namespace, name, body


class SimClient:
    """KubeApi over an ApiServer in memory."""

    def __init__(
        self,
        server: ApiServer,
        faults: Faults | None = None,
        *,
        manager: str = "coffer",
        observer: Observer | None = None,
        bookmark_s: float = 60.0,
    ) -> None:
        self._server = server
        self._faults = faults or Calm()
        self._manager = manager
        self._observer = observer
        self._bookmark_s = bookmark_s
        self.closed = False
        self._connected = asyncio.Event()
        self._connected.set()

    def close(self) -> None:
        """The process is dead."""
        self.closed = True

    def cut(self, off: bool) -> None:
        """Cut off from the API server: requests fail, watches are silent."""
        if off:
            self._connected.clear()
        else:
            self._connected.set()

    def _alive(self) -> None:
        if self.closed:
            raise asyncio.CancelledError

    async def _call(
        self,
        verb: str,
        kind: Kind,
        request: Callable[[], T],
        about: tuple[str | None, str, Object | None],
    ) -> T:
        self._alive()
        await asyncio.sleep(self._faults.latency_s())
        self._alive()
        if not self._connected.is_set():
            raise UnavailableError("no route to host")
        error = self._faults.before(verb, kind)
        if error is not None:
            raise error
        if self._observer is not None:
            self._observer(verb, kind, *about)
        result: T | CofferError
        try:
            result = request()
        except CofferError as failure:
            result = failure
        error = self._faults.after(verb, kind)
        await asyncio.sleep(self._faults.latency_s())
        self._alive()
        if error is not None:
            raise error
        if isinstance(result, CofferError):
            raise result
        if isinstance(result, dict):
            return copied(result)  # type: ignore[no-any-return]  # a copy of a T is a T
        if isinstance(result, Page):
            return replace(result, items=tuple(copied(item) for item in result.items))
        return result

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Object:
        return await self._call(
            "get", kind, lambda: self._server.get(kind, namespace, name), (namespace, name, None)
        )

    async def list_page(
        self,
        kind: Kind,
        *,
        label_selector: str = "",
        limit: int = 500,
        continue_token: str | None = None,
    ) -> Page:
        return await self._call(
            "list",
            kind,
            lambda: self._server.list_page(kind, label_selector, limit, continue_token),
            (None, "", None),
        )

    async def apply(self, kind: Kind, obj: Object) -> Object:
        metadata = obj["metadata"]
        return await self._call(
            "apply",
            kind,
            lambda: self._server.apply(kind, obj, self._manager),
            (metadata.get("namespace"), metadata["name"], obj),
        )

    async def create(self, kind: Kind, obj: Object) -> Object:
        metadata = obj["metadata"]
        return await self._call(
            "create",
            kind,
            lambda: self._server.create(kind, obj, self._manager),
            (metadata.get("namespace"), metadata.get("name", ""), obj),
        )

    async def patch(
        self,
        kind: Kind,
        namespace: str | None,
        name: str,
        patch: Mapping[str, Any],
        *,
        subresource: str = "",
    ) -> Object:
        return await self._call(
            "patch",
            kind,
            lambda: self._server.patch(
                kind, namespace, name, patch, subresource=subresource, manager=self._manager
            ),
            (namespace, name, dict(patch)),
        )

    async def delete(
        self,
        kind: Kind,
        namespace: str | None,
        name: str,
        *,
        uid: str | None = None,
        grace_period_s: int | None = None,
    ) -> None:
        def request() -> None:
            try:
                self._server.delete(kind, namespace, name, Deletion(uid, grace_period_s))
            except NotFoundError:
                return

        await self._call("delete", kind, request, (namespace, name, None))

    async def log(self, namespace: str, pod: str, container: str, *, limit_bytes: int) -> str:
        """What a container said at its end is all that it has written."""

        def request() -> str:
            found = self._server.get(POD, namespace, pod)
            for status in found["status"].get("containerStatuses") or ():
                if status["name"] == container:
                    ended = (status.get("state") or {}).get("terminated") or {}
                    return str(ended.get("message") or "")[:limit_bytes]
            return ""

        return await self._call("get", POD, request, (namespace, pod, None))

    async def watch(
        self, kind: Kind, *, resource_version: str, label_selector: str = ""
    ) -> AsyncIterator[WatchEvent]:
        def matches(obj: Object) -> bool:
            return selects(label_selector, obj["metadata"].get("labels") or {})

        watch = await self._call(
            "watch",
            kind,
            lambda: self._server.history.watch(kind, resource_version, matches, self._bookmark_s),
            (None, "", None),
        )
        try:
            async for event in watch.events():
                await self._connected.wait()
                if event.type != "BOOKMARK":
                    await asyncio.sleep(self._faults.event_delay_s(kind))
                    copies = self._faults.event_copies(kind)
                    if not copies:
                        return
                    for _ in range(copies - 1):
                        self._alive()
                        yield event
                self._alive()
                yield event
        finally:
            watch.end()
