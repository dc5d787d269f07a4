"""kubectl coffer backup delete."""

import sys

import click

from coffer_cli.api import BACKUP, Object, is_missing
from coffer_cli.app import App, cluster_options, complete_backups, pass_app, wait_options
from coffer_cli.backups import needing
from coffer_cli.errors import ApiError, CliError, Exit
from coffer_cli.progress import progress
from coffer_cli.waiting import Follower
from coffer_common.naming import ANNOTATION_DELETE_CHAIN


@click.command()
@click.argument("name", shell_complete=complete_backups)
@click.option("--cascade", is_flag=True, help="And all that cannot be restored without it.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@wait_options(600)
@cluster_options
@pass_app
def delete(app: App, *, name: str, cascade: bool, yes: bool, wait: bool, timeout_s: float) -> None:
    """Delete a backup: first its objects in the bucket, unless its deletionPolicy is Retain."""
    obj = app.api.get(BACKUP, app.here, name)
    children = needing(name, app.api.list(BACKUP, app.here))
    names = [str(child["metadata"]["name"]) for child in children]
    if children and not cascade and not _keeps_objects(obj):
        raise CliError(
            f"{BACKUP.resource}/{name} is needed by {', '.join(names)}; "
            "delete them first, or all of them with --cascade",
            Exit.REFUSED,
        )
    chain = [*children, obj] if cascade else [obj]
    if not yes:
        _ask(chain)
    for one in chain:
        _delete(app, one, needed=cascade and bool(children))
    follower = Follower(app.api, timeout_s)
    for one in chain:
        own, uid = str(one["metadata"]["name"]), one["metadata"]["uid"]
        if wait:
            with progress(own) as shown:
                follower.until_gone(BACKUP, app.here, own, uid, shown)
        click.echo(f"{BACKUP.resource}/{own} deleted")
        if _keeps_objects(one):
            where = (one.get("status") or {}).get("location") or "its objects"
            click.echo(f"{where} kept")


def _delete(app: App, obj: Object, *, needed: bool) -> None:
    """Those that need it are gone, or going; where the status is behind, the annotation says so."""
    name = obj["metadata"]["name"]
    try:
        if needed:
            mark = {"metadata": {"annotations": {ANNOTATION_DELETE_CHAIN: "true"}}}
            app.api.merge_patch(BACKUP, app.here, name, mark)
        app.api.delete(BACKUP, app.here, name, uid=obj["metadata"]["uid"])
    except ApiError as error:
        if not is_missing(error):
            raise


def _ask(chain: list[Object]) -> None:
    name = str(chain[-1]["metadata"]["name"])
    if not _can_ask():
        raise CliError(f"deleting {name} needs --yes where nobody can be asked", Exit.USAGE)
    also = [str(one["metadata"]["name"]) for one in chain[:-1]]
    what = f"backup {name}" + (f" and {', '.join(also)}, which need it" if also else "")
    kept = all(_keeps_objects(one) for one in chain)
    fate = "what is in the bucket is kept" if kept else "what is in the bucket is DELETED"
    if not click.confirm(f"Delete {what}? ({fate})", err=True):
        raise CliError("not deleted", Exit.FAILED)


def _can_ask() -> bool:
    return sys.stdin.isatty()


def _keeps_objects(obj: Object) -> bool:
    return bool(obj["spec"].get("deletionPolicy") == "Retain")
