"""kubectl coffer create."""

import click

from coffer_cli import judge, output
from coffer_cli.api import INSTANCE, Object
from coffer_cli.app import (
    App,
    cluster_options,
    dry_run_option,
    output_option,
    pass_app,
    wait_options,
)
from coffer_cli.progress import progress
from coffer_cli.syntax import Wish, instance_manifest
from coffer_cli.text import fields
from coffer_cli.waiting import Follower


@click.command()
@click.argument("name")
@click.option(
    "--datastore", required=True, metavar="NAME[:VERSION]", help="Engine, such as mariadb:10.11."
)
@click.option("--flavor", required=True, help="Size: see `kubectl coffer flavors`.")
@click.option("--volume", required=True, metavar="SIZE", help="Size of the volume, such as 10Gi.")
@click.option("--storage-class", help="StorageClass; the cluster's default one if not given.")
@click.option("--database", "databases", multiple=True, help="Database to create; repeatable.")
@click.option(
    "--user",
    "users",
    multiple=True,
    metavar="NAME[@HOST][=DB,…]",
    help="User to create, with all databases unless some are named; repeatable.",
)
@click.option("--configuration", metavar="GROUP", help="ConfigurationGroup to be attached to.")
@click.option(
    "--deletion-policy",
    type=click.Choice(["Retain", "Delete"]),
    help="What becomes of the volume with the instance; Retain if not given.",
)
@click.option("--deletion-protection", is_flag=True, help="Refuse deletion while it is set.")
@dry_run_option
@output_option("json", "yaml", "name", default=None)
@wait_options(600)
@cluster_options
@pass_app
def create(  # noqa: PLR0913 -- one parameter for each option
    app: App,
    *,
    name: str,
    datastore: str,
    flavor: str,
    volume: str,
    storage_class: str | None,
    databases: tuple[str, ...],
    users: tuple[str, ...],
    configuration: str | None,
    deletion_policy: str | None,
    deletion_protection: bool,
    dry_run: str,
    form: str | None,
    wait: bool,
    timeout_s: float,
) -> None:
    """Create a database instance and wait until it is ready.

    Makes the manifest that you could have applied: --dry-run=client -o yaml shows it.
    """
    wish = Wish(
        name=name,
        namespace=app.here,
        datastore=datastore,
        flavor=flavor,
        volume=volume,
        storage_class=storage_class,
        databases=databases,
        users=users,
        configuration=configuration,
        deletion_policy=deletion_policy,
        deletion_protection=deletion_protection,
    )
    obj = instance_manifest(wish)
    if dry_run != "client":
        obj = app.api.create(INSTANCE, obj, dry_run=dry_run == "server")
    suffix = "" if dry_run == "none" else f" ({dry_run} dry run)"
    created = f"{INSTANCE.resource}/{name} created{suffix}"
    if dry_run != "none" or not wait:
        _write(obj, form, created)
        return
    click.echo(created, err=form is not None)
    with progress(name) as shown:
        follower = Follower(app.api, timeout_s)
        obj = follower.until_done(INSTANCE, app.here, name, judge.instance, shown)
    _write(obj, form, summary(obj))


def _write(obj: Object, form: str | None, otherwise: str) -> None:
    if form is None:
        click.echo(otherwise)
    else:
        output.one(INSTANCE, obj, form)


def summary(obj: Object) -> str:
    """Where to connect and with what, once it is ready."""
    name, status = obj["metadata"]["name"], obj.get("status") or {}
    where = status.get("endpoints") or {}
    lines = [("Host", f"{where.get('host')}:{where.get('port')}")]
    lines += [
        (f"User {secret['user']}", f"secret/{secret['name']}")
        for secret in status.get("bindingSecrets") or ()
    ]
    return f"{INSTANCE.resource}/{name} ready\n{fields(lines, indent='  ')}"
