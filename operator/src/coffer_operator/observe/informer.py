"""Keeps a Store of one kind in step with the API server: list, then watch, for ever.

Owns the stream. A gap in the watch (410, an error, a stream that falls silent) is closed by a new
list, and what vanished in the meantime is told as deleted. Decides nothing.
"""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator
from typing import Any, Final

from coffer_common.errors import CofferError
from coffer_operator.kube.api import GoneError, Key, Kind, KubeApi, WatchEvent
from coffer_operator.observe.store import Store, ref_of, version_of

log = logging.getLogger(__name__)

PAGE_SIZE: Final = 250
FIRST_BACKOFF_S: Final = 0.5
MAX_BACKOFF_S: Final = 10.0  # a few requests a second in all, to a server that is away
SILENCE_S: Final = 190.0  # bookmarks come about once a minute; one or two may fail to come


class Informer:
    """List and watch of one kind into one store."""

    def __init__(
        self,
        api: KubeApi,
        kind: Kind,
        store: Store[Any],
        *,
        label_selector: str = "",
        rng: random.Random,
    ) -> None:
        self.kind = kind
        self.synced = asyncio.Event()
        self.heard_at = 0.0  # loop time of the latest sign of life of the stream
        self._api = api
        self._store = store
        self._selector = label_selector
        self._rng = rng
        self._version = ""  # where the stream is; empty: list first
        self._progressed = False

    async def run(self) -> None:
        """List and watch until cancelled.

        A stream that ended after it told something is taken up where it was; one that told
        nothing, or that the API server calls too old, is begun anew with a list.
        """
        backoff_s = FIRST_BACKOFF_S
        while True:
            self._progressed = False
            try:
                if not self._version:
                    self._version = await self.list_once()
                await self._follow()
            except GoneError:
                self._version = ""
            except (CofferError, TimeoutError) as error:
                log.warning("watch of %s: %s", self.kind.plural, error or "silent")
            if self._progressed:
                backoff_s = FIRST_BACKOFF_S
            else:
                self._version = ""
            await asyncio.sleep(backoff_s * self._rng.uniform(0.5, 1.0))
            backoff_s = min(backoff_s * 2, MAX_BACKOFF_S)

    async def list_until_synced(self) -> None:
        """One list, tried until it succeeds: for a kind whose events come by another way."""
        backoff_s = FIRST_BACKOFF_S
        while not self.synced.is_set():
            try:
                await self.list_once()
            except CofferError as error:
                log.warning("list of %s: %s", self.kind.plural, error)
                await asyncio.sleep(backoff_s * self._rng.uniform(0.5, 1.0))
                backoff_s = min(backoff_s * 2, MAX_BACKOFF_S)

    async def list_once(self) -> str:
        """List everything into the store; the list's resourceVersion.

        Raises the errors of KubeApi. An expired continuation (GoneError) leaves the store as far
        as it came.
        """
        seen: dict[Key, int] = {}
        token: str | None = None
        while True:
            page = await self._api.list_page(
                self.kind, label_selector=self._selector, limit=PAGE_SIZE, continue_token=token
            )
            for obj in page.items:
                seen[ref_of(obj)] = version_of(obj)
                self._store.saw(obj)
            token = page.continue_token
            if not token:
                break
        number = int(page.resource_version) if page.resource_version.isdecimal() else 0
        self._store.replace(seen, number)
        self._heard()
        self.synced.set()
        return page.resource_version

    async def _follow(self) -> None:
        """Feed the store from a watch until the server ends it.

        Raises TimeoutError where not even a bookmark comes, and the errors of KubeApi.
        """
        stream = self._api.watch(
            self.kind, resource_version=self._version, label_selector=self._selector
        )
        try:
            async with asyncio.timeout(SILENCE_S) as silence:
                async for event in stream:
                    self._take(event)
                    silence.reschedule(self.heard_at + SILENCE_S)
        finally:
            if isinstance(stream, AsyncGenerator):
                await stream.aclose()

    def _take(self, event: WatchEvent) -> None:
        self._heard()
        if event.type == "BOOKMARK":
            self._store.saw_version(version_of(event.object))
        elif event.type == "DELETED":
            self._store.saw_deletion(event.object)
        else:
            self._store.saw(event.object)
        self._version = str(event.object["metadata"]["resourceVersion"])
        self._progressed = True

    def _heard(self) -> None:
        self.heard_at = asyncio.get_running_loop().time()
