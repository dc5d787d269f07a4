"""kubectl coffer as people run it in the end-to-end tests: a plugin on PATH, in a namespace."""

import os
import subprocess
import sys
from pathlib import Path

from e2e_kube import Space

DONE, FAILED, USAGE, NOT_FOUND, REFUSED = 0, 1, 2, 3, 5


def coffer(
    space: Space, *args: str, stdin: str | None = None, code: int = DONE
) -> "subprocess.CompletedProcess[str]":
    """`kubectl coffer args` in the test's namespace; fails on another exit code than `code`."""
    path = [str(space.kube.kubectl.parent), str(Path(sys.executable).parent), os.environ["PATH"]]
    done = subprocess.run(
        ["kubectl", "coffer", args[0], "-n", space.name, *args[1:]],
        env={**os.environ, "PATH": ":".join(path), "KUBECONFIG": str(space.kube.kubeconfig)},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def refusal(space: Space, *args: str, code: int) -> str:
    """The one line that a command ends with that is refused."""
    done = coffer(space, *args, code=code)
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    return line
