"""The one setting of the machine that clusters share: how many file watchers root may have.

A cluster takes about 20, each further node 8, and the usual limit is 128 for all of root. It is
raised by the first cluster that finds it low and put back by the last one that goes.
"""

from pathlib import Path

from coffer_cluster import console, locks
from coffer_cluster.paths import STATE_PREFIX, STATE_ROOT

WATCHERS = Path("/proc/sys/fs/inotify/max_user_instances")
NEEDED = 1024
#: Holds the limit as it was before we raised it.
BEFORE = "watchers-before"
LOCK_TIMEOUT_S = 30


def raise_watchers(state_root: Path = STATE_ROOT, setting: Path = WATCHERS) -> None:
    """Call it once the cluster's state folder exists: that is what keeps the limit up."""
    with locks.exclusive(state_root / "limits.lock", LOCK_TIMEOUT_S):
        present = int(setting.read_text())
        if present >= NEEDED:
            return
        before = state_root / BEFORE
        if not before.exists():
            before.write_text(str(present))
        console.say(f"raising the limit of file watchers from {present} to {NEEDED}")
        setting.write_text(str(NEEDED))


def restore_watchers(state_root: Path = STATE_ROOT, setting: Path = WATCHERS) -> None:
    """Put the limit back if no cluster is left and nobody has changed it since."""
    with locks.exclusive(state_root / "limits.lock", LOCK_TIMEOUT_S):
        before = state_root / BEFORE
        if not before.exists() or _clusters(state_root):
            return
        if int(setting.read_text()) == NEEDED:
            setting.write_text(before.read_text())
        before.unlink()


def _clusters(state_root: Path) -> list[Path]:
    return [path for path in state_root.glob(f"{STATE_PREFIX}*") if path.is_dir()]
