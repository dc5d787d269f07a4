"""Which cluster, as whom, in which namespace: kubeconfig files, or a pod's service account.

Reads what kubectl reads (several files in KUBECONFIG, the first one to name a thing wins; paths
are relative to their file) and connects to nothing. It is our own because the official client
takes a second of processor time to import, several times what a whole command takes.
"""

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from coffer_cli.errors import CliError, Exit

_SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Cluster:
    """Where the API server is, and how to know it."""

    server: str
    ca: bytes | None = None  # PEM; None: the system's authorities
    insecure: bool = False
    server_name: str | None = None  # expected in the certificate, where it is not the host
    proxy: str | None = None


@dataclass(frozen=True)
class ExecPlugin:
    """A program that prints credentials (client.authentication.k8s.io)."""

    api_version: str
    command: str
    args: tuple[str, ...]
    env: Mapping[str, str]
    install_hint: str
    cluster_info: bool


@dataclass(frozen=True)
class User:
    """How to prove who is asking; at most a certificate and one of the others."""

    certificate: bytes | None = None  # PEM
    key: bytes | None = None
    token: str | None = None
    token_file: Path | None = None
    basic: tuple[str, str] | None = None
    plugin: ExecPlugin | None = None


@dataclass(frozen=True)
class Target:
    """All that a session needs to know; `context` is None in a pod."""

    cluster: Cluster
    user: User
    namespace: str
    context: str | None


def load(
    kubeconfig: str | None,
    context: str | None,
    environ: Mapping[str, str],
    service_account: Path = _SERVICE_ACCOUNT,
) -> Target:
    """The target that the flags and the environment name. Raises CliError."""
    merged = _Merged()
    paths = _paths(kubeconfig, environ)
    for path in paths:
        if path.exists():
            merged.add(path)
        elif kubeconfig:
            raise CliError(f"{path}: there is no such kubeconfig file", Exit.USAGE)
    name = context or merged.current_context
    if name is None:
        if not kubeconfig and (service_account / "token").exists():
            return _in_pod(service_account, environ)
        raise CliError(
            "no cluster is chosen: set KUBECONFIG, --kubeconfig or --context", Exit.USAGE
        )
    return merged.target(name)


def _paths(kubeconfig: str | None, environ: Mapping[str, str]) -> list[Path]:
    if kubeconfig:
        return [Path(kubeconfig).expanduser()]
    listed = [part for part in environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    return [Path(part) for part in listed] or [Path("~/.kube/config").expanduser()]


class _Merged:
    """Several kubeconfig files as one."""

    def __init__(self) -> None:
        self.current_context: str | None = None
        self._named: dict[tuple[str, str], tuple[Mapping[str, Any], Path]] = {}

    def add(self, path: Path) -> None:
        try:
            document = yaml.load(path.read_bytes(), Loader=_LOADER)  # noqa: S506 -- a safe loader
        except (OSError, yaml.YAMLError) as error:
            text = " ".join(str(error).split())
            raise CliError(f"{path}: cannot read this kubeconfig: {text}", Exit.USAGE) from None
        if document is None:
            return
        if not isinstance(document, dict):
            raise CliError(f"{path}: this is no kubeconfig", Exit.USAGE)
        self.current_context = self.current_context or document.get("current-context") or None
        for kind in ("clusters", "users", "contexts"):
            for entry in document.get(kind) or ():
                key = (kind, str(entry.get("name")))
                self._named.setdefault(key, (entry.get(kind[:-1]) or {}, path.parent))

    def target(self, context: str) -> Target:
        fields, _ = self._get("contexts", context, f"--context {context}")
        cluster, folder = self._get("clusters", fields.get("cluster"), f"context {context}")
        if fields.get("user"):
            user, user_folder = self._get("users", fields["user"], f"context {context}")
        else:
            user, user_folder = {}, folder
        return Target(
            cluster=_cluster(cluster, folder),
            user=_user(user, user_folder),
            namespace=str(fields.get("namespace") or "default"),
            context=context,
        )

    def _get(self, kind: str, name: object, asked_by: str) -> tuple[Mapping[str, Any], Path]:
        try:
            return self._named[(kind, str(name))]
        except KeyError:
            known = ", ".join(sorted(n for k, n in self._named if k == kind)) or "none"
            raise CliError(
                f"{asked_by}: kubeconfig has no {kind[:-1]} {name!r} (it has: {known})", Exit.USAGE
            ) from None


def _cluster(fields: Mapping[str, Any], folder: Path) -> Cluster:
    server = str(fields.get("server") or "")
    if not server.startswith(("https://", "http://")):
        raise CliError(f"kubeconfig: {server!r} is no address of an API server", Exit.USAGE)
    return Cluster(
        server=server.rstrip("/"),
        ca=_material(fields, "certificate-authority", folder),
        insecure=bool(fields.get("insecure-skip-tls-verify", False)),
        server_name=fields.get("tls-server-name") or None,
        proxy=fields.get("proxy-url") or None,
    )


def _user(fields: Mapping[str, Any], folder: Path) -> User:
    if "auth-provider" in fields:
        raise CliError(
            "kubeconfig: auth-provider is a retired way to log in; use an exec plugin", Exit.USAGE
        )
    token_file = fields.get("tokenFile")
    basic = fields.get("username")
    return User(
        certificate=_material(fields, "client-certificate", folder),
        key=_material(fields, "client-key", folder),
        token=fields.get("token") or None,
        token_file=folder / token_file if token_file else None,
        basic=(str(basic), str(fields.get("password") or "")) if basic else None,
        plugin=_plugin(fields["exec"], folder) if fields.get("exec") else None,
    )


def _plugin(fields: Mapping[str, Any], folder: Path) -> ExecPlugin:
    command = str(fields.get("command") or "")
    if "/" in command:  # as kubectl: a bare name is looked up on PATH
        command = str(folder / command)
    return ExecPlugin(
        api_version=str(fields.get("apiVersion") or "client.authentication.k8s.io/v1"),
        command=command,
        args=tuple(str(arg) for arg in fields.get("args") or ()),
        env={str(e["name"]): str(e["value"]) for e in fields.get("env") or ()},
        install_hint=" ".join(str(fields.get("installHint") or "").split()),
        cluster_info=bool(fields.get("provideClusterInfo", False)),
    )


def _material(fields: Mapping[str, Any], key: str, folder: Path) -> bytes | None:
    """PEM from `<key>-data` (base64), which wins, or from the file `<key>`."""
    if data := fields.get(f"{key}-data"):
        try:
            return base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError, TypeError):
            raise CliError(f"kubeconfig: {key}-data is not base64", Exit.USAGE) from None
    if path := fields.get(key):
        try:
            return (folder / str(path)).read_bytes()
        except OSError as error:
            raise CliError(f"kubeconfig: {key}: {error.strerror}: {path}", Exit.USAGE) from None
    return None


def _in_pod(folder: Path, environ: Mapping[str, str]) -> Target:
    host, port = (environ.get(f"KUBERNETES_SERVICE_{part}", "") for part in ("HOST", "PORT"))
    if not host:
        raise CliError("no cluster is chosen: set KUBECONFIG or --kubeconfig", Exit.USAGE)
    host = f"[{host}]" if ":" in host else host
    return Target(
        cluster=Cluster(
            server=f"https://{host}:{port or 443}", ca=(folder / "ca.crt").read_bytes()
        ),
        user=User(token_file=folder / "token"),
        namespace=(folder / "namespace").read_text().strip(),
        context=None,
    )
