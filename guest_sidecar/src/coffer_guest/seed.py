"""Makes the pre-initialised data directory of an image: `python -m coffer_guest.seed MANAGER DIR`.

Run when an image is built, as the user that engines run as, and by the tests; never on a volume.
"""

import sys
from pathlib import Path

from coffer_common.errors import Permanent
from coffer_guest.engines.base import load


def make(manager: str, directory: Path) -> None:
    """Fill `directory`, which must be absent or empty. Raises Permanent, OSError."""
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise Permanent(f"{directory} is not empty")
    load(manager).initialise(directory)


def main() -> int:
    """Entry point."""
    if len(sys.argv) != 3:
        sys.stderr.write("usage: python -m coffer_guest.seed MANAGER DIRECTORY\n")
        return 2
    make(sys.argv[1], Path(sys.argv[2]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
