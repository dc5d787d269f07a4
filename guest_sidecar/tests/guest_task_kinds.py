"""Kinds of tasks for the tests of tasks."""

import os
import signal
from pathlib import Path

from coffer_common.errors import Permanent
from coffer_guest.task_child import TaskContext


def quick(context: TaskContext) -> str:
    context.report(1, 2)
    context.report(2, 2)
    return f"did {context.arguments['what']} at nice {os.nice(0)}"


def failing(_: TaskContext) -> str:
    raise Permanent("it cannot\nbe done")


def crashing(_: TaskContext) -> str:
    os.kill(os.getpid(), signal.SIGSEGV)
    return ""


def endless(context: TaskContext) -> str:
    Path(context.arguments["pid_file"]).write_text(str(os.getpid()))
    context.report(1, None)
    while True:
        signal.pause()


def stubborn(context: TaskContext) -> str:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return endless(context)
