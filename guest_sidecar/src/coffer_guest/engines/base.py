"""The interface between the agent and an engine.

The agent knows neither SQL nor an engine's files by name: all of that is behind `Engine`. An
engine never touches the launcher, the marker, the guest API or Kubernetes; it never logs or
raises a password. Methods that are `async` may be cancelled at any await; all of them may be
repeated.
"""

import importlib
import os
import re
import shutil
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

from coffer_common import naming
from coffer_common.errors import Permanent, Transient, UserError
from coffer_common.wire import DatabaseInfo, DatabaseRequest, UserInfo, UserRequest, Value

_MANAGER: Final = re.compile(r"[a-z][a-z0-9_]*")
_PATH: Final = f"{os.defpath}:/usr/sbin:/sbin:/usr/local/sbin:/usr/local/bin"


class EngineUnavailable(Transient):
    """The engine does not answer now; the message is one line that says how."""


class NotSupported(UserError):
    """The engine has no such thing; `message` is one line for the user."""

    def __init__(self, message: str) -> None:
        super().__init__("NotSupported", message)


@dataclass(frozen=True, slots=True)
class Site:
    """Where an engine lives: its directories, and the address it binds to."""

    data: Path  # its data directory, on the volume
    tmp: Path  # for its temporary files, on the volume; emptied before the agent starts it
    run: Path  # sockets, and secrets of this pod's life; gone with the pod
    address: str = "*"  # "*" is every address


@dataclass(frozen=True, slots=True)
class Layers:
    """A configuration, the lowest layer first. `port` is in none of the mappings."""

    template: str  # the rendered config.template
    defaults: Mapping[str, Value]  # of the DatastoreVersion
    values: Mapping[str, Value]  # of the ConfigurationGroup
    port: int  # that the engine listens on


@dataclass(frozen=True, slots=True)
class Setting:
    """A parameter as the running engine tells it."""

    text: str  # in the engine's own spelling
    dynamic: bool  # the engine lets it be changed while it runs
    own: bool  # the engine chose this value when it started: nobody has set it since


@dataclass(frozen=True, slots=True)
class LiveOutcome:
    """What became of values that were set in a running engine."""

    texts: Mapping[str, str]  # those that hold, as the engine tells them
    static: frozenset[str] = frozenset()  # those that it takes only when it starts


class Refused(UserError):
    """The engine does not take a value; the message is one line with the parameter's name."""

    def __init__(self, message: str) -> None:
        super().__init__("Refused", message)


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """What the launcher executes, and how it ends it cleanly."""

    argv: tuple[str, ...]  # argv[0] is an absolute path; never a secret in here
    env: Mapping[str, str] = field(default_factory=dict)  # all of it, not added to ours
    stop_signal: int = signal.SIGTERM
    stop_timeout_s: float = naming.STOP_TIMEOUT_S  # then SIGKILL
    stop_again_s: float | None = None  # repeat the signal so often, where it may be refused
    configuration: str = ""  # name of the configuration directory; the agent's, not the engine's


