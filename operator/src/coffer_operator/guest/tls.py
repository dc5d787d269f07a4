"""TLS contexts from certificates in memory.

Python reads certificates from files only: they go through an anonymous file in memory, so that no
key touches a disk.
"""

import os
import ssl
from asyncio.sslproto import SSLProtocol
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

RECORD_BYTES: Final = 16 * 1024  # the most that TLS has in one


def use_small_buffers() -> None:
    """Let a TLS connection of asyncio have a read buffer of two records instead of 256 KiB.

    Each agent and each watch is a connection that idles: a thousand would hold 250 MiB.
    """
    SSLProtocol.max_size = 2 * RECORD_BYTES


def client_context(authority: bytes, certificate: bytes, key: bytes) -> ssl.SSLContext:
    """For connections to agents: they must be the authority's, and so are we."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=authority.decode())
    renew(context, certificate, key)
    return context


def server_context(certificate: bytes, key: bytes) -> ssl.SSLContext:
    """For the webhook: the API server is not asked for a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    renew(context, certificate, key)
    return context


def renew(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Use this certificate for new connections."""
    with _in_memory(certificate) as certificate_path, _in_memory(key) as key_path:
        context.load_cert_chain(certificate_path, key_path)


@contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    descriptor = os.memfd_create("pem")
    try:
        os.write(descriptor, content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
