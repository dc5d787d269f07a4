"""Entry point of the operator: `coffer-operator [run | upgrade-crds | --version]`."""

import argparse
import asyncio
import importlib.metadata
import logging
import os
import sys
from collections.abc import Sequence

from coffer_operator.shell import logs

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code: 0 for an end that was asked for, 1 for any other."""
    parser = argparse.ArgumentParser(prog="coffer-operator", description=__doc__)
    parser.add_argument(
        "--version",
        action="version",
        version=f"coffer-operator {importlib.metadata.version('coffer')}",
    )
    parser.add_argument(
        "command",
        nargs="?",
        choices=("run", "upgrade-crds"),
        default="run",
        help="run: the operator (default); upgrade-crds: bring the installed CRDs up to date",
    )
    command = parser.parse_args(arguments).command
    logs.configure(
        os.environ.get("COFFER_LOG_LEVEL", "info"),
        as_json=os.environ.get("COFFER_LOG_FORMAT") == "json",
    )
    return _upgrade_crds() if command == "upgrade-crds" else _run()


def _run() -> int:
    # imported here: the other command needs neither kopf nor cryptography
    from coffer_operator.shell.app import Options, run  # noqa: PLC0415
    from coffer_operator.shell.lease import LeaseLostError  # noqa: PLC0415

    code = 0
    try:
        asyncio.run(run(Options.from_environment(os.environ)))
    except* LeaseLostError as lost:
        log.error("this operator ends: %s", lost.exceptions[0])  # noqa: TRY400  # expected
        code = 1
    return code


def _upgrade_crds() -> int:
    from coffer_common.errors import CofferError  # noqa: PLC0415
    from coffer_operator.shell.upgrade import upgrade_crds  # noqa: PLC0415

    try:
        asyncio.run(upgrade_crds())
    except CofferError as error:
        log.error("the CRDs could not be brought up to date: %s", error)  # noqa: TRY400  # told
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