class Engine(ABC):
    """One datastore's knowledge. Made once per agent; holds connections, no other state.

    Order of calls: `configuration` and `before_start` come before every start that the agent
    asks for (not before a restart by the launcher alone, nor when the agent comes back to an
    engine that runs: nothing may depend on memory of this object). `probe` comes often.

    Parameters have the names of the engine version's validation-rules.json. A value is in the
    normal form of coffer_common.rules, or a text as the template or the engine itself writes it.
    """

    #: Whether `set_live` can bring a parameter back to the engine's own default.
    knows_defaults: ClassVar[bool] = True

    #: Parameters, of a size, that the engine takes of the memory whatever it does.
    outright: ClassVar[frozenset[str]] = frozenset()

    #: Names of tasks to `module:function` that a child process imports and calls with a
    #: `coffer_guest.task_child.TaskContext`.
    tasks: ClassVar[Mapping[str, str]] = {}

    def __init__(self, site: Site) -> None:
        self.site = site

    # --- without a running engine ---------------------------------------------------------------
    @staticmethod
    @abstractmethod
    def major(version: str) -> str:
        """The part of a version that must not change under existing data: "10.11", "7"."""

    @staticmethod
    @abstractmethod
    def initialise(directory: Path) -> None:
        """Fill an empty directory with what a new server starts from.

        Runs when the image is built (and once per test session), never on a volume; the agent
        copies the result. Nothing in it may be particular to one server. An engine that starts
        from an empty directory leaves it empty. Raises Permanent.
        """

    @staticmethod
    def fit(directory: Path, values: Mapping[str, Value]) -> None:
        """Fit a copy of what `initialise` made to the parameters of its first start.

        For what the engine would make anew otherwise. Raises OSError, Permanent; on failure the
        copy is thrown away.
        """
        del directory, values

    @staticmethod
    def new_identity(random_bytes: Callable[[int], bytes]) -> dict[str, str]:
        """What must differ between servers that start from the same copy, e.g. a server id.

        Drawn once per layout, kept in the volume's marker, handed to `configuration`.
        """
        del random_bytes
        return {}

    @abstractmethod
    def configuration(
        self, folder: Path, layers: Layers, identity: Mapping[str, str]
    ) -> dict[str, str]:
        """All files of a configuration directory, to be `folder`: name to text, no secrets.

        Each layer is a file whose number shows the order; parameters that users may not set come
        last. What adds up over files is merged, and stands in one file.
        """

    @staticmethod
    @abstractmethod
    def parse(text: str) -> dict[str, str]:
        """Parameter names to values of a rendered template."""

    @staticmethod
    @abstractmethod
    def canonical(value: Value) -> str:
        """One text for all spellings of a value: sizes in bytes, one word for yes. Pure."""

    @staticmethod
    def combine(name: str, lower: Value | None, upper: Value) -> Value:
        """What counts where a layer has `upper` above `lower` (None: nothing). Pure.

        For parameters of several parts that are set one by one.
        """
        del name, lower
        return upper

    @staticmethod
    def last_words(log: str) -> str:
        """One line of the end of the engine's log that says why the last start failed. Pure."""
        lines = [line.strip() for line in log.splitlines() if line.strip()]
        return lines[-1] if lines else ""

    @abstractmethod
    def launch(self, folder: Path) -> LaunchSpec:
        """How the engine is started on `site` with the configuration directory `folder`."""

    @abstractmethod
    def before_start(self) -> None:
        """Write what a start needs and `configuration` must not hold: secrets, to `site.run`.

        Blocking; runs in a thread. Before a restart the former process may still be running.
        """

    # --- with a running engine ------------------------------------------------------------------
    @abstractmethod
    async def probe(self, timeout_s: float) -> str:
        """Ask the engine something that only a serving engine answers; its version.

        Raises EngineUnavailable within about `timeout_s`, also when the engine hangs.
        """

    async def keep_house(self, volume_bytes: int) -> None:
        """Remove what the engine would let grow until the volume is full.

        Called every few seconds while it answers, so that it costs next to nothing where there is
        nothing to do. Raises EngineUnavailable, Transient, UserError, OSError.
        """
        del volume_bytes

    @abstractmethod
    async def settings(self, names: Collection[str]) -> Mapping[str, Setting]:
        """These parameters as they are now; without those that the engine does not know.

        Raises EngineUnavailable, Transient, UserError.
        """

    @abstractmethod
    async def set_live(self, changes: Mapping[str, Value | None]) -> LiveOutcome:
        """Set parameters in the running engine; None is the engine's default (knows_defaults).

        Raises Refused where the engine does not take a value, or takes another in its place (a
        rounding apart); what was set before it stays set. Raises EngineUnavailable, Transient.
        """

    @abstractmethod
    async def databases(self) -> Sequence[DatabaseInfo]:
        """All databases but the engine's own, by name. Empty where the engine has none."""

    @abstractmethod
    async def ensure_database(self, name: str, request: DatabaseRequest) -> None:
        """The database exists with these properties. Raises UserError, EngineUnavailable."""

    @abstractmethod
    async def drop_database(self, name: str) -> None:
        """The database does not exist (any more)."""

    @abstractmethod
    async def users(self) -> Sequence[UserInfo]:
        """All users but the engine's and the agent's own, by name and host."""

    @abstractmethod
    async def ensure_user(self, name: str, request: UserRequest) -> None:
        """The user exists with this password and exactly these databases granted."""

    @abstractmethod
    async def drop_user(self, name: str, host: str) -> None:
        """The user does not exist (any more)."""

    @abstractmethod
    async def close(self) -> None:
        """Give back connections. Called when the agent ends."""


def load(manager: str) -> type[Engine]:
    """The engine class of a DatastoreVersion's `manager`; imports that engine alone.

    The module `coffer_guest.engines.<manager>` names its class `ENGINE`. Raises Permanent.
    """
    if _MANAGER.fullmatch(manager) is None or manager == "base":
        raise Permanent(f"no engine plugin is named {manager!r}")
    name = f"coffer_guest.engines.{manager}"
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise Permanent(f"no engine plugin is named {manager!r}") from error
    found: object = getattr(module, "ENGINE", None)
    if not (isinstance(found, type) and issubclass(found, Engine)):
        raise Permanent(f"the engine plugin {manager!r} names no engine")
    return found


def executable(name: str) -> str:
    """The absolute path of a program of the image. Raises Permanent."""
    path = shutil.which(name, path=_PATH)
    if path is None:
        raise Permanent(f"there is no {name} in this image")
    return path
