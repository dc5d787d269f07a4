"""A restore that kills itself before a step: guest_dying_restore.py STEP COUNT VOLUME RUN.

It dies before that step for the COUNTth time; configuration and payload come on stdin, a line each.
"""

import json
import os
import signal
import sys
from pathlib import Path

from coffer_common.wire import GuestConfig
from coffer_guest.engines.base import Site
from coffer_guest.strategies.backup.restore import restore_by_steps
from coffer_guest.task_child import TaskContext


def run() -> None:
    wanted, count, volume, folder = sys.argv[1:]
    instance = GuestConfig.model_validate_json(sys.stdin.readline())
    context = TaskContext(
        arguments={},
        site=Site(Path(volume, "data"), Path(volume, "tmp"), Path(folder)),
        report=lambda *_: None,
        payload=json.loads(sys.stdin.readline()),
        instance=instance,
        volume=Path(volume),
    )
    left = int(count)

    def die(step: str) -> None:
        nonlocal left
        left -= step == wanted
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    restore_by_steps(context, die)


if __name__ == "__main__":
    run()
