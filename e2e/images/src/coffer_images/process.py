"""Running a builder: its output line by line, a time limit, and an end that leaves nothing."""

import subprocess
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from coffer_cluster.errors import ClusterError

TAIL_LINES = 20
#: In namespaces of its own a program leaves no mount and no child behind, and it ends with the
#: thread that started it, however that ends.
CONFINED = (
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
)


def stream(
    argv: Sequence[str], *, log: Path, timeout_s: float, on_line: Callable[[str], None]
) -> None:
    """Run to the end; all output goes to `log` as well. Raises ClusterError with its last lines."""
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("w") as file,
        subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        late = threading.Event()

        def end() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(timeout_s, end)
        timer.start()
        try:
            for line in process.stdout or ():
                file.write(line)
                tail.append(line.rstrip())
                on_line(line)
            code = process.wait()
        finally:
            timer.cancel()
            process.kill()
    if late.is_set():
        raise ClusterError(f"{argv[0]}: not done after {timeout_s:g} s; its output is in {log}")
    if code != 0:
        lines = "\n".join(tail)
        raise ClusterError(f"exit code {code}; the whole output is in {log}:\n{lines}")
