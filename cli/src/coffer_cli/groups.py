"""Configuration groups as commands change and follow them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import click

from coffer_cli import judge
from coffer_cli.api import CONFIGURATION_GROUP, Api, Object
from coffer_cli.app import App
from coffer_cli.errors import ApiError
from coffer_cli.progress import progress
from coffer_cli.waiting import Follower

# the operator writes statuses meanwhile, each of which is a conflict; another's edit is rarer
_ATTEMPTS: Final = 10
_CONFLICT: Final = 409
_HAVE_IT: Final = ("Applied", "PendingRestart")


def edit(
    api: Api, namespace: str, name: str, change: Callable[[Object], Mapping[str, Any]]
) -> tuple[Object, bool]:
    """The group, and whether it is another one now. Raises CliError.

    `change` makes of the group as it is now a merge patch for its values. Where somebody else was
    faster it is asked again, so that of two people who edit at once neither loses anything.
    """
    attempt = 1
    while True:
        group = api.get(CONFIGURATION_GROUP, namespace, name)
        patch = change(group)
        if not patch:
            return group, False
        version = group["metadata"]["resourceVersion"]
        body = {"metadata": {"resourceVersion": version}, "spec": {"values": patch}}
        try:
            return api.merge_patch(CONFIGURATION_GROUP, namespace, name, body), True
        except ApiError as error:
            if error.status != _CONFLICT or attempt == _ATTEMPTS:
                raise
            attempt += 1


def change_values(
    app: App,
    name: str,
    change: Callable[[Object], Mapping[str, Any]],
    *,
    wait: bool,
    timeout_s: float,
) -> None:
    """Edit a group's values, say so, and follow them into the instances."""
    _, changed = edit(app.api, app.here, name, change)
    word = "changed" if changed else "unchanged"
    click.echo(f"{CONFIGURATION_GROUP.resource}/{name} {word}")
    if not wait:
        return
    with progress(name) as display:
        follower = Follower(app.api, timeout_s)
        group = follower.until_done(CONFIGURATION_GROUP, app.here, name, judge.group, display)
    click.echo(f"{CONFIGURATION_GROUP.resource}/{name} {judge.group(group).message}")
    for one in instances(group):
        note_restart(str(one["name"]), one.get("pendingRestart") or ())
        if one.get("state") not in _HAVE_IT:
            why = one.get("message") or one.get("state")
            click.echo(f"{one['name']}: does not have the values yet: {why}", err=True)


def instances(group: Object) -> Sequence[Mapping[str, Any]]:
    """The instances attached, as the group's status has them."""
    found: Sequence[Mapping[str, Any]] = (group.get("status") or {}).get("instances") or ()
    return found


def note_restart(instance: str, pending: Sequence[str]) -> None:
    """Say what takes effect only at the next restart, and how to have one."""
    if pending:
        click.echo(
            f"{instance}: at its next restart: {', '.join(pending)} "
            f"(kubectl coffer restart {instance})",
            err=True,
        )
