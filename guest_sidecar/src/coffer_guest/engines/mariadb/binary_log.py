"""How much of the volume the binary log may take.

MariaDB purges by age alone (a bound on the size came with 11.4), so that a burst of writes would
fill a small volume within that time. Looks at the files, and asks the server to purge: it knows
which ones it still needs.
"""

from pathlib import Path
from typing import Final

from coffer_guest.engines.mariadb import configuration
from coffer_guest.engines.mariadb.session import Query

_INDEX: Final = f"{configuration.BINARY_LOG}.index"
_SHARE: Final = 20  # of the volume: a twentieth
_LEAST_BYTES: Final = 64 << 20  # two files
_MOST_BYTES: Final = 4 << 30


def share_bytes(volume_bytes: int) -> int:
    """What all binary logs may take. Pure."""
    return min(max(volume_bytes // _SHARE, _LEAST_BYTES), _MOST_BYTES)


def oldest_kept(data: Path, share: int) -> str | None:
    """The log before which all are to go; None: nothing is to go.

    The one that is written to always stays. Blocking, some stat calls. Raises OSError.
    """
    try:
        names = (data / _INDEX).read_text().split()
    except FileNotFoundError:
        return None
    paths = [data / name for name in names]
    total = 0
    for number in range(len(paths) - 1, -1, -1):
        try:
            total += paths[number].stat().st_size
        except FileNotFoundError:
            continue  # purged meanwhile
        if total > share:
            first = min(number + 1, len(paths) - 1)
            return paths[first].name if first else None
    return None


def purge(query: Query, oldest: str) -> None:
    """Remove the logs before this one, as far as the server does not need them."""
    query("PURGE BINARY LOGS TO %s", oldest)
