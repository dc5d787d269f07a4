"""kubectl coffer delete."""

import sys

import click

from coffer_cli.api import INSTANCE, POD, Object
from coffer_cli.app import App, cluster_options, complete_instances, pass_app, wait_options
from coffer_cli.errors import ApiError, CliError, Exit
from coffer_cli.progress import progress
from coffer_cli.waiting import Follower
from coffer_common import naming


@click.command()
@click.argument("name", shell_complete=complete_instances)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@wait_options(300)
@cluster_options
@pass_app
def delete(app: App, *, name: str, yes: bool, wait: bool, timeout_s: float) -> None:
    """Delete a database instance; its data volume stays unless its deletionPolicy is Delete."""
    obj = app.api.get(INSTANCE, app.here, name)
    if not yes:
        _ask(obj)
    pod_uid = _pod_uid(app, name) if wait else None
    app.api.delete(INSTANCE, app.here, name, uid=obj["metadata"]["uid"])
    if wait:
        follower = Follower(app.api, timeout_s)
        with progress(name) as shown:
            follower.until_gone(INSTANCE, app.here, name, obj["metadata"]["uid"], shown)
            if pod_uid is not None:
                follower.until_gone(POD, app.here, naming.pod(name), pod_uid, shown)
    click.echo(f"{INSTANCE.resource}/{name} deleted")
    if _keeps_volume(obj):
        click.echo(f"persistentvolumeclaim/{naming.data_volume(name)} kept, with its data")


def _ask(obj: Object) -> None:
    name, namespace = obj["metadata"]["name"], obj["metadata"].get("namespace")
    if not _can_ask():
        raise CliError(f"deleting {name} needs --yes where nobody can be asked", Exit.USAGE)
    volume = naming.data_volume(name)
    fate = (
        f"its data volume {volume} is kept"
        if _keeps_volume(obj)
        else f"its data volume {volume} is DELETED WITH ALL DATA"
    )
    question = f"Delete database instance {name} in namespace {namespace}? ({fate})"
    if not click.confirm(question, err=True):
        raise CliError("not deleted", Exit.FAILED)


def _can_ask() -> bool:
    return sys.stdin.isatty()


def _keeps_volume(obj: Object) -> bool:
    return bool(obj["spec"].get("deletionPolicy", "Retain") == "Retain")


def _pod_uid(app: App, name: str) -> str | None:
    """The pod to wait for; none where there is none, or where it is not ours to see."""
    try:
        return str(app.api.get(POD, app.here, naming.pod(name))["metadata"]["uid"])
    except ApiError as error:
        if error.code in (Exit.NOT_FOUND, Exit.REFUSED):
            return None
        raise
