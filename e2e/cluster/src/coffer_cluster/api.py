"""A small client of the cluster's own API server: JSON over TLS with the admin's certificate.

It goes straight to the address, whatever proxies the environment names, and keeps its connections:
a handshake costs both sides more than most requests. kubectl is for everything that needs more.
"""

import http
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import urllib3

from coffer_cluster.addresses import API_PORT
from coffer_cluster.layout import Layout

TIMEOUT_S = 5


class ApiError(Exception):
    """The API server refused, or could not be reached (status 0)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status} {message}" if status else message)
        self.status = status


@dataclass(frozen=True)
class Api:
    """Requests to one address of the cluster's API server."""

    layout: Layout
    host: str
    port: int = API_PORT

    @classmethod
    def direct(cls, layout: Layout) -> "Api":
        return cls(layout, str(layout.plan.control_plane))

    @classmethod
    def through_service(cls, layout: Layout) -> "Api":
        """By the ClusterIP, which works only where kube-proxy and the routes do."""
        return cls(layout, str(layout.plan.api_service), 443)

    def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
        timeout_s: float = TIMEOUT_S,
    ) -> Any:
        """The answer's JSON, or its text where it is none."""
        content = None if body is None else json.dumps(body)
        headers = {"Content-Type": content_type}
        try:
            answer = self._connections.request(
                method, path, body=content, headers=headers, timeout=timeout_s
            )
        except urllib3.exceptions.HTTPError as error:
            raise ApiError(0, f"{method} {path}: {error}") from None
        text = answer.data.decode()
        try:
            found: Any = json.loads(text)
        except ValueError:
            found = text
        if answer.status >= http.HTTPStatus.BAD_REQUEST:
            said = found.get("message") if isinstance(found, dict) else None
            raise ApiError(answer.status, said or f"{method} {path}: {text[:300]}")
        return found

    @cached_property
    def _connections(self) -> urllib3.HTTPSConnectionPool:
        """Those the server closed are opened anew; a request that failed is not sent again."""
        pki = self.layout.pki
        context = ssl.create_default_context(cafile=str(pki.authority))
        context.load_cert_chain(pki.certificate("admin"), pki.key("admin"))
        return urllib3.HTTPSConnectionPool(self.host, self.port, retries=False, ssl_context=context)

    def apply(self, path: str, content: Mapping[str, Any]) -> None:
        """Make the object at the path what the content says, by server-side apply."""
        query = "?fieldManager=coffer-cluster&force=true"
        self.request("PATCH", f"{path}{query}", content, "application/apply-patch+yaml")

    def get(self, path: str) -> Any:
        return self.request("GET", path)

    def find(self, path: str) -> Any | None:
        """Like get, but None for what is not there, or while nobody answers."""
        try:
            return self.get(path)
        except ApiError as error:
            if error.status in {0, 401, 403, 404, 429, 500, 503}:
                return None
            raise

    @property
    def ready(self) -> bool:
        return self.find("/readyz") is not None
