"""Programs in an instance's pod, run by kubectl's exec so that terminals and logins work as there.

Needs kubectl on PATH and the right to pods/exec.
"""

import shutil
import subprocess
from collections.abc import Sequence
from typing import Final

from coffer_cli.app import App
from coffer_cli.errors import CliError, Exit
from coffer_common import naming

_TIMEOUT_S: Final = 60


def exec_command(app: App, instance: str, why: str) -> list[str]:
    """`kubectl exec` into the instance's pod, options and program to be added. Raises CliError."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise CliError(f"{why} needs kubectl on PATH", Exit.USAGE)
    return [kubectl, *app.kubectl_flags(), "exec", naming.pod(instance)]


def run(command: Sequence[str], what: str, stdin: str | None = None) -> str:
    """What it prints. Raises CliError `cannot <what>: <why>`."""
    try:
        done = subprocess.run(
            command,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CliError("the pod does not answer an exec", Exit.TIMED_OUT) from None
    if done.returncode != 0:
        text = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        refused = "(Forbidden)" in text
        raise CliError(
            f"cannot {what}: {text.removeprefix('error: ')}",
            Exit.REFUSED if refused else Exit.FAILED,
        )
    return done.stdout.strip()
