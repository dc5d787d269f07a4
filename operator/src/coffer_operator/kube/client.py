"""KubeApi over HTTP. Transport and authentication are those of kubernetes.aio.

Owns connections, time-outs, retries and the mapping of errors. Plain dicts in and out: the
generated models refuse partial objects and cost ten times the memory.
"""

import asyncio
import json
import logging
import os
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import load_incluster_config, load_kube_config

from coffer_common import naming
from coffer_operator.kube.api import (
    POD,
    GoneError,
    Kind,
    NotFoundError,
    Object,
    Page,
    UnavailableError,
    WatchEvent,
)
from coffer_operator.kube.errors import error_of
from coffer_operator.kube.retry import with_retries

log = logging.getLogger(__name__)

CONNECTIONS: Final = 64  # watches hold one each
REQUESTS_AT_ONCE: Final = 24
REQUEST_TIMEOUT: Final = aiohttp.ClientTimeout(total=15, sock_connect=5)
WATCH_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=5)

_JSON: Final = "application/json"
_MERGE: Final = "application/merge-patch+json"
_APPLY: Final = "application/apply-patch+yaml"  # JSON is YAML
_MANAGER: Final = {"fieldManager": naming.FIELD_MANAGER}

Told = Callable[[str, int, float], None]  # verb, HTTP status (0: none came), seconds


@dataclass(frozen=True)
class _Request:
    """One HTTP request to the API server."""

    verb: str  # for the metrics: list and watch are GETs, too
    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    content_type: str = _JSON
    accept: str = _JSON
    limit: aiohttp.ClientTimeout = REQUEST_TIMEOUT


async def connect(
    rng: random.Random, *, told: Told | None = None, kubeconfig: str | None = None
) -> "KubeClient":
    """A client with the pod's service account, or with a kubeconfig outside of a cluster.

    Raises ConfigException of kubernetes.aio where there is neither.
    """
    configuration = Configuration(connection_pool_maxsize=CONNECTIONS)
    if kubeconfig is None and "KUBERNETES_SERVICE_HOST" in os.environ:
        load_incluster_config(configuration)  # type: ignore[no-untyped-call]  # has no annotations
    else:
        await load_kube_config(  # type: ignore[no-untyped-call]  # has no annotations
            kubeconfig, client_configuration=configuration, persist_config=False
        )
    return KubeClient(ApiClient(configuration), rng, told)


