"""The agent's certificate and whom it lets in.

Owns the server's TLS contexts. Certificates are looked at when a client comes, so a renewed one
counts from the next connection on, without a restart and without a timer; connections that exist
stay as they are.
"""

import logging
import ssl
from pathlib import Path
from typing import Final

_log = logging.getLogger(__name__)

CERTIFICATE: Final = "tls.crt"
KEY: Final = "tls.key"
AUTHORITY: Final = "ca.crt"

_Signature = tuple[tuple[int, int, int], ...]


class ServerTLS:
    """TLS 1.3 with client certificates signed by our authority, from files in `folder`."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError or ssl.SSLError where there is no usable certificate yet."""
        self._folder = folder
        self._signature = self._read_signature()
        self.context = self._load()
        self._current = self.context
        # also called for clients that name no server
        self.context.sni_callback = self._choose

    def _choose(self, sock: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        """Give the handshake the newest certificates."""
        try:
            signature = self._read_signature()
            if signature != self._signature:
                self._current = self._load()
                self._signature = signature
                _log.info("certificates read anew")
        except (OSError, ssl.SSLError) as error:
            # half-written, or a mistake: the certificates so far serve on
            _log.warning("the new certificates cannot be used: %s", error)
        sock.context = self._current

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(self._folder / CERTIFICATE, self._folder / KEY)
        context.load_verify_locations(self._folder / AUTHORITY)
        return context

    def _read_signature(self) -> _Signature:
        stats = ((self._folder / name).stat() for name in (CERTIFICATE, KEY, AUTHORITY))
        return tuple((stat.st_mtime_ns, stat.st_ino, stat.st_size) for stat in stats)


def common_name(certificate: object) -> str | None:
    """The CN of a peer's certificate as `ssl` describes it."""
    if not isinstance(certificate, dict):
        return None
    for relative in certificate.get("subject", ()):
        for name, value in relative:
            if name == "commonName":
                return str(value)
    return None
