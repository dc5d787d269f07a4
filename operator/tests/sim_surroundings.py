"""What the guests of a simulation share."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from sim_apiserver import ApiServer
from sim_tasks import Bucket

Log = Callable[[str], None]


@dataclass
class Surroundings:
    """What guests share: the world they act in, and what is noted of them."""

    server: ApiServer
    rng: random.Random
    log: Log
    api_reachable: Callable[[str], bool]  # by node
    layouts: list[tuple[str, str, float]] = field(default_factory=list)  # instance, claim, when
    violations: list[str] = field(default_factory=list)
    bucket: Bucket = field(default_factory=Bucket)
    picky: set[tuple[str, str]] = field(default_factory=set)  # instances that refuse a value
