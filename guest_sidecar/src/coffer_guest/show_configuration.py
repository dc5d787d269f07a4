"""Prints the instance's configuration by layer, as its agent has it: JSON on standard output.

Run inside the pod, in either container: `python3 -m coffer_guest.show_configuration`. Keys:
`layers` (`template`, `defaults`, `group`), `effective` (all layers together, in one spelling),
`running` (what the engine process runs with; null where none is known) and `pending_restart`.
Standard library only.
"""

import json
import sys

from coffer_guest.paths import Paths


def main() -> int:
    """Entry point; 1 and one line on stderr where there is nothing to show yet."""
    try:
        shown = json.loads(Paths().shown_configuration.read_text())
    except (OSError, ValueError):
        sys.stderr.write("error: the agent has not started an engine in this pod yet\n")
        return 1
    sys.stdout.write(json.dumps(shown, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
