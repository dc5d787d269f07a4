"""Prints the instance's configuration by layer, as its agent has it: JSON on standard output.

Run inside the pod, in either container: `python3 -m coffer_guest.show_configuration`. Keys:
`layers` (`template`, `defaults`, `group`), `effective` (all layers together, in one spelling),
`running` (what the engine process runs with; null where none is known), `pending_restart` and
`rejected` (why the engine does not run with these; null where it does, or will).
Standard library only.
"""

import json
import sys
from pathlib import Path

from coffer_guest.paths import Paths


def main() -> int:
    """Entry point: show_configuration [RUN]; 1 and a line on stderr while there is nothing yet."""
    paths = Paths(run=Path(sys.argv[1])) if len(sys.argv) > 1 else Paths()
    try:
        shown = json.loads(paths.shown_configuration.read_text())
    except (OSError, ValueError):
        sys.stderr.write("error: the agent has not started an engine in this pod yet\n")
        return 1
    sys.stdout.write(json.dumps(shown, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
