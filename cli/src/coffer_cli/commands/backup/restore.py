"""kubectl coffer backup restore: a new instance whose data come from a backup."""

from collections.abc import Mapping
from typing import Any, Final

import click

from coffer_cli import judge, output
from coffer_cli.api import BACKUP, DATASTORE_VERSION, INSTANCE, Api, Object, is_missing
from coffer_cli.app import (
    App,
    cluster_options,
    dry_run_option,
    follow_options,
    output_option,
    pass_app,
)
from coffer_cli.commands.create import summary
from coffer_cli.errors import ApiError, CliError, Exit
from coffer_cli.progress import progress
from coffer_cli.syntax import check_instance, parse_datastore
from coffer_cli.waiting import Follower
from coffer_common.naming import API_VERSION

# what a restored instance has in common with the one that the backup was taken of
_COPIED: Final = ("flavor", "volume", "databases", "users", "configurationRef")


@click.command()
@click.argument("names", nargs=-1, metavar="[BACKUP] NEW-INSTANCE")
@click.option(
    "--location",
    nargs=2,
    metavar="STORAGE PATH",
    help="Instead of BACKUP: a BackupStorage, and <instance-uid>/base/<backup-uid> in it.",
)
@click.option("--datastore", metavar="NAME[:VERSION]", help="The backup's if not given.")
@click.option("--flavor", help="That of the instance backed up if not given.")
@click.option("--volume", metavar="SIZE", help="The same.")
@click.option("--storage-class", help="The same.")
@dry_run_option
@output_option("json", "yaml", "name", default=None)
@follow_options
@cluster_options
@pass_app
def restore(  # noqa: PLR0913 -- one parameter for each option
    app: App,
    *,
    names: tuple[str, ...],
    location: tuple[str, str] | None,
    datastore: str | None,
    flavor: str | None,
    volume: str | None,
    storage_class: str | None,
    dry_run: str,
    form: str | None,
    follow: bool,
    timeout_s: float,
) -> None:
    """Make a new instance from a backup and all that it needs.

    Flavor, volume, databases, users and configuration are those of the instance that was backed
    up, as far as it is still there; users get new passwords.
    """
    backup, name = _names(names, location)
    spec = _from_backup(app, backup) if backup is not None else _from_location(location)
    if datastore is not None:
        spec["datastore"] = parse_datastore(datastore)
    if flavor is not None:
        spec["flavor"] = flavor
    size = {"size": volume} if volume is not None else {}
    chosen = {"storageClassName": storage_class} if storage_class is not None else {}
    if size or chosen:
        spec["volume"] = {**spec.get("volume", {}), **size, **chosen}
    obj = _manifest(name, app.here, spec)
    if dry_run != "client":
        obj = app.api.create(INSTANCE, obj, dry_run=dry_run == "server")
    suffix = "" if dry_run == "none" else f" ({dry_run} dry run)"
    created = f"{INSTANCE.resource}/{name} created{suffix}"
    if dry_run != "none" or not follow:
        _write(obj, form, created)
        return
    click.echo(created, err=form is not None)
    with progress(name) as shown:
        follower = Follower(app.api, timeout_s)
        obj = follower.until_done(INSTANCE, app.here, name, judge.instance, shown)
    _write(obj, form, summary(obj))


def _names(names: tuple[str, ...], location: tuple[str, str] | None) -> tuple[str | None, str]:
    match names:
        case (name,) if location is not None:
            return None, name
        case (backup, name) if location is None:
            return backup, name
        case _:
            raise CliError(
                "write BACKUP NEW-INSTANCE, or --location STORAGE PATH NEW-INSTANCE", Exit.USAGE
            )


def _from_location(location: tuple[str, str] | None) -> Object:
    storage, path = location or ("", "")
    return {"restoreFrom": {"location": {"storageRef": {"name": storage}, "path": path}}}


def _from_backup(app: App, name: str) -> Object:
    """What can be known of the new instance's spec by the backup and by what it was taken of."""
    backup = app.api.get(BACKUP, app.here, name)
    view = judge.backup(backup)
    if view.outcome is not judge.Outcome.DONE:
        raise CliError(f"{BACKUP.resource}/{name} cannot be restored: {view.line}", Exit.USAGE)
    source = _source(app, backup)
    spec: Object = {field: source[field] for field in _COPIED if source.get(field)}
    datastore = source.get("datastore") or _datastore(app.api, backup)
    if datastore:
        spec["datastore"] = datastore
    return {**spec, "restoreFrom": {"backupRef": {"name": name}}}


def _source(app: App, backup: Object) -> Object:
    """The spec of the instance that was backed up; empty where it is gone, or was another one."""
    name = (backup["spec"].get("instanceRef") or {}).get("name")
    if name is None:
        return {}
    try:
        instance = app.api.get(INSTANCE, app.here, name)
    except ApiError as error:
        if is_missing(error):
            return {}
        raise
    spec: Object = dict(instance["spec"])
    settled: Mapping[str, Any] = (instance.get("status") or {}).get("datastore") or {}
    if settled.get("version"):
        spec["datastore"] = {"type": settled["type"], "version": settled["version"]}
    held = (backup.get("status") or {}).get("datastore")
    return spec if held in (None, spec["datastore"]["type"]) else {}


def _datastore(api: Api, backup: Object) -> dict[str, str] | None:
    """The datastore of the backup, in the version of the catalogue that its engine had."""
    status = backup.get("status") or {}
    held, engine = status.get("datastore"), str(status.get("engineVersion") or "")
    if held is None:
        return None
    versions = [
        str(entry["spec"]["version"])
        for entry in api.list(DATASTORE_VERSION, None)
        if entry["spec"]["datastore"] == held and entry["spec"].get("active", True)
    ]
    fitting = [v for v in versions if engine == v or engine.startswith((f"{v}.", f"{v}-"))]
    return {"type": held, **({"version": max(fitting, key=len)} if fitting else {})}


def _manifest(name: str, namespace: str, spec: Object) -> Object:
    missing = [
        f"--{option}" for option in ("datastore", "flavor", "volume") if not spec.get(option)
    ]
    if not missing and not spec["volume"].get("size"):
        missing = ["--volume"]
    if missing:
        raise CliError(
            f"{' and '.join(missing)} must be given: there is no instance to copy it from",
            Exit.USAGE,
        )
    check_instance(name, spec)
    return {
        "apiVersion": API_VERSION,
        "kind": INSTANCE.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def _write(obj: Object, form: str | None, otherwise: str) -> None:
    if form is None:
        click.echo(otherwise)
    else:
        output.one(INSTANCE, obj, form)
