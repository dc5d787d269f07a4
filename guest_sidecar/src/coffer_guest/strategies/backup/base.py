"""What a backup strategy is, and how one is found by name.

A strategy is a class named in the entry point group `coffer.backup`. It knows an engine's tools and
nothing of stores, keys or threads: those are the data path's. It is made for one backup, in the
child process of a task. Whatever it starts, it starts in the main thread.
"""

import importlib.metadata
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

from pydantic import JsonValue

from coffer_common.errors import UserError
from coffer_guest.engines.base import Site
from coffer_guest.layout import Step
from coffer_guest.pipeline.manifest import Manifest
from coffer_guest.pipeline.process import Sink, Source
from coffer_guest.pipeline.stop import Stop

GROUP: Final = "coffer.backup"


@dataclass(frozen=True, slots=True)
class Scene:
    """What a backup is taken of."""

    site: Site
    scratch: Path  # an empty folder for small files of the tool, removed afterwards
    databases: tuple[str, ...] = ()  # of a logical backup; empty: all
    parent: Manifest | None = None  # authentic; None: a full backup


@dataclass(frozen=True, slots=True)
class Description:
    """What is known of a backup when its stream has ended well."""

    engine_version: str
    tool: str = ""
    tool_version: str = ""
    position: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Restoring:
    """What a restore works with. `deliver` sends the stream of the n-th backup to a sink."""

    manifests: Sequence[Manifest]  # authentic, from the full one on
    directory: Path  # to be made: the engine's data directory
    increment: Path  # for one increment at a time; lies beside it
    deliver: Callable[[int, Sink], None]
    step: Step
    stop: Stop


class BackupStrategy(ABC):
    """One way to back up one engine."""

    #: As in the entry point group, and in manifests.
    name: ClassVar[str]
    #: The engine plugin whose data it is for.
    manager: ClassVar[str]
    #: Restores into a running instance (`load_sink`), and not as a data directory (`restore`).
    logical: ClassVar[bool] = False
    #: The strategy that takes the full backups which this one continues; None: it takes them.
    full: ClassVar["type[BackupStrategy] | None"] = None

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    def why_not(self) -> str:
        """Why this cannot continue `scene.parent`, in a line; empty: it can.

        Raises Transient where the engine cannot be asked.
        """
        return f"{self.name} takes full backups only"

    def expected_bytes(self) -> int | None:
        """About how long the stream will be; None: unknown. Asked when it has begun."""
        return None

    @abstractmethod
    def source(self, stop: Stop) -> Source:
        """Start the tool. Raises UserError, Transient."""

    @abstractmethod
    def describe(self, stop: Stop) -> Description:
        """After the stream has ended well. Raises Transient where the tool left no description."""

    @staticmethod
    @abstractmethod
    def can_restore(backup_version: str, engine_version: str) -> bool:
        """Whether data of the one version can be used by the other; pure."""

    @classmethod
    def restore(cls, restoring: Restoring) -> None:
        """Make the data directory of a chain: what the engine starts from, in the usual way.

        Raises what `deliver` raises, ToolFailed, OSError. Not of logical strategies.
        """
        raise NotImplementedError(f"{cls.name} restores no data directory")

    @classmethod
    def load_sink(cls, site: Site) -> Sink:
        """Start what takes the stream into the running engine. Of logical strategies only."""
        raise NotImplementedError(f"{cls.name} restores nothing into a running {cls.manager}")

    @classmethod
    def selected(cls, sink: Sink, databases: Sequence[str], held: Sequence[str]) -> Sink:
        """Passes on to the sink what is of these databases; `held` are all that the stream has.

        It raises UserError for a stream that it cannot take apart. Of logical strategies only.
        """
        raise NotImplementedError(f"{cls.name} does not tell databases apart")


def load(name: str) -> type[BackupStrategy]:
    """The strategy of this name. Raises UserError."""
    found = importlib.metadata.entry_points(group=GROUP)
    if name not in found.names:
        names = ", ".join(sorted(found.names)) or "none"
        raise UserError("StrategyUnknown", f"no backup strategy is named {name!r}; there: {names}")
    strategy: object = found[name].load()
    if not (isinstance(strategy, type) and issubclass(strategy, BackupStrategy)):
        raise UserError("StrategyUnknown", f"entry point {name!r} of {GROUP} is no strategy")
    return strategy


def load_for(name: str, manager: str) -> type[BackupStrategy]:
    """The strategy of this name, to back up this engine. Raises UserError."""
    strategy = load(name)
    if strategy.manager != manager:
        raise UserError(
            "StrategyInvalid", f"{name} backs up {strategy.manager}, and this is {manager}"
        )
    return strategy
