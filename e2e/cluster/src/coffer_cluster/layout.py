"""The state folder of one cluster: what lies where, and how it is known to be ours."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coffer_cluster.addresses import Plan
from coffer_cluster.errors import UnsupportedError
from coffer_cluster.paths import state_dir
from coffer_cluster.pki import Pki
from coffer_cluster.sandbox import Sandbox

MARKER = "coffer-cluster.json"


@dataclass(frozen=True)
class Layout:
    """Paths below the state folder; nothing here looks at them before it is asked."""

    plan: Plan

    @property
    def root(self) -> Path:
        return state_dir(self.plan.tag)

    @property
    def marker(self) -> Path:
        return self.root / MARKER

    @property
    def pki(self) -> Pki:
        return Pki(self.root / "pki")

    @property
    def kubeconfig(self) -> Path:
        return self.root / "kubeconfig"

    @property
    def audit_policy(self) -> Path:
        return self.root / "audit-policy.json"

    @property
    def audit_log(self) -> Path:
        """Requests of service accounts to the API server, one JSON object a line."""
        return self.root / "audit.log"

    def kubeconfig_of(self, holder: str) -> Path:
        return self.root / "kubeconfigs" / holder

    @property
    def furnished(self) -> Path:
        """Exists once the API server has the objects that every cluster starts with."""
        return self.root / "furnished"

    @property
    def volumes(self) -> Path:
        return self.root / "volumes"

    @property
    def s3_data(self) -> Path:
        return self.root / "s3"

    @property
    def s3_keys(self) -> Path:
        return self.root / "s3.json"

    @property
    def control_plane(self) -> Sandbox:
        return Sandbox(
            name="cp",
            folder=self.root / "cp",
            namespace=self.plan.control_plane_namespace,
            cgroup=f"{self.plan.cgroup}/cp",
        )

    def node(self, number: int) -> Sandbox:
        name = f"n{number}"
        return Sandbox(
            name=name,
            folder=self.root / name,
            namespace=self.plan.node_namespace(number),
            cgroup=f"{self.plan.cgroup}/{name}",
        )

    def node_numbers(self) -> list[int]:
        """The nodes that were ever made since the cluster was."""
        numbers = (path.name.removeprefix("n") for path in self.root.glob("n*"))
        return sorted(int(number) for number in numbers if number.isdigit())

    def sandboxes(self) -> list[Sandbox]:
        return [*map(self.node, self.node_numbers()), self.control_plane]

    def claim(self) -> None:
        """Make the folder and mark it as ours, before anything else exists."""
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o755)
        self.marker.write_text(json.dumps({"tag": self.plan.tag}))

    def claimed(self) -> bool:
        """True if the folder is ours, false if there is none; anything else is refused."""
        if not self.root.exists():
            return False
        try:
            content: Any = json.loads(self.marker.read_text())
        except (OSError, ValueError):
            content = None
        if isinstance(content, dict) and content.get("tag") == self.plan.tag:
            return True
        if not any(self.root.iterdir()):
            return False
        raise UnsupportedError(
            f"{self.root} is not a state folder of ours (no {MARKER} in it);"
            " choose another TAG, or remove the folder"
        )

    def remove(self) -> None:
        """The marker goes last, so that an interrupted removal can be taken up again."""
        for path in self.root.iterdir():
            if path == self.marker:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        shutil.rmtree(self.root)
