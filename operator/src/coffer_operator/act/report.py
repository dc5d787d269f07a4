"""Status patches and Events of our own objects, each written only where it says anything new.

Owns how a report is written, for every kind; what it says was decided by a plan.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from coffer_common.resources.base import Metadata, Resource
from coffer_operator.act.events import event
from coffer_operator.act.journal import Writes
from coffer_operator.act.status import merge_patch
from coffer_operator.kube.api import EVENT, ConflictError, Key, Kind, KubeApi, NotFoundError
from coffer_operator.plan.model import EventNote


class Reporter:
    """Writes reports."""

    def __init__(self, api: KubeApi, journal: Writes, now: Callable[[], datetime]) -> None:
        self._api = api
        self._journal = journal
        self._now = now

    async def patch_status(
        self,
        key: Key,
        kind: Kind,
        metadata: Metadata,
        present: Resource,
        wanted: Mapping[str, Any],
    ) -> None:
        """Only on the very version that the decision was taken from."""
        seen = present.model_dump(mode="json", by_alias=True, exclude_unset=True)
        difference = merge_patch(seen, wanted)
        if difference is None:
            return
        patch = {
            "metadata": {"resourceVersion": metadata.resource_version},
            "status": difference,
        }
        try:
            live = await self._api.patch(
                kind, key.namespace, metadata.name, patch, subresource="status"
            )
        except NotFoundError:
            self._journal.gone(key, kind, metadata.name, metadata.uid)
            return
        self._journal.wrote(key, kind, live)

    async def announce(self, kind: Kind, about: Metadata, note: EventNote) -> None:
        """An Event on the object; one that was announced before a crash stays the only one."""
        try:
            await self._api.create(EVENT, event(kind.kind, about, note, self._now()))
        except ConflictError:
            return
