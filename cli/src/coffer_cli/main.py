"""kubectl-coffer: the entry point, the list of commands, the way errors are shown.

`kubectl coffer …` runs the program `kubectl-coffer` that it finds on PATH.
"""

import os
import sys
from typing import Any, Final, NoReturn

import click

from coffer_cli.app import App, cluster_options
from coffer_cli.errors import CliError, Exit
from coffer_cli.lazy import LazyGroup
from coffer_cli.text import printable

_COMPLETION_VARIABLE: Final = "_KUBECTL_COFFER_COMPLETE"
_EPILOG: Final = (
    "Exit codes: 0 done, 1 failed, 2 wrong usage or invalid input, 3 not found, 4 timed out, "
    "5 refused or forbidden."
)

# command: where it is, and what the list of commands says of it
COMMANDS: Final = {
    "create": ("create:create", "Create a database instance and wait until it is ready."),
    "list": ("list:list_", "List database instances."),
    "show": ("show:show", "Show one database instance."),
    "connect": ("connect:connect", "Open the engine's own client as one of the users."),
    "restart": ("operate:restart", "Restart the database of an instance."),
    "reset-status": ("operate:reset_status", "Clear an instance's Error, and observe it anew."),
    "delete": ("delete:delete", "Delete a database instance."),
    "config": ("config.group:config", "Set the parameters of engines: configuration groups."),
    "backup": ("backup.group:backup", "Back up, restore, verify; storages and schedules."),
    "datastores": ("catalogue:datastores", "List the datastores and versions on offer."),
    "flavors": ("catalogue:flavors", "List the sizes on offer."),
    "version": ("version:version", "Show the versions of program, operator and API."),
    "completion": ("completion:completion", "Print the script for completion by a shell."),
}


class _Shown(click.ClickException):
    """A CliError in click's clothes: one line, its own exit code."""

    def __init__(self, error: CliError) -> None:
        super().__init__(error.message)
        vars(self)["exit_code"] = int(error.code)  # click declares it for the class alone

    def show(self, file: Any = None) -> None:
        click.echo(f"error: {printable(self.message)}", file=file or sys.stderr)


class _Commands(LazyGroup):
    """The commands, and the end of every error."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CliError as error:
            raise _Shown(error) from None


@click.group(
    cls=_Commands,
    table=COMMANDS,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@cluster_options
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Databases as a service on Kubernetes: create, look at and use database instances."""
    ctx.call_on_close(ctx.ensure_object(App).close)


def main() -> NoReturn:
    """Run the program with the process's own arguments."""
    completing = _COMPLETION_VARIABLE in os.environ
    cli(
        prog_name="kubectl-coffer" if completing else "kubectl coffer",
        complete_var=_COMPLETION_VARIABLE,
    )
    sys.exit(Exit.OK)
