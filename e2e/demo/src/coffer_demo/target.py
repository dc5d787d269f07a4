"""The cluster to install into, with the tools to reach it; it installs nothing itself."""

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coffer_cluster.command import run

NAMESPACE = "coffer-system"
RELEASE = "coffer"
ROOT = Path(__file__).parents[4]

Object = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """A cluster, through kubectl and helm."""

    kubectl: Path
    helm: Path
    kubeconfig: Path

    def kube(self, *args: str, stdin: str | None = None, timeout_s: float = 60) -> str:
        """Output of kubectl; ClusterError with its message where it fails."""
        argv = [self.kubectl, "--kubeconfig", self.kubeconfig, *args]
        return run(argv, stdin=stdin, timeout_s=timeout_s)

    def chart(self, *args: str, timeout_s: float = 300) -> str:
        """Output of helm; ClusterError with its message where it fails."""
        return run([self.helm, "--kubeconfig", self.kubeconfig, *args], timeout_s=timeout_s)

    def find(self, *args: str) -> Object | None:
        """`kubectl get args -o json`, None where there is no such object."""
        text = self.kube("get", *args, "-o", "json", "--ignore-not-found")
        found: Object | None = json.loads(text) if text.strip() else None
        return found

    def shown(self, *args: str) -> str:
        """The command as a person would type it."""
        return shlex.join(["kubectl", *args])
