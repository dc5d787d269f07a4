"""kubectl coffer config create and delete."""

import sys

import click

from coffer_cli import output, parameters
from coffer_cli.api import CONFIGURATION_GROUP
from coffer_cli.app import (
    App,
    cluster_options,
    complete_groups,
    dry_run_option,
    output_option,
    pass_app,
)
from coffer_cli.commands.config.edit import read_file
from coffer_cli.errors import CliError, Exit
from coffer_cli.values import group_manifest, parse_assignments


@click.command()
@click.argument("name")
@click.argument("assignments", nargs=-1, metavar="[PARAMETER=VALUE]...")
@click.option("--datastore", required=True, metavar="NAME[:VERSION]", help="Which engine.")
@click.option("--version", help="Of the engine; the datastore's default one if not given.")
@click.option("-f", "--filename", help="YAML or JSON map of values; - for standard input.")
@click.option("--description", help="What the group is for.")
@dry_run_option
@output_option("json", "yaml", "name", default=None)
@cluster_options
@pass_app
def create(  # noqa: PLR0913 -- one parameter for each option
    app: App,
    *,
    name: str,
    assignments: tuple[str, ...],
    datastore: str,
    version: str | None,
    filename: str | None,
    description: str | None,
    dry_run: str,
    form: str | None,
) -> None:
    """Create a configuration group, with values from a file, from the command line, or both."""
    engine, tag = parameters.split_datastore(
        datastore, version, "write NAME, NAME:VERSION or --version", option="--datastore "
    )
    values = read_file(filename) if filename else {}
    values |= parse_assignments(assignments)
    entry = parameters.datastore_version(app.api, engine, tag)
    parameters.check(parameters.rules_of(entry), values)
    spec = {"type": str(entry["spec"]["datastore"]), "version": str(entry["spec"]["version"])}
    obj = group_manifest(name, app.here, spec, values, description)
    if dry_run != "client":
        obj = app.api.create(CONFIGURATION_GROUP, obj, dry_run=dry_run == "server")
    suffix = "" if dry_run == "none" else f" ({dry_run} dry run)"
    if form is None:
        click.echo(f"{CONFIGURATION_GROUP.resource}/{name} created{suffix}")
    else:
        output.one(CONFIGURATION_GROUP, obj, form)


@click.command()
@click.argument("name", shell_complete=complete_groups)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@cluster_options
@pass_app
def delete(app: App, *, name: str, yes: bool) -> None:
    """Delete a configuration group; refused while an instance is attached to it."""
    obj = app.api.get(CONFIGURATION_GROUP, app.here, name)
    if not yes:
        if not _can_ask():
            raise CliError(f"deleting {name} needs --yes where nobody can be asked", Exit.USAGE)
        if not click.confirm(f"Delete configuration group {name} in {app.here}?", err=True):
            raise CliError("not deleted", Exit.FAILED)
    app.api.delete(CONFIGURATION_GROUP, app.here, name, uid=obj["metadata"]["uid"])
    click.echo(f"{CONFIGURATION_GROUP.resource}/{name} deleted")


def _can_ask() -> bool:
    return sys.stdin.isatty()
