"""kubectl coffer config attach and detach."""

from collections.abc import Mapping
from typing import Any

import click

from coffer_cli import judge
from coffer_cli.api import CONFIGURATION_GROUP, INSTANCE, Object
from coffer_cli.app import (
    App,
    cluster_options,
    complete_groups,
    complete_instances,
    pass_app,
    wait_options,
)
from coffer_cli.errors import CliError, Exit
from coffer_cli.groups import note_restart
from coffer_cli.progress import progress
from coffer_cli.waiting import Follower


@click.command()
@click.argument("instance", shell_complete=complete_instances)
@click.argument("group", shell_complete=complete_groups)
@wait_options(300)
@cluster_options
@pass_app
def attach(app: App, *, instance: str, group: str, wait: bool, timeout_s: float) -> None:
    """Attach an instance to a group, in the place of the one that it had, if any."""
    obj = app.api.get(INSTANCE, app.here, instance)
    _same_engine(obj, app.api.get(CONFIGURATION_GROUP, app.here, group))
    _refer(app, obj, group, wait=wait, timeout_s=timeout_s)


@click.command()
@click.argument("instance", shell_complete=complete_instances)
@wait_options(300)
@cluster_options
@pass_app
def detach(app: App, *, instance: str, wait: bool, timeout_s: float) -> None:
    """Detach an instance from its group: its values go back to the default ones."""
    obj = app.api.get(INSTANCE, app.here, instance)
    _refer(app, obj, None, wait=wait, timeout_s=timeout_s)


def _refer(app: App, obj: Object, group: str | None, *, wait: bool, timeout_s: float) -> None:
    name = str(obj["metadata"]["name"])
    former = (obj["spec"].get("configurationRef") or {}).get("name")
    if former != group:
        reference = {"name": group} if group else None
        app.api.merge_patch(INSTANCE, app.here, name, {"spec": {"configurationRef": reference}})
    click.echo(f"{INSTANCE.resource}/{name} {_word(former, group)}")
    if not wait:
        return
    with progress(name) as display:
        follower = Follower(app.api, timeout_s)
        obj = follower.until_done(INSTANCE, app.here, name, judge.configured, display)
    report: Mapping[str, Any] = (obj.get("status") or {}).get("configuration") or {}
    click.echo(f"{INSTANCE.resource}/{name} configured")
    note_restart(name, report.get("pendingRestart") or ())


def _word(former: str | None, group: str | None) -> str:
    if former == group:
        return f"unchanged (attached to {group})" if group else "unchanged (no group)"
    return f"attached to {group}" if group else f"detached from {former}"


def _same_engine(obj: Object, group: Object) -> None:
    """Raises CliError where the group is for another datastore or version."""
    asked, found = obj["spec"]["datastore"], (obj.get("status") or {}).get("datastore") or {}
    wanted = group["spec"]["datastore"]
    version = found.get("version") or asked.get("version")
    if wanted["type"] == asked["type"] and version in (None, wanted["version"]):
        return
    instance, name = obj["metadata"]["name"], group["metadata"]["name"]
    engine = f"{asked['type']} {version}" if version else asked["type"]
    raise CliError(
        f"{name} is for {wanted['type']} {wanted['version']}, {instance} is {engine}", Exit.USAGE
    )
