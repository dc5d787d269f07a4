"""An agent that kills itself before a step of laying out data: guest_dying_agent.py STEP OPTION…"""

import os
import signal
import sys

from coffer_guest import main, settings


def run() -> None:
    wanted = sys.argv[1]

    def die(step: str) -> None:
        if step == wanted:
            os.kill(os.getpid(), signal.SIGKILL)

    main.start(settings.parse(sys.argv[2:], os.environ), die)


if __name__ == "__main__":
    run()
