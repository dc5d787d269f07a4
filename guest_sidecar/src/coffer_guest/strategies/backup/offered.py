"""The child process that finds the strategies for an engine: its manager as argument, JSON out.

A process of its own, since the agent would keep what the strategies import for ever.
"""

import importlib.metadata
import json
import logging
import os
import sys

from coffer_common.errors import UserError
from coffer_common.wire import OfferedStrategy
from coffer_guest.strategies.backup.base import GROUP, load_for

_log = logging.getLogger(__name__)
_NICE = 10


def offered(manager: str) -> tuple[OfferedStrategy, ...]:
    """What a task could use for this engine, by name: `load_for` is the judge here as there."""
    found = []
    for name in sorted(importlib.metadata.entry_points(group=GROUP).names):
        try:
            strategy = load_for(name, manager)
        except UserError:
            continue  # of another engine
        except (ImportError, AttributeError) as error:
            _log.warning("backup strategy %s: %s", name, error)  # a task would not get further
            continue
        found.append(
            OfferedStrategy(
                name=name, incremental=strategy.full is not None, logical=strategy.logical
            )
        )
    return tuple(found)


def main() -> int:
    """Entry point."""
    os.nice(_NICE)
    found = offered(sys.argv[1])
    sys.stdout.write(json.dumps([strategy.model_dump(mode="json") for strategy in found]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
