"""Credentials for a request: headers and the client certificate, fresh when they must be.

Runs exec plugins as client.authentication.k8s.io says; keeps what they print in memory only.
"""

import base64
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from coffer_cli.errors import CliError, Exit
from coffer_cli.kubeconfig import Cluster, ExecPlugin, User


@dataclass(frozen=True)
class _Printed:
    """What an exec plugin printed."""

    token: str | None
    certificate: bytes | None
    key: bytes | None
    expires: datetime | None


class Login:
    """The credentials of one user at one cluster."""

    def __init__(self, user: User, cluster: Cluster) -> None:
        self._user = user
        self._cluster = cluster
        self._printed: _Printed | None = None

    def forget(self) -> bool:
        """Drop what a plugin printed; whether a next attempt could have other credentials."""
        self._printed = None
        return self._user.plugin is not None or self._user.token_file is not None

    def certificate(self) -> tuple[bytes, bytes] | None:
        """Client certificate and key, PEM. Raises CliError."""
        printed = self._plugin()
        if printed and printed.certificate and printed.key:
            return printed.certificate, printed.key
        if self._user.certificate and self._user.key:
            return self._user.certificate, self._user.key
        return None

    def headers(self) -> dict[str, str]:
        """The Authorization header, if any. Raises CliError."""
        printed = self._plugin()
        if printed and printed.token:
            return {"Authorization": f"Bearer {printed.token}"}
        if self._user.token_file is not None:  # wins over `token`, as in kubectl; it is rotated
            try:
                return {"Authorization": f"Bearer {self._user.token_file.read_text().strip()}"}
            except OSError as error:
                raise CliError(f"{self._user.token_file}: {error.strerror}", Exit.USAGE) from None
        if self._user.token is not None:
            return {"Authorization": f"Bearer {self._user.token}"}
        if self._user.basic is not None:
            pair = ":".join(self._user.basic).encode()
            return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
        return {}

    def _plugin(self) -> _Printed | None:
        if self._user.plugin is None:
            return None
        known = self._printed
        if known is None or (known.expires is not None and known.expires <= datetime.now(UTC)):
            self._printed = _run(self._user.plugin, self._cluster)
        return self._printed


def _run(plugin: ExecPlugin, cluster: Cluster) -> _Printed:
    spec: dict[str, Any] = {"interactive": sys.stdin.isatty()}
    if plugin.cluster_info:
        spec["cluster"] = {
            "server": cluster.server,
            **({"tls-server-name": cluster.server_name} if cluster.server_name else {}),
            **({"insecure-skip-tls-verify": True} if cluster.insecure else {}),
            **(
                {"certificate-authority-data": base64.b64encode(cluster.ca).decode()}
                if cluster.ca
                else {}
            ),
            **({"proxy-url": cluster.proxy} if cluster.proxy else {}),
        }
    request = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}
    environ = {**os.environ, **plugin.env, "KUBERNETES_EXEC_INFO": json.dumps(request)}
    try:
        done = subprocess.run(
            [plugin.command, *plugin.args], env=environ, stdout=subprocess.PIPE, check=False
        )
    except OSError as error:
        hint = f" ({plugin.install_hint})" if plugin.install_hint else ""
        raise CliError(f"cannot run {plugin.command} to log in: {error.strerror}{hint}") from None
    if done.returncode != 0:
        raise CliError(f"{plugin.command} could not log in: exit code {done.returncode}")
    try:
        return _parse(done.stdout)
    except (ValueError, TypeError, AttributeError):
        # what it printed is a secret, so it is not shown
        raise CliError(f"{plugin.command} printed no ExecCredential") from None


def _parse(printed: bytes) -> _Printed:
    status = json.loads(printed)["status"] if b'"status"' in printed else {}
    expires = status.get("expirationTimestamp")
    certificate, key = (status.get(name) for name in ("clientCertificateData", "clientKeyData"))
    if not status.get("token") and not (certificate and key):
        raise ValueError
    return _Printed(
        token=status.get("token"),
        certificate=certificate.encode() if certificate else None,
        key=key.encode() if key else None,
        expires=datetime.fromisoformat(expires) if expires else None,
    )
