"""What an Engine is made of that is not its own: the world outside, what decides, what is chosen.

Types alone; nothing is done here.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from coffer_operator.act.calls import draw_password
from coffer_operator.act.execute import Issuer
from coffer_operator.guest.api import AgentClient
from coffer_operator.kube.api import Key, KubeApi
from coffer_operator.observe.world import CertificateReader
from coffer_operator.shell.backups import (
    BackupPlanner,
    SchedulePlanner,
    StoragePlanner,
    VerificationPlanner,
)
from coffer_operator.shell.cohorts import GroupPlanner, TurnPlanner
from coffer_operator.shell.reconcile import Outcome, Planner

DEFAULT_WORKERS: Final = 16


class Certificates(Issuer, CertificateReader, Protocol):
    """Makes and reads the agents' certificates."""


@dataclass(frozen=True)
class Settings:
    """What a deployment may choose."""

    operator_namespace: str = "coffer-system"
    workers: int = DEFAULT_WORKERS
    watch_own: bool = True  # False: somebody else feeds OWN_KINDS after the first list
    image: str = ""  # the operator's own, of storage workers; "": there are none
    pull_secrets: tuple[str, ...] = ()  # for guest images, by name in each namespace


class Observing(Protocol):
    """Who is told how long each look took, and at what kind of object."""

    def looked(self, kind: str, outcome: Outcome, seconds: float) -> None: ...


class Looker(Protocol):
    """Does the work on one key."""

    async def reconcile(self, key: Key) -> Outcome: ...


@dataclass(frozen=True)
class Planners:
    """What decides: pure functions of a World."""

    instance: Planner
    group: GroupPlanner
    turns: TurnPlanner
    storage: StoragePlanner
    backup: BackupPlanner
    verification: VerificationPlanner
    schedule: SchedulePlanner


@dataclass(frozen=True)
class Outside:
    """Everything that the engine does not do by itself.

    `now` is UTC; `rng` is for jitter alone; `draw` draws passwords. Loop time is the event loop's.
    """

    api: KubeApi
    agents: AgentClient
    certificates: Certificates
    now: Callable[[], datetime]
    rng: random.Random
    draw: Callable[[], str] = draw_password
