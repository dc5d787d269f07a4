"""kubectl coffer backup create."""

import click

from coffer_cli import judge, output
from coffer_cli.api import BACKUP, INSTANCE, Object
from coffer_cli.app import (
    App,
    cluster_options,
    complete_backups,
    complete_instances,
    complete_storages,
    dry_run_option,
    follow_options,
    output_option,
    pass_app,
)
from coffer_cli.backups import backup_name, choose_storage, manifest
from coffer_cli.errors import CliError, Exit
from coffer_cli.progress import progress
from coffer_cli.text import duration
from coffer_cli.waiting import Follower


@click.command()
@click.argument("instance", shell_complete=complete_instances)
@click.option("--name", help="Of the Backup; INSTANCE-full-<time> if not given.")
@click.option("--full", is_flag=True, help="Everything; so it is if nothing else is said.")
@click.option("--incremental", is_flag=True, help="What changed since the parent.")
@click.option(
    "--parent",
    shell_complete=complete_backups,
    help="Backup to continue; the instance's newest one if not given.",
)
@click.option(
    "--storage", shell_complete=complete_storages, help="BackupStorage, if there are several."
)
@click.option("--strategy", help="The DatastoreVersion's if not given; MySQLDump for statements.")
@click.option("--database", "databases", multiple=True, help="To dump; repeatable, else all.")
@click.option("--keep", is_flag=True, help="No schedule's retention removes it.")
@click.option(
    "--deletion-policy",
    type=click.Choice(["Delete", "Retain"]),
    help="What becomes of the objects with the Backup; Delete if not given.",
)
@dry_run_option
@output_option("json", "yaml", "name", default=None)
@follow_options
@cluster_options
@pass_app
def create(  # noqa: PLR0913 -- one parameter for each option
    app: App,
    *,
    instance: str,
    name: str | None,
    full: bool,
    incremental: bool,
    parent: str | None,
    storage: str | None,
    strategy: str | None,
    databases: tuple[str, ...],
    keep: bool,
    deletion_policy: str | None,
    dry_run: str,
    form: str | None,
    follow: bool,
    timeout_s: float,
) -> None:
    """Back up an instance; --follow shows how far it is."""
    kind = _kind(full=full, incremental=incremental, parent=parent)
    if databases and strategy is None:
        raise CliError("--database needs --strategy, such as MySQLDump", Exit.USAGE)
    app.api.get(INSTANCE, app.here, instance)  # a missing one is said at once
    spec: Object = {
        "instanceRef": {"name": instance},
        "storageRef": {"name": choose_storage(app.api, app.here, storage)},
        "type": kind,
        **({"parentRef": {"name": parent}} if parent else {}),
        **({"strategy": strategy} if strategy else {}),
        **({"databases": list(databases)} if databases else {}),
        **({"keep": True} if keep else {}),
        **({"deletionPolicy": deletion_policy} if deletion_policy else {}),
    }
    name = name or backup_name(instance, kind, app.api.now())
    obj = manifest(BACKUP, app.here, name, spec)
    if dry_run != "client":
        obj = app.api.create(BACKUP, obj, dry_run=dry_run == "server")
    suffix = "" if dry_run == "none" else f" ({dry_run} dry run)"
    created = f"{BACKUP.resource}/{name} created{suffix}"
    if dry_run != "none" or not follow:
        _write(obj, form, created)
        return
    click.echo(created, err=form is not None)
    with progress(name) as shown:
        follower = Follower(app.api, timeout_s)
        obj = follower.until_done(BACKUP, app.here, name, judge.backup, shown)
    _write(obj, form, summary(obj))


def summary(obj: Object) -> str:
    """What came of it, in one line."""
    status = obj.get("status") or {}
    took = status.get("durationSeconds")
    far = f" in {duration(took)}" if took is not None else ""
    said = status.get("message") or "it is there"
    return f"{BACKUP.resource}/{obj['metadata']['name']} completed{far}: {said}"


def _kind(*, full: bool, incremental: bool, parent: str | None) -> str:
    if full and (incremental or parent):
        other = "--incremental" if incremental else "--parent"
        raise CliError(f"--full and {other}: give one of them", Exit.USAGE)
    return "incremental" if incremental or parent else "full"


def _write(obj: Object, form: str | None, otherwise: str) -> None:
    if form is None:
        click.echo(otherwise)
    else:
        output.one(BACKUP, obj, form)
