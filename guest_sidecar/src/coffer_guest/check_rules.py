"""Asks an engine whether the rules for its parameters are true.

`python -m coffer_guest.check_rules DATASTORE VERSION`, in a guest image or wherever the engine is
installed, starts it in a directory of its own and ends it. For whoever brings a new engine version:
what it prints is what to mend in validation-rules.json. Never part of the agent.
"""

import argparse
import dataclasses
import importlib
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from coffer_common import rules
from coffer_common.errors import CofferError, Permanent
from coffer_guest.engines import base
from coffer_guest.engines.examination import Examination, Examine

_AGREED: Final = 0
_DISAGREED: Final = 1
_FAILED: Final = 2
_WIDTH: Final = 100
_DESCRIPTION: Final = "Ask the installed engine whether the rules for its parameters are true."


def examine(datastore: str, version: str, manager: str | None = None) -> Examination:
    """Asks the installed engine about the rules of a datastore version.

    `manager` is the engine's plugin, named like the datastore unless it is said. Raises Permanent
    where there are no rules, no plugin or no engine, or where the engine does not start.
    """
    known = rules.load(datastore, version)
    module = base.load(manager or datastore).__module__
    ask: Examine = importlib.import_module(f"{module}.parameters").examine
    # short: a socket's path has 107 bytes
    with tempfile.TemporaryDirectory(
        prefix="coffer-rules-", dir="/tmp", ignore_cleanup_errors=True
    ) as home:
        return ask(known.parameters, Path(home))


def table(found: Examination) -> str:
    """The result for a person."""
    count = len(found.disagreements)
    lines = [f"{found.examined} rules examined with {found.engine}: {count} disagreements"]
    width = max((len(one.parameter) for one in found.disagreements), default=0)
    lines += [f"  {one.parameter:<{width}}  {one.text}" for one in found.disagreements]
    if found.without_rule:
        lines.append(f"{len(found.without_rule)} parameters of the engine have no rule:")
        lines += _columns(found.without_rule)
    return "\n".join(lines) + "\n"


def _columns(names: Sequence[str]) -> list[str]:
    lines = [" "]
    for name in names:
        if len(lines[-1]) + len(name) > _WIDTH:
            lines.append(" ")
        lines[-1] += f" {name}"
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point: 0 the engine agrees, 1 it does not, 2 it cannot be asked."""
    parser = argparse.ArgumentParser(prog="check_rules", description=_DESCRIPTION)
    parser.add_argument("datastore", help="such as mariadb")
    parser.add_argument("version", help="such as 10.11")
    parser.add_argument("--manager", help="the engine's plugin, unless named like the datastore")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args(argv)
    try:
        if os.geteuid() == 0:
            raise Permanent("engines do not run as root: start this as another user")
        found = examine(arguments.datastore, arguments.version, arguments.manager)
    except CofferError as error:
        sys.stderr.write(f"error: {error}\n")
        return _FAILED
    text = json.dumps(dataclasses.asdict(found), indent=2) + "\n"
    sys.stdout.write(text if arguments.json else table(found))
    return _DISAGREED if found.disagreements else _AGREED


if __name__ == "__main__":
    sys.exit(main())
