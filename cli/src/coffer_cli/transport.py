"""HTTP to one API server: connections, TLS, proxies. It knows nothing of Kubernetes' objects.

Blocking, over http.client: a command makes a handful of requests, and starting fast is what
counts.
"""

import http.client
import os
import socket
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

from coffer_cli.errors import CliError, Exit, UnreachableError
from coffer_cli.kubeconfig import Cluster

Connect = Callable[[float], http.client.HTTPConnection]  # time-out of each socket call, seconds

_PORTS: Final = {"https": 443, "http": 80}


class Transport:
    """Opens connections to the API server of `cluster`, with a client certificate if there is one.

    Raises CliError where kubeconfig is at fault.
    """

    def __init__(self, cluster: Cluster, certificate: tuple[bytes, bytes] | None) -> None:
        self._url = urlsplit(cluster.server)
        self._server_name = cluster.server_name
        self.prefix = self._url.path
        self._tls = _context(cluster, certificate) if self._url.scheme == "https" else None
        self._proxy = _proxy(cluster, self._url)

    @property
    def where(self) -> str:
        """The server's address, for messages."""
        return f"{self._url.scheme}://{self._url.netloc}"

    def open(self, timeout_s: float) -> http.client.HTTPConnection:
        """A connection, connected. Raises UnreachableError."""
        connection = self._connection(timeout_s)
        try:
            connection.connect()
        except ssl.SSLCertVerificationError as error:
            raise CliError(f"{self.where}: its certificate: {error.verify_message}") from None
        except (OSError, http.client.HTTPException) as error:
            raise self.unreachable(error) from None
        return connection

    def unreachable(self, error: Exception) -> UnreachableError:
        """What to say of a connection that failed."""
        if isinstance(error, TimeoutError):
            text = "no answer in time"
        elif isinstance(error, OSError) and error.strerror:
            text = error.strerror
        else:
            text = str(error) or type(error).__name__
        return UnreachableError(f"cannot reach the API server {self.where}: {text}")

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection:
        host = self._url.hostname or ""
        port = self._url.port or _PORTS[self._url.scheme]
        via = (self._proxy.hostname or "", self._proxy.port or 80) if self._proxy else (host, port)
        if self._tls is None:
            return http.client.HTTPConnection(host, port, timeout=timeout_s)
        connection = _Tls(*via, context=self._tls, timeout=timeout_s)
        connection.server_name = self._server_name or host
        if self._proxy is not None:
            connection.set_tunnel(host, port)
        return connection


class _Tls(http.client.HTTPSConnection):
    """As its base, with an expected server name of its own (tls-server-name)."""

    server_name = ""

    def __init__(self, host: str, port: int, *, context: ssl.SSLContext, timeout: float) -> None:
        super().__init__(host, port, context=context, timeout=timeout)
        self._tls_context = context

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)  # TCP, and the tunnel if there is a proxy
        self.sock: socket.socket = self._tls_context.wrap_socket(
            self.sock, server_hostname=self.server_name
        )


def _context(cluster: Cluster, certificate: tuple[bytes, bytes] | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(
            cadata=cluster.ca.decode("ascii") if cluster.ca else None
        )
        if cluster.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if certificate is not None:
            _load_certificate(context, certificate)
    except (ssl.SSLError, ValueError) as error:
        raise CliError(f"kubeconfig: cannot use its certificates: {error}", Exit.USAGE) from None
    return context


def _load_certificate(context: ssl.SSLContext, certificate: tuple[bytes, bytes]) -> None:
    """The ssl module reads certificates from files only; this one lives for a moment."""
    descriptor, name = tempfile.mkstemp(prefix="coffer-")  # mode 0600
    path = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(b"\n".join(certificate))
        context.load_cert_chain(path)
    finally:
        path.unlink()


def _proxy(cluster: Cluster, url: SplitResult) -> SplitResult | None:
    proxy = cluster.proxy
    if proxy is None and not proxy_bypass(url.hostname or ""):
        proxy = getproxies().get(url.scheme)
    if not proxy or url.scheme != "https":
        return None
    parts = urlsplit(proxy)
    if parts.scheme != "http" or not parts.hostname:
        raise CliError(f"the proxy {proxy} is not supported: only http:// ones are", Exit.USAGE)
    return parts
