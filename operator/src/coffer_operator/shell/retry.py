"""When a key whose plan failed is looked at again, and what is read anew before that."""

import logging
from typing import Protocol

from coffer_common.errors import CofferError
from coffer_operator.act.failure import StepError
from coffer_operator.kube.api import Key, Kind
from coffer_operator.shell.queue import WorkQueue

log = logging.getLogger(__name__)


class Rereader(Protocol):
    """Reads what the caches may be behind with."""

    async def reread(self, kind: Kind, key: Key) -> bool:
        """Read the object anew; whether it is there and as it was."""
        ...


class Retries:
    """The policy for what goes wrong with the keys of one queue.

    After a conflict that is at once: the caches know better by now. After a second one in a row
    they do not, and the object is read. From the third on, the back-off counts.
    """

    def __init__(self, queue: WorkQueue, observer: Rereader) -> None:
        self._queue = queue
        self._observer = observer
        self._conflicts: dict[Key, int] = {}  # in a row

    def succeeded(self, key: Key) -> None:
        """Its next failure is its first."""
        self._queue.succeeded(key)
        self._conflicts.pop(key, None)

    def forget(self, key: Key) -> None:
        """It is gone."""
        self._queue.forget(key)
        self._conflicts.pop(key, None)

    async def failed(self, key: Key, error: StepError) -> None:
        """Have the key looked at again."""
        count = self._conflicts.get(key, 0) + 1 if error.conflict else 0
        if count:
            self._conflicts[key] = count
        else:
            self._conflicts.pop(key, None)
        wait_s = self._queue.failed(key, error.retry_after_s or 0.0)
        known = count == 1 or (count > 1 and await self._read(key, error))
        at_once = known and count <= 2
        log.warning(
            "%s/%s: %s; again in %.1f s", key.namespace, key.name, error, 0 if at_once else wait_s
        )
        if at_once:
            self._queue.add(key)

    async def _read(self, key: Key, error: StepError) -> bool:
        """Whether the caches have the object now as the API server has it."""
        if error.about is None:
            return False
        kind, name = error.about
        try:
            await self._observer.reread(kind, Key(key.namespace, name))
        except CofferError as unread:
            log.warning("%s %s/%s: %s", kind.kind, key.namespace, name, unread)
            return False
        return True
