"""The configuration of a simulated engine: what its agent was told, and what is in force.

As the real agent has it: a request is kept on the disk before it is answered, is carried out later,
live where the engine can and else at its next start, and outlives agent and pod. No timer here: the
guest says when.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from coffer_common.wire import (
    ConfigurationRequest,
    ConfigurationStatus,
    Drift,
    RejectedConfiguration,
    RejectionCause,
    Value,
)
from sim_loop import stamp

DYNAMIC: Final = "max_connections"
DYNAMIC_TOO: Final = "wait_timeout"
STATIC: Final = ("back_log", "port")
REFUSED: Final = 99  # a value of DYNAMIC that an engine refuses, where it is of that kind
DEADLY: Final = 999  # a value of back_log with which no engine starts

BARE: Final = ConfigurationRequest(hash="")


@dataclass
class OnDisk:
    """What the agent keeps on the volume, for one instance."""

    uid: str
    request: ConfigurationRequest | None = None
    good: ConfigurationRequest | None = None  # the latest that an engine was started with
    rejected: RejectedConfiguration | None = None

    @property
    def to_start_with(self) -> ConfigurationRequest:
        """The request, unless it was rejected."""
        if self.request is None:
            return BARE
        if self.rejected is not None and self.rejected.hash == self.request.hash:
            return self.good or BARE
        return self.request


def effective(request: ConfigurationRequest) -> dict[str, Value]:
    return {**request.defaults, **request.values}


@dataclass
class Engine:
    """What one engine process has: what it was started with, and what it was told since."""

    started_with: ConfigurationRequest = BARE
    values: dict[str, Value] = field(default_factory=dict)  # in force
    live: ConfigurationRequest = BARE

    def start(self, request: ConfigurationRequest) -> None:
        self.started_with = self.live = request
        self.values = effective(request)

    def pending(self, request: ConfigurationRequest) -> tuple[str, ...]:
        """Names of parameters that only a restart brings to what is wanted."""
        wanted, had = effective(request), effective(self.started_with)
        names = sorted(wanted.keys() | had.keys())
        held = (*STATIC, *request.restart_required)
        return tuple(n for n in names if n in held and wanted.get(n) != had.get(n))

    def set_live(self, request: ConfigurationRequest) -> None:
        """All that can be set, and nothing of former requests remains."""
        held = {*STATIC, *request.restart_required}
        kept = {n: v for n, v in self.values.items() if n in held}
        self.values = kept | {n: v for n, v in effective(request).items() if n not in held}
        self.live = request


class Configuration:
    """The agent's part for one pod: the disk's request, and the engine's state."""

    def __init__(self, disk: OnDisk, picky: Callable[[], bool], port: int) -> None:
        self.disk = disk
        self._picky = picky  # whether this engine refuses REFUSED
        self._port = port  # unless the values say another
        self.engine = Engine()
        self.running = False  # whether the engine process has answered
        self.drift: Drift | None = None
        self.trying: ConfigurationRequest | None = None  # what the starting process has

    def take(self, request: ConfigurationRequest) -> bool:
        """Keep a request; whether it is another one than before."""
        if self.disk.request == request:
            return False
        self.disk.request = request
        self.disk.rejected = None
        return True

    def apply(self) -> bool:
        """Carry out the request in the running engine; whether that changed anything."""
        request = self.disk.request
        if request is None or not self.running or self.engine.live.hash == request.hash:
            return False
        if self.disk.rejected is not None:
            return False
        if self._dislikes(effective(request)):
            self._reject(request, RejectionCause.REFUSED, "Variable can't be set to that value")
            return True
        self.engine.set_live(request)
        return True

    def _dislikes(self, values: Mapping[str, Value]) -> bool:
        return values.get(DYNAMIC) == REFUSED and self._picky()

    def begin(self) -> bool:
        """A process starts with what is wanted; False: it will die before it answers."""
        self.running = False
        self.trying = self.disk.to_start_with
        values = effective(self.trying)
        return values.get("back_log") != DEADLY and not self._dislikes(values)

    def died_at_start(self) -> None:
        """It ended by itself before it answered: back to what was good."""
        request = None if self.running else self.trying
        if request is not None and request.hash and request != self.disk.good:
            self._reject(request, RejectionCause.DID_NOT_START, "[ERROR] Aborting")

    def answers(self) -> None:
        assert self.trying is not None
        self.engine.start(self.trying)
        self.running = True
        if self.trying.hash and not self._is_rejected(self.trying):
            self.disk.good = self.trying

    def reset(self) -> None:
        """A rejected request may be tried again."""
        self.disk.rejected = None

    def meddle(self, value: int) -> None:
        """Somebody changes a value inside the engine; it is found and put right."""
        if self.running:
            wanted = effective(self.engine.live).get(DYNAMIC, "151")
            self.drift = Drift(name=DYNAMIC, found=str(value), restored=str(wanted), at=stamp())

    def status(self) -> ConfigurationStatus:
        request, rejected = self.disk.request, self.disk.rejected
        in_force = self.engine.live if self.running else self.disk.to_start_with
        return ConfigurationStatus(
            accepted=request.hash if request is not None else None,
            live=in_force.hash or None,
            pending_restart=self.engine.pending(in_force) if self.running else (),
            rejected=rejected,
            drift=self.drift,
            port=self.port,
        )

    @property
    def port(self) -> int | None:
        """That the running process was started with."""
        if not self.running:
            return None
        return int(effective(self.engine.started_with).get("port", self._port))

    def in_progress(self) -> bool:
        """Whether a request was taken and nothing has come of it yet."""
        said = self.status()
        return said.accepted is not None and said.accepted != said.live and said.rejected is None

    def _is_rejected(self, request: ConfigurationRequest) -> bool:
        return self.disk.rejected is not None and self.disk.rejected.hash == request.hash

    def _reject(self, request: ConfigurationRequest, cause: RejectionCause, message: str) -> None:
        self.disk.rejected = RejectedConfiguration(hash=request.hash, cause=cause, message=message)
