"""kubectl coffer in the end-to-end tests: the program itself, in a namespace.

That kubectl finds it as its plugin is for one test to show; starting kubectl takes longer than
most of the commands.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from e2e_kube import Space

DONE, FAILED, USAGE, NOT_FOUND, REFUSED = 0, 1, 2, 3, 5


def coffer(
    space: Space,
    *args: str,
    stdin: str | None = None,
    code: int = DONE,
    program: Sequence[str] = ("kubectl-coffer",),
) -> "subprocess.CompletedProcess[str]":
    """`kubectl coffer args` in the test's namespace; fails on another exit code than `code`."""
    path = [str(space.kube.kubectl.parent), str(Path(sys.executable).parent), os.environ["PATH"]]
    done = subprocess.run(
        [*program, args[0], "-n", space.name, *args[1:]],
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
