"""The agent's status, and who waits for it to change.

Owns the etag: it changes when, and only when, something changes that the operator should know.
"""

import asyncio
import hashlib
import json
from typing import Final

from coffer_common.wire import DataState, DataStatus, EngineState, EngineStatus, GuestStatus

_ETAG_LENGTH: Final = 16


def etag_of(status: GuestStatus) -> str:
    """A digest of what counts: everything but the etag itself and the progress of tasks.

    Volume use is already in steps of one percent (see `coarse`); progress counts in percent
    where the total is known, and not at all where it is not.
    """
    content = status.model_dump(mode="json", exclude={"etag"})
    for task in content["tasks"]:
        done, total = task.pop("bytes_done"), task["bytes_total"]
        task["percent"] = done * 100 // total if total else None
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_ETAG_LENGTH]


def coarse(used_bytes: int, size_bytes: int, shown_bytes: int | None = None) -> int:
    """The fewest bytes that are as many whole percents of `size_bytes` as `used_bytes`.

    `shown_bytes` is what was said last; it stays while less than a percent below it is used, so
    that a file that comes and goes is not told again and again.
    """
    if shown_bytes is not None and 0 < shown_bytes - used_bytes <= size_bytes // 100:
        return shown_bytes
    percent = used_bytes * 100 // size_bytes if size_bytes else 0
    return -(-size_bytes * percent // 100)


class Board:
    """The latest status; `publish` replaces parts of it and wakes those who wait."""

    def __init__(self, agent_version: str, boot_id: str, pod_uid: str) -> None:
        status = GuestStatus(
            etag="",
            agent_version=agent_version,
            boot_id=boot_id,
            instance_uid="",
            pod_uid=pod_uid,
            data=DataStatus(state=DataState.UNKNOWN),
            engine=EngineStatus(state=EngineState.UNKNOWN),
        )
        self.status = status.model_copy(update={"etag": etag_of(status)})
        self._changed = asyncio.Event()
        self._closed = False

    def close(self) -> None:
        """The agent ends: nobody is kept waiting any more."""
        self._closed = True
        self._changed.set()

    def publish(self, **parts: object) -> None:
        """Replace fields of the status."""
        status = self.status.model_copy(update=parts)
        if status == self.status:
            return
        etag = etag_of(status)
        changed = etag != self.status.etag
        self.status = status.model_copy(update={"etag": etag})
        if changed:
            self._changed.set()
            self._changed = asyncio.Event()

    async def wait(self, seen: str | None, wait_s: float) -> GuestStatus:
        """The status: at once if its etag is not `seen`, else when it changes or time is up."""
        try:
            async with asyncio.timeout(wait_s):
                while self.status.etag == seen and not self._closed:
                    await self._changed.wait()
        except TimeoutError:
            pass
        return self.status
