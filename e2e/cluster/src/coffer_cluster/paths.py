"""Where things lie: state per machine and tag, and the cache of what was built.

Neither lies in the checkout: another checkout must find both, to clean up and to reuse.
"""

import os
from pathlib import Path

STATE_ROOT = Path("/var/lib/coffer")
STATE_PREFIX = "cluster-"
CLUSTER_SOURCES = Path(__file__).resolve().parents[2]
GO_SOURCES = CLUSTER_SOURCES / "go"


def cache_dir() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "coffer"


def state_dir(tag: str) -> Path:
    return STATE_ROOT / f"{STATE_PREFIX}{tag}"


def lock_file(tag: str) -> Path:
    # Beside the state, not in it: the state is removed while the lock is held.
    return STATE_ROOT / f"{STATE_PREFIX}{tag}.lock"
