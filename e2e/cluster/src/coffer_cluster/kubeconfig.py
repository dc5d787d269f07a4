"""Kubeconfig files: whole in themselves, so that they can be copied and handed out."""

import base64
import os
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


def server_of(path: Path) -> str | None:
    """The server that the file's current context speaks to, or None if it says none."""
    try:
        config = yaml.safe_load(path.read_text())
        contexts = {entry["name"]: entry["context"] for entry in config["contexts"]}
        clusters = {entry["name"]: entry["cluster"] for entry in config["clusters"]}
        server = clusters[contexts[config["current-context"]]["cluster"]]["server"]
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return None
    return str(server).rstrip("/")
