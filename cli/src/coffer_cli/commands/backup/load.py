"""kubectl coffer backup load: a dump, into an instance that serves."""

import sys

import click

from coffer_cli import judge
from coffer_cli.api import BACKUP, INSTANCE, OPERATION
from coffer_cli.app import (
    App,
    cluster_options,
    complete_backups,
    complete_instances,
    follow_options,
    pass_app,
)
from coffer_cli.backups import operation_on_backup
from coffer_cli.errors import CliError, Exit
from coffer_cli.progress import progress
from coffer_cli.waiting import Follower
from coffer_common.resources.operation import OperationType


@click.command()
@click.argument("name", metavar="BACKUP", shell_complete=complete_backups)
@click.argument("instance", shell_complete=complete_instances)
@click.option("--database", "databases", multiple=True, help="Of the dump; repeatable, else all.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@follow_options
@cluster_options
@pass_app
def load(
    app: App,
    *,
    name: str,
    instance: str,
    databases: tuple[str, ...],
    yes: bool,
    follow: bool,
    timeout_s: float,
) -> None:
    """Load a dump into an instance: tables of the same names are REPLACED, nothing else."""
    app.api.get(BACKUP, app.here, name)
    app.api.get(INSTANCE, app.here, instance)
    if not yes:
        _ask(name, instance, databases)
    manifest = operation_on_backup(
        OperationType.RESTORE_DATABASES, app.here, name, instance=instance, databases=databases
    )
    operation = app.api.create(OPERATION, manifest)["metadata"]["name"]
    click.echo(f"{OPERATION.resource}/{operation} created")
    if not follow:
        return
    with progress(instance) as shown:
        follower = Follower(app.api, timeout_s)
        ended = follower.until_done(OPERATION, app.here, operation, judge.operation, shown)
    said = judge.operation(ended).message
    click.echo(f"{INSTANCE.resource}/{instance} loaded from {name}" + (f": {said}" if said else ""))


def _ask(name: str, instance: str, databases: tuple[str, ...]) -> None:
    if not _can_ask():
        raise CliError(f"loading {name} needs --yes where nobody can be asked", Exit.USAGE)
    which = f" in {', '.join(databases)}" if databases else ""
    question = f"Replace the tables of {instance} that are in the dump {name}{which}?"
    if not click.confirm(question, err=True):
        raise CliError("not loaded", Exit.FAILED)


def _can_ask() -> bool:
    return sys.stdin.isatty()
