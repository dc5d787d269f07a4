"""The child process that renders a template: what to render on stdin as JSON, the text on stdout.

A process of its own, since the agent would keep what jinja2 needs for ever, and since it runs
beside the agent's other work. Imports little.
"""

import json
import sys
from typing import NamedTuple

from coffer_common import templates
from coffer_common.errors import Permanent


class _Size(NamedTuple):
    ram_bytes: int
    vcpus: float


def main() -> int:
    """Entry point; 1 and one line on stderr where there is no such template."""
    message = json.load(sys.stdin)
    try:
        text = templates.render(
            message["datastore"], message["version"], _Size(**message["flavor"])
        )
    except Permanent as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
