"""kubectl coffer backup schedule suspend, resume, delete."""

import sys

import click

from coffer_cli.api import BACKUP_SCHEDULE
from coffer_cli.app import App, cluster_options, complete_schedules, pass_app
from coffer_cli.errors import CliError, Exit


@click.command()
@click.argument("name", shell_complete=complete_schedules)
@cluster_options
@pass_app
def suspend(app: App, *, name: str) -> None:
    """Take, prove and remove nothing until it is resumed."""
    _set(app, name, suspended=True)


@click.command()
@click.argument("name", shell_complete=complete_schedules)
@cluster_options
@pass_app
def resume(app: App, *, name: str) -> None:
    """Go on; the latest of what was missed is caught up."""
    _set(app, name, suspended=False)


@click.command()
@click.argument("name", shell_complete=complete_schedules)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@cluster_options
@pass_app
def delete(app: App, *, name: str, yes: bool) -> None:
    """Delete a schedule; the backups that it has made stay, and nothing removes them any more."""
    obj = app.api.get(BACKUP_SCHEDULE, app.here, name)
    if not yes:
        if not _can_ask():
            raise CliError(f"deleting {name} needs --yes where nobody can be asked", Exit.USAGE)
        if not click.confirm(f"Delete schedule {name}? (its backups are kept)", err=True):
            raise CliError("not deleted", Exit.FAILED)
    app.api.delete(BACKUP_SCHEDULE, app.here, name, uid=obj["metadata"]["uid"])
    click.echo(f"{BACKUP_SCHEDULE.resource}/{name} deleted")


def _set(app: App, name: str, *, suspended: bool) -> None:
    before = app.api.get(BACKUP_SCHEDULE, app.here, name)["spec"].get("suspend", False)
    if before != suspended:
        app.api.merge_patch(BACKUP_SCHEDULE, app.here, name, {"spec": {"suspend": suspended}})
    word = "suspended" if suspended else "resumed"
    click.echo(f"{BACKUP_SCHEDULE.resource}/{name} {word if before != suspended else 'unchanged'}")


def _can_ask() -> bool:
    return sys.stdin.isatty()
