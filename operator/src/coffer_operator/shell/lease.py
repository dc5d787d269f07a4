"""Which operator is the active one: a Lease in the operator's namespace.

Owns the Lease. Time is measured by our own monotonic clock alone: another's Lease has run out when
*we* saw no change of it for its whole duration, whatever its timestamps say.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from datetime import datetime
from typing import Final

from coffer_common.errors import CofferError
from coffer_operator.kube.api import (
    LEASE,
    ConflictError,
    Key,
    KubeApi,
    NotFoundError,
    Object,
    UnavailableError,
)

log = logging.getLogger(__name__)

NAME: Final = "coffer-operator"
DURATION_S: Final = 15.0
RENEW_EVERY_S: Final = 4.0
PAUSE_AFTER_S: Final = 10.0  # without a renewal nothing is begun any more
LOOK_EVERY_S: Final = 2.0  # at another's Lease
RELEASE_S: Final = 5.0


class LeaseLostError(Exception):
    """Another operator holds the Lease: this one must end."""


class Leadership:
    """Takes the Lease, keeps it, and gives it back.

    `active` is set while it is safe to begin anything.
    """

    def __init__(
        self,
        api: KubeApi,
        at: Key,
        identity: str,
        active: asyncio.Event,
        *,
        now: Callable[[], datetime],
        rng: random.Random,
    ) -> None:
        self._api = api
        self._at = at
        self._identity = identity
        self._active = active
        self._now = now
        self._rng = rng
        self._held: Object | None = None  # as the API server has it
        self._other: tuple[str, str] = ("", "")  # holder and version seen last
        self._other_since = 0.0
        self._pause_at: asyncio.TimerHandle | None = None

    async def acquire(self) -> None:
        """Return once the Lease is ours."""
        while True:
            asked_at = self._time()
            try:
                if await self._try_to_take():
                    self._renewed(asked_at)
                    log.info("%s holds the Lease %s", self._identity, self._at.name)
                    return
            except ConflictError:
                pass  # somebody else was quicker
            except CofferError as error:
                log.warning("Lease %s: %s", self._at.name, error)
            await asyncio.sleep(LOOK_EVERY_S * self._rng.uniform(0.75, 1.25))

    async def keep(self) -> None:
        """Renew until cancelled. Raises LeaseLostError once another holds it.

        While it cannot be renewed `active` is cleared, and set again by the next renewal.
        """
        while True:
            await asyncio.sleep(RENEW_EVERY_S * self._rng.uniform(0.9, 1.0))
            asked_at = self._time()
            try:
                await self._renew()
            except CofferError as error:
                log.warning("Lease %s could not be renewed: %s", self._at.name, error)
            else:
                self._renewed(asked_at)

    async def release(self) -> None:
        """Give the Lease back, so that the next operator need not wait. Failing costs only time."""
        self._stop()
        if self._held is None:
            return
        try:
            async with asyncio.timeout(RELEASE_S):
                await self._write({**self._spec(), "holderIdentity": "", "leaseDurationSeconds": 1})
        except (CofferError, TimeoutError) as error:
            log.warning("Lease %s could not be given back: %s", self._at.name, error)
        self._held = None

    async def _try_to_take(self) -> bool:
        try:
            found = await self._api.get(LEASE, self._at.namespace, self._at.name)
        except NotFoundError:
            self._held = await self._api.create(LEASE, self._new())
            return True
        spec = found.get("spec") or {}
        holder = str(spec.get("holderIdentity") or "")
        if holder not in ("", self._identity) and not self._has_run_out(found):
            return False
        self._held = found
        transitions = int(spec.get("leaseTransitions") or 0) + (holder != self._identity)
        await self._write(
            {**self._spec(), "acquireTime": self._stamp(), "leaseTransitions": transitions}
        )
        return True

    def _has_run_out(self, found: Object) -> bool:
        spec = found["spec"]
        seen = (str(spec["holderIdentity"]), str(found["metadata"].get("resourceVersion")))
        if seen != self._other:
            self._other, self._other_since = seen, self._time()
            log.info("standing by: %s holds the Lease %s", seen[0], self._at.name)
        duration_s = float(spec.get("leaseDurationSeconds") or DURATION_S)
        return self._time() - self._other_since > duration_s

    async def _renew(self) -> None:
        try:
            async with asyncio.timeout(DURATION_S):
                await self._write(self._spec())
        except (ConflictError, NotFoundError):
            await self._look_again()
        except TimeoutError:
            raise UnavailableError(f"no answer within {DURATION_S:.0f} s") from None

    async def _look_again(self) -> None:
        """The Lease is not as we left it: ours, if we only missed an answer of our own."""
        try:
            found = await self._api.get(LEASE, self._at.namespace, self._at.name)
        except NotFoundError:
            self._held = await self._api.create(LEASE, self._new())
            return
        holder = (found.get("spec") or {}).get("holderIdentity")
        if holder != self._identity:
            self._stop()
            raise LeaseLostError(f"{holder or 'nobody'} holds the Lease {self._at.name}")
        self._held = found
        await self._write(self._spec())

    async def _write(self, spec: Object) -> None:
        version = (self._held or {}).get("metadata", {}).get("resourceVersion", "")
        patch = {"metadata": {"resourceVersion": version}, "spec": spec}
        self._held = await self._api.patch(LEASE, self._at.namespace, self._at.name, patch)

    def _new(self) -> Object:
        return {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": {"name": self._at.name, "namespace": self._at.namespace},
            "spec": {**self._spec(), "acquireTime": self._stamp(), "leaseTransitions": 0},
        }

    def _spec(self) -> Object:
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(DURATION_S),
            "renewTime": self._stamp(),
        }

    def _renewed(self, asked_at: float) -> None:
        """Counted from before the request: the API server may have taken it at once."""
        if not self._active.is_set():
            log.info("active")
        self._active.set()
        self._cancel_pause()
        loop = asyncio.get_running_loop()
        self._pause_at = loop.call_at(asked_at + PAUSE_AFTER_S, self._pause)

    def _pause(self) -> None:
        log.warning("the Lease is not renewed: nothing is begun until it is")
        self._active.clear()

    def _stop(self) -> None:
        self._active.clear()
        self._cancel_pause()

    def _cancel_pause(self) -> None:
        if self._pause_at is not None:
            self._pause_at.cancel()
            self._pause_at = None

    def _stamp(self) -> str:
        return self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    @staticmethod
    def _time() -> float:
        return asyncio.get_running_loop().time()
