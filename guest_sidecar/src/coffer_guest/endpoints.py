"""The EndpointSlice behind `<group>-rw`: this pod's address in it, or not.

Owns the slice's `endpoints`, `ports` and epoch, by patches that name the resourceVersion they are
based on. Asks the API server when something changed and until that is written, and never
otherwise; while the API server is away, it tries again ever more seldom.
"""

import asyncio
import logging
import ssl
from pathlib import Path
from typing import Final

import aiohttp

from coffer_common.errors import Permanent, Transient
from coffer_guest.settings import Pod
from coffer_guest.slices import Wanted, patch

_log = logging.getLogger(__name__)

_BACK_OFF_S: Final = (0.2, 30.0)
_TIMEOUT_S: Final = 5.0
_CONFLICT: Final = 409
_STANDALONE_EPOCH: Final = 0  # of an instance without a Lease


class SliceWriter:
    """Brings the slice to what is wanted, whenever that changes."""

    def __init__(self, api_server: str, service_account: Path, pod: Pod) -> None:
        self._api_server = api_server
        self._service_account = service_account
        self._pod = pod
        self._wanted: Wanted | None = None
        self._written: Wanted | None = None
        self._changed = asyncio.Event()

    def want(self, wanted: Wanted) -> None:
        """The slice is to become so."""
        if wanted != self._wanted:
            self._wanted = wanted
            self._changed.set()

    async def run(self) -> None:
        """Write until cancelled."""
        pause_s = _BACK_OFF_S[0]
        while True:
            wanted = self._wanted
            self._changed.clear()
            if wanted is None or wanted == self._written:
                await self._changed.wait()
                pause_s = _BACK_OFF_S[0]
                continue
            try:
                await self.write(wanted)
            except (Transient, Permanent) as error:
                _log.warning("slice %s: %s; again in %.1f s", wanted.name, error, pause_s)
                try:
                    async with asyncio.timeout(pause_s):
                        await self._changed.wait()
                    pause_s = _BACK_OFF_S[0]
                except TimeoutError:
                    pause_s = min(pause_s * 2, _BACK_OFF_S[1])

    async def leave(self, timeout_s: float) -> None:
        """Take this pod out of the slice, if it is in it; as well as that goes in the time."""
        if self._wanted is None:
            return
        wanted = Wanted(self._wanted.namespace, self._wanted.name, None)
        try:
            async with asyncio.timeout(timeout_s):
                await self.write(wanted)
        except (Transient, Permanent, TimeoutError) as error:
            _log.warning("slice %s is left as it is: %s", wanted.name, error)

    async def write(self, wanted: Wanted) -> None:
        """Read and, where needed, patch; again on each conflict. Raises Transient, Permanent."""
        try:
            context = ssl.create_default_context(cafile=str(self._service_account / "ca.crt"))
            async with aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=context),
                timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
                trust_env=False,
            ) as session:
                while not await self._write_once(session, wanted):
                    pass
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Transient(f"the API server cannot be reached: {error!r}") from error
        self._written = wanted

    async def _write_once(self, session: aiohttp.ClientSession, wanted: Wanted) -> bool:
        """False on a conflict: somebody else wrote in between."""
        url = (
            f"{self._api_server}/apis/discovery.k8s.io/v1/namespaces/{wanted.namespace}"
            f"/endpointslices/{wanted.name}"
        )
        headers = {"Authorization": f"Bearer {await asyncio.to_thread(self._token)}"}
        async with session.get(url, headers=headers) as response:
            if response.status != 200:
                raise Transient(f"reading it: status {response.status}")
            found = await response.json()
        change = patch(found, wanted, self._pod, _STANDALONE_EPOCH)
        if change is None:
            return True
        headers["Content-Type"] = "application/merge-patch+json"
        async with session.patch(url, json=change, headers=headers) as response:
            if response.status == _CONFLICT:
                return False
            if response.status != 200:
                raise Transient(f"writing it: status {response.status}")
        _log.info("slice %s: %s", wanted.name, (wanted.port and self._pod.ip) or "emptied")
        return True

    def _token(self) -> str:
        """Read each time: kubelet renews it."""
        return (self._service_account / "token").read_text().strip()
