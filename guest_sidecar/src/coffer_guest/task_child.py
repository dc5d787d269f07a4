"""The child process of a task: reads what to do from stdin, reports on stdout, a line each.

Runs at low priority and ends when the agent does. Imports only what its task needs.
"""

import ctypes
import importlib
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from coffer_common.errors import CofferError
from coffer_guest.engines.base import Site

_NICE: Final = 10
_PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True, slots=True)
class TaskContext:
    """What a task function gets. It returns one line of result, or raises a CofferError."""

    arguments: Mapping[str, str]
    site: Site
    report: Callable[[int, int | None], None]  # bytes done, bytes in all if known


def site_message(site: Site) -> dict[str, object]:
    """A Site for the child's input."""
    return {
        "data": str(site.data),
        "tmp": str(site.tmp),
        "run": str(site.run),
        "address": site.address,
    }


def main() -> int:
    """Entry point; 0 when the task is complete, 1 when it failed and said why."""
    os.nice(_NICE)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    message = json.loads(sys.stdin.readline())
    module, _, name = message["run"].partition(":")
    function: Callable[[TaskContext], str] = getattr(importlib.import_module(module), name)
    site = message["site"]
    context = TaskContext(
        arguments=message["arguments"],
        site=Site(
            **{key: Path(site[key]) for key in ("data", "tmp", "run")},
            address=site["address"],
        ),
        report=lambda done, total: _say({"bytes_done": done, "bytes_total": total}),
    )
    try:
        _say({"message": function(context)})
    except CofferError as error:
        _say({"message": " ".join(str(error).split())})
        return 1
    return 0


def _say(report: Mapping[str, object]) -> None:
    sys.stdout.write(json.dumps(report) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
