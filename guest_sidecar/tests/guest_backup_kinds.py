"""Kinds of tasks for the tests of what a task is told and what it answers."""

import os
import sys
from pathlib import Path

from coffer_common.errors import Permanent, Transient, UserError
from coffer_common.wire import StorageAccess
from coffer_guest.pipeline.stop import Cancelled, stopped_by_signal
from coffer_guest.task_child import Outcome, TaskContext


def told(context: TaskContext) -> Outcome:
    # as a library might: the agent must not take it for a report
    sys.stdout.write("for the log\n")
    environment = os.environ | {"argv": " ".join(sys.orig_argv)}
    secret = str(context.payload["secret"])
    leaked = [name for name, text in environment.items() if secret in text]
    return Outcome("told", {"secret_length": len(secret), "leaked": list(leaked)})


def user_error(_: TaskContext) -> str:
    raise UserError("KeyWrong", "it is\nanother key")


def permanent(_: TaskContext) -> str:
    raise Permanent("never")


def transient(_: TaskContext) -> str:
    raise Transient("later")


def input_output(_: TaskContext) -> str:
    raise OSError(28, "No space left on device")


def misunderstood(context: TaskContext) -> str:
    return context.request(StorageAccess).prefix


def careful(context: TaskContext) -> str:
    """Cleans up when it is cancelled."""
    with stopped_by_signal() as stop:
        context.report(1, None)
        try:
            stop.wait(60)
        except Cancelled:
            Path(context.arguments["file"]).write_text("cleaned up")
            raise
    return ""


def chatty(context: TaskContext) -> str:
    for number in range(10_000):
        context.report(number, 10_000)
    return "said"
