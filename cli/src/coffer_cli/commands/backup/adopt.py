"""kubectl coffer backup import: Backups of what a bucket holds."""

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from coffer_cli import judge, output
from coffer_cli.api import BACKUP, BACKUP_STORAGE, CONFIG_MAP, Object
from coffer_cli.app import App, cluster_options, complete_storages, pass_app, wait_options
from coffer_cli.backups import backup_name, manifest, unique
from coffer_cli.errors import ApiError, CliError, Exit
from coffer_cli.judge import Outcome, View
from coffer_cli.progress import progress
from coffer_cli.text import NONE, table
from coffer_cli.waiting import Follower
from coffer_common import naming
from coffer_common.quantity import readable

Entry = Mapping[str, Any]  # one backup of a listing


@click.command("import")
@click.argument("storage", shell_complete=complete_storages)
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--list", "only_list", is_flag=True, help="Only show what is there; make nothing.")
@click.option("--instance-uid", metavar="UID", help="Only backups of the instance with this uid.")
@click.option(
    "--deletion-policy",
    type=click.Choice(["Delete", "Retain"]),
    default="Retain",
    show_default=True,
    help="What becomes of the objects with these Backups: another cluster may have them, too.",
)
@click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(["table", "json", "yaml"]),
    default="table",
    show_default=True,
    help="Output format of --list.",
)
@wait_options(600)
@cluster_options
@pass_app
def import_(  # noqa: PLR0913 -- one parameter for each option
    app: App,
    *,
    storage: str,
    paths: tuple[str, ...],
    only_list: bool,
    instance_uid: str | None,
    deletion_policy: str,
    form: str,
    wait: bool,
    timeout_s: float,
) -> None:
    """Make Backups of what a bucket holds and nothing here knows of: all, or these PATHs.

    What they say is read from the bucket: nothing else is needed of where they were taken. A
    backup is imported with all that it needs.
    """
    follower = Follower(app.api, timeout_s)
    found = _listed(app, follower, storage)
    chosen = _choose(found, paths, instance_uid)
    present = app.api.list(BACKUP, app.here)
    known = _known(present, storage)
    if only_list:
        _show(chosen, known, form)
        return
    missing = [entry for entry in chosen if entry["path"] not in known]
    names = _make(app, storage, missing, present, deletion_policy)
    if not names:
        click.echo("nothing to import: each of them has a Backup here", err=True)
    if wait:
        _follow(app, follower, names)


# --- the list -------------------------------------------------------------------------------------
def _listed(app: App, follower: Follower, storage: str) -> Sequence[Entry]:
    """What the operator answers to a request of ours. Raises CliError."""
    nonce = uuid.uuid4().hex
    mark = {"metadata": {"annotations": {naming.ANNOTATION_LIST_REQUESTED: nonce}}}
    app.api.merge_patch(BACKUP_STORAGE, app.here, storage, mark)
    with progress(storage) as shown:
        follower.until_done(BACKUP_STORAGE, app.here, storage, lambda obj: _view(obj, nonce), shown)
    listing = app.api.get(CONFIG_MAP, app.here, naming.storage_listing(storage))
    data = listing.get("data") or {}
    try:
        found = json.loads(data["listing.json"])
    except (KeyError, ValueError):
        raise CliError(f"the list of {storage} is not readable; ask for it again") from None
    if data.get("truncated") == "true":
        click.echo(f"{storage} holds more than a list can have: the oldest are missing", err=True)
    return [entry for entry in found if entry.get("path")]


def _view(obj: Object, nonce: str) -> View:
    """Whether our request was answered, or one that came after it."""
    latest = (obj["metadata"].get("annotations") or {}).get(naming.ANNOTATION_LIST_REQUESTED)
    listing = (obj.get("status") or {}).get("listing") or {}
    if listing.get("request") in (nonce, latest):
        if listing.get("error"):
            return View("Failed", str(listing["error"]), Outcome.FAILED)
        return View("Listed", "", Outcome.DONE)
    if judge.is_true(obj, "Stalled"):
        why = str(judge.condition(obj, "Stalled").get("message") or "")
        return View("Stalled", why, Outcome.FAILED)
    if not judge.is_true(obj, "Ready"):
        return View("Waiting", str(judge.condition(obj, "Ready").get("message") or "not Ready"))
    return View("Listing", "what is in the bucket")