class KubeClient:
    """Implements KubeApi. `told` hears of every request."""

    def __init__(self, transport: Any, rng: random.Random, told: Told | None = None) -> None:
        transport.user_agent = "coffer-operator"
        self._transport = transport
        self._rng = rng
        self._told = told
        self._turns = asyncio.Semaphore(REQUESTS_AT_ONCE)

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    # --- KubeApi ---------------------------------------------------------------------------------
    async def get(self, kind: Kind, namespace: str | None, name: str) -> Object:
        """See KubeApi."""
        return await self._request(_Request("get", "GET", kind.path(namespace, name)))

    async def list_page(
        self,
        kind: Kind,
        *,
        label_selector: str = "",
        limit: int = 500,
        continue_token: str | None = None,
    ) -> Page:
        """See KubeApi."""
        query = {"limit": str(limit)}
        if label_selector:
            query["labelSelector"] = label_selector
        if continue_token:
            query["continue"] = continue_token
        answer = await self._request(_Request("list", "GET", kind.path(), query))
        metadata = answer.get("metadata") or {}
        return Page(
            items=tuple(answer.get("items") or ()),
            resource_version=str(metadata.get("resourceVersion", "")),
            continue_token=metadata.get("continue") or None,
        )

    async def watch(
        self, kind: Kind, *, resource_version: str, label_selector: str = ""
    ) -> AsyncIterator[WatchEvent]:
        """See KubeApi."""
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
        }
        if label_selector:
            query["labelSelector"] = label_selector
        response = await self._send(
            _Request("watch", "GET", kind.path(), query, limit=WATCH_TIMEOUT)
        )
        try:
            async for line in response.content:
                yield _watch_event(line)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise UnavailableError(f"watch of {kind.plural} was cut: {error}") from error
        finally:
            response.close()

    async def apply(self, kind: Kind, obj: Object) -> Object:
        """See KubeApi."""
        metadata = obj["metadata"]
        path = kind.path(metadata.get("namespace"), metadata["name"])
        query = {"fieldManager": naming.FIELD_MANAGER, "force": "true"}
        return await self._request(_Request("apply", "PATCH", path, query, obj, _APPLY))

    async def create(self, kind: Kind, obj: Object) -> Object:
        """See KubeApi."""
        path = kind.path(obj["metadata"].get("namespace"))
        return await self._request(_Request("create", "POST", path, _MANAGER, obj))

    async def patch(
        self,
        kind: Kind,
        namespace: str | None,
        name: str,
        patch: Mapping[str, Any],
        *,
        subresource: str = "",
    ) -> Object:
        """See KubeApi."""
        path = kind.path(namespace, name, subresource)
        return await self._request(_Request("patch", "PATCH", path, _MANAGER, patch, _MERGE))

    async def delete(
        self,
        kind: Kind,
        namespace: str | None,
        name: str,
        *,
        uid: str | None = None,
        grace_period_s: int | None = None,
    ) -> None:
        """See KubeApi."""
        options: Object = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
        }
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        if grace_period_s is not None:
            options["gracePeriodSeconds"] = grace_period_s
        try:
            path = kind.path(namespace, name)
            await self._request(_Request("delete", "DELETE", path, body=options))
        except NotFoundError:
            return

    async def log(self, namespace: str, pod: str, container: str, *, limit_bytes: int) -> str:
        """See KubeApi."""
        query = {"container": container, "limitBytes": str(limit_bytes)}
        path = POD.path(namespace, pod, "log")
        request = _Request("get", "GET", path, query, accept=f"text/plain, {_JSON}, */*")
        return str(await self._read(request, lambda body: body.decode("utf-8", "replace")))

    # --- transport -------------------------------------------------------------------------------
    async def _request(self, request: _Request) -> Object:
        """One request with its retries; the object in the answer."""
        return cast(Object, await self._read(request, json.loads))

    async def _read(self, request: _Request, parse: Callable[[bytes], Any]) -> Any:
        """The same; what `parse` makes of the answer. It raises ValueError for one that was cut."""

        async def attempt() -> Any:
            async with self._turns:
                response = await self._send(request)
                try:
                    return parse(await response.read())
                except (aiohttp.ClientError, OSError, ValueError) as error:
                    raise UnavailableError(f"{request.path}: cut: {error}") from error

        return await with_retries(attempt, self._rng)

    async def _send(self, request: _Request) -> aiohttp.ClientResponse:
        """Send a request and wait for the head of its answer; raises what error_of makes."""
        started = time.monotonic()
        code = 0
        query = f"?{urlencode(request.query)}" if request.query else ""
        try:
            answer = await self._transport.call_api(
                request.method,
                f"{self._transport.configuration.host}{request.path}{query}",
                await self._headers(request),
                request.body,
                _request_timeout=request.limit,
            )
            response = cast(aiohttp.ClientResponse, answer.response)
            code = response.status
            if code < 400:
                return response
            body = await response.read()
        except (aiohttp.ClientError, OSError) as error:
            what = str(error) or type(error).__name__
            raise UnavailableError(f"{request.method} {request.path}: {what}") from error
        finally:
            if self._told is not None:
                self._told(request.verb, code, time.monotonic() - started)
        raise error_of(code, body, response.headers.get("Retry-After"))

    async def _headers(self, request: _Request) -> dict[str, str]:
        """Authentication included; kubernetes.aio reads the token anew every minute."""
        headers = {"Content-Type": request.content_type, "Accept": request.accept}
        headers.update(self._transport.default_headers)
        await self._transport.update_params_for_auth(headers, None, ["BearerToken"], "", "", None)
        return headers


def _watch_event(line: bytes) -> WatchEvent:
    """A line of a watch. Raises GoneError or UnavailableError for an event of type ERROR."""
    event = json.loads(line)
    if event["type"] == "ERROR":
        status = event["object"]
        message = str(status.get("message", "watch failed"))
        raise GoneError(message) if status.get("code") == 410 else UnavailableError(message)
    return WatchEvent(event["type"], event["object"])
