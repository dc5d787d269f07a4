"""Running other programs: argument lists only, no shell, with a time limit and a readable error."""

import subprocess
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

from coffer_cluster.errors import ClusterError

TAIL_LINES = 15


def run(
    argv: Sequence[object],
    *,
    timeout_s: float = 60,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
    stdin_file: Path | None = None,
    ok_codes: Sequence[int] = (0,),
) -> str:
    """Run to the end and return standard output; any other exit code is an error."""
    words = [str(word) for word in argv]
    try:
        with stdin_file.open("rb") if stdin_file else nullcontext(subprocess.DEVNULL) as source:
            done = subprocess.run(
                words,
                input=stdin,
                stdin=source if stdin is None else None,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                env=env,
                cwd=cwd,
                check=False,
            )
    except FileNotFoundError:
        raise ClusterError(f"program not found: {words[0]}") from None
    except subprocess.TimeoutExpired:
        raise ClusterError(f"{' '.join(words)}: not done after {timeout_s:g} s") from None
    if done.returncode not in ok_codes:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()[-TAIL_LINES:]
        raise ClusterError(f"{' '.join(words)}: exit code {done.returncode}: {chr(10).join(lines)}")
    return done.stdout


def succeeds(argv: Sequence[object], *, timeout_s: float = 30) -> bool:
    try:
        run(argv, timeout_s=timeout_s)
    except ClusterError:
        return False
    return True