def _choose(found: Sequence[Entry], paths: Sequence[str], uid: str | None) -> Sequence[Entry]:
    """Those that are wanted, and what they need. Raises CliError for a path that is not there."""
    by_path = {str(entry["path"]): entry for entry in found}
    absent = [path for path in paths if path not in by_path]
    if absent:
        raise CliError(f"there is no backup at {', '.join(absent)}", Exit.NOT_FOUND)
    wanted = set(paths) or {
        path for path, entry in by_path.items() if uid in (None, entry.get("instanceUid"))
    }
    for path in tuple(wanted):
        parent = by_path[path].get("parent")
        while parent in by_path and parent not in wanted:
            wanted.add(parent)
            parent = by_path[parent].get("parent")
    return [entry for entry in found if entry["path"] in wanted]


def _known(present: Sequence[Object], storage: str) -> dict[str, str]:
    """Names of the Backups that there are for that storage, by path."""
    known = {}
    for item in present:
        path = (item.get("status") or {}).get("path") or item["spec"].get("path")
        if path and item["spec"].get("storageRef", {}).get("name") == storage:
            known[str(path)] = str(item["metadata"]["name"])
    return known


def _show(entries: Sequence[Entry], known: Mapping[str, str], form: str) -> None:
    if form != "table":
        items = [{**entry, "backup": known.get(str(entry["path"]))} for entry in entries]
        output.dump({"items": items}, form)
        return
    if not entries:
        click.echo("No backups found.", err=True)
        return
    rows = [
        (
            str(entry["path"]),
            str(entry.get("instance") or NONE),
            str(entry.get("type") or NONE),
            f"{entry.get('datastore')} {entry.get('engineVersion')}",
            readable(int(entry.get("sizeBytes") or 0)),
            str(entry.get("finishedAt") or NONE),
            str((entry.get("verified") or {}).get("result") or NONE),
            known.get(str(entry["path"]), NONE),
        )
        for entry in entries
    ]
    columns = ("path", "instance", "type", "engine", "size", "finished", "verified", "backup")
    click.echo(table(columns, rows))


# --- the Backups ----------------------------------------------------------------------------------
def _make(
    app: App, storage: str, entries: Sequence[Entry], present: Sequence[Object], policy: str
) -> list[str]:
    """Names of the Backups made."""
    taken = {str(item["metadata"]["name"]) for item in present}
    names: list[str] = []
    for entry in entries:
        spec = {
            "path": entry["path"],
            "storageRef": {"name": storage},
            "deletionPolicy": policy,
        }
        name = unique(_name(entry), taken | set(names))
        app.api.create(BACKUP, manifest(BACKUP, app.here, name, spec))
        click.echo(f"{BACKUP.resource}/{name} created for {entry['path']}")
        names.append(name)
    return names


def _name(entry: Entry) -> str:
    """As the command line names backups: whose, what, and when it was finished."""
    try:
        moment = datetime.fromisoformat(str(entry.get("finishedAt"))).astimezone(UTC)
    except ValueError:
        return "imported-" + naming.short_hash(str(entry["path"]))
    return backup_name(str(entry.get("instance") or "imported"), str(entry.get("type")), moment)


def _follow(app: App, follower: Follower, names: Sequence[str]) -> None:
    """Until each was looked at; one that is damaged holds back no other. Raises CliError."""
    failures = []
    for name in names:
        with progress(name) as shown:
            try:
                follower.until_done(BACKUP, app.here, name, judge.backup, shown)
            except ApiError:
                raise
            except CliError as error:
                if error.code is Exit.TIMED_OUT:
                    raise
                failures.append(error.message)
    if failures:
        raise CliError("; ".join(failures))
    if names:
        click.echo(f"{len(names)} imported")
