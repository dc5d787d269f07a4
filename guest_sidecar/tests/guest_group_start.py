"""Run without rights, as a program: starts an engine once with a group's values, or examines rules.

`start MANAGER SEED`: values on stdin as JSON; exit 1 and the engine's log where it does not serve.
`examine MANAGER`: parameters on stdin as JSON; the disagreements on stdout.
"""

import dataclasses
import importlib
import json
import sys
import tempfile
from pathlib import Path

from coffer_common.errors import CofferError
from coffer_common.parameter import Parameter
from coffer_common.templates import render
from coffer_common.wire import FlavorSize
from coffer_guest.engines import base
from coffer_guest.engines.examination import Examine, served
from coffer_guest.layout import copy_tree

VERSIONS = {"mariadb": "10.11", "redis": "7.0"}
TINY = FlavorSize(ram_bytes=512 * 1024**2, vcpus=0.25)


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A killed engine's child may be writing a last file while it is removed."""
    return tempfile.TemporaryDirectory(
        prefix="coffer-group-", dir="/tmp", ignore_cleanup_errors=True
    )


def start(manager: str, seed: str) -> int:
    with scratch() as name:
        home = Path(name)
        copy_tree(Path(seed), home / "data")
        for folder in ("etc", "tmp", "run"):
            (home / folder).mkdir()
        site = base.Site(home / "data", home / "tmp", home / "run", "127.0.0.1")
        engine = base.load(manager)(site)
        template = render(manager, VERSIONS[manager], TINY)
        layers = base.Layers(template, {}, json.load(sys.stdin), port=0)
        files = engine.configuration(home / "etc", layers, {"server_id": "7"})
        for file, text in files.items():
            (home / "etc" / file).write_text(text)
        engine.before_start()
        argv = engine.launch(home / "etc").argv
        try:
            with served(argv, home, home / "run" / f"{manager}.sock"):
                return 0
        except CofferError as error:
            sys.stdout.write(str(error))
            return 1


def examine(manager: str) -> int:
    rules = [Parameter.model_validate(entry) for entry in json.load(sys.stdin)]
    ask: Examine = importlib.import_module(f"coffer_guest.engines.{manager}.parameters").examine
    with scratch() as home:
        found = ask({str(number): rule for number, rule in enumerate(rules)}, Path(home))
    sys.stdout.write(json.dumps(dataclasses.asdict(found)))
    return 0


if __name__ == "__main__":
    if sys.argv[1] == "start":
        sys.exit(start(sys.argv[2], sys.argv[3]))
    sys.exit(examine(sys.argv[2]))
