"""Kubeconfig files: whole in themselves, so that they can be copied and handed out."""

import base64
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from coffer_cluster.pki import Pki


def write(path: Path, server: str, pki: Pki, holder: str, *, name: str) -> None:
    """A kubeconfig that speaks to `server` as the holder of a certificate."""
    content: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": name,
                "cluster": {
                    "server": server,
                    "certificate-authority-data": _encoded(pki.authority),
                },
            }
        ],
        "users": [
            {
                "name": holder,
                "user": {
                    "client-certificate-data": _encoded(pki.certificate(holder)),
                    "client-key-data": _encoded(pki.key(holder)),
                },
            }
        ],
        "contexts": [{"name": name, "context": {"cluster": name, "user": holder}}],
        "current-context": name,
    }
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        yaml.safe_dump(content, file, sort_keys=False)


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def server_of(paths: Sequence[Path]) -> str | None:
    """The server that the current context speaks to, or None if there is none.

    Of several files, the first that says a thing counts, as for kubectl.
    """
    current: str | None = None
    contexts: dict[str, str] = {}
    clusters: dict[str, str] = {}
    for path in paths:
        try:
            config = yaml.safe_load(path.read_text()) or {}
            current = current or config.get("current-context")
            for entry in config.get("contexts") or []:
                contexts.setdefault(entry["name"], entry["context"]["cluster"])
            for entry in config.get("clusters") or []:
                clusters.setdefault(entry["name"], entry["cluster"]["server"])
        except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError):
            continue  # as good as no file
    server = clusters.get(contexts.get(current or "", ""))
    return None if server is None else str(server).rstrip("/")
