"""Every path that the agent touches, from three roots, so that tests run many agents at once.

Owns names, reads nothing.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from coffer_common import naming
from coffer_guest import launcher

SEED_ROOT: Final = Path("/usr/share/coffer")  # <manager>/data: made when the image was built


@dataclass(frozen=True, slots=True)
class Paths:
    """The roots; the rest follows."""

    volume: Path = Path(naming.VOLUME_PATH)
    run: Path = Path(naming.RUN_PATH)
    instance_file: Path = Path(naming.INSTANCE_FILE)
    tls: Path = Path(naming.TLS_PATH)
    service_account: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount")
    seed: Path | None = None

    def seed_for(self, manager: str) -> Path:
        """The pre-initialised data directory."""
        return self.seed or SEED_ROOT / manager / "data"

    @property
    def data(self) -> Path:
        """The engine's data directory."""
        return self.volume / "data"

    @property
    def etc(self) -> Path:
        """The engine's rendered configuration, one directory for each; see configuration.folder."""
        return self.volume / "etc"

    @property
    def tmp(self) -> Path:
        """The engine's temporary files."""
        return self.volume / "tmp"

    @property
    def engine_log(self) -> Path:
        """What the engine wrote to its output; the launcher keeps it."""
        return self.volume / launcher.LOG_FILE

    @property
    def private(self) -> Path:
        """The agent's own files."""
        return self.volume / ".coffer"

    @property
    def marker(self) -> Path:
        """What the volume holds; see volume."""
        return self.private / "marker.json"

    @property
    def incoming(self) -> Path:
        """A data directory in the making."""
        return self.private / "incoming"

    @property
    def increment(self) -> Path:
        """What is added to it next, where it is made of a chain of backups."""
        return self.private / "increment"

    @property
    def task_scratch(self) -> Path:
        """Small files of the one task that runs."""
        return self.private / "scratch"

    @property
    def intent(self) -> Path:
        """What the engine is to do, and the tokens of requests; see intent."""
        return self.private / "engine.json"

    @property
    def configuration(self) -> Path:
        """What was asked for; see configuration.record."""
        return self.private / "configuration.json"

    @property
    def engine_process(self) -> Path:
        """What was set in the engine process that runs; see configuration.record."""
        return self.private / "process.json"

    @property
    def shown_configuration(self) -> Path:
        """The configuration by layer, for show_configuration."""
        return self.run / "configuration.json"

    @property
    def tasks(self) -> Path:
        """One file per task."""
        return self.private / "tasks"

    @property
    def launcher_socket(self) -> Path:
        return self.run / launcher.SOCKET_FILE
