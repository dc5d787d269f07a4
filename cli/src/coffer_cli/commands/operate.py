"""kubectl coffer restart and reset-status: Operations, made and waited for."""

from datetime import timedelta

import click

from coffer_cli import judge
from coffer_cli.api import INSTANCE, OPERATION
from coffer_cli.app import App, cluster_options, complete_instances, pass_app, wait_options
from coffer_cli.progress import progress
from coffer_cli.syntax import operation_manifest
from coffer_cli.waiting import Follower
from coffer_common.resources.operation import OperationType

_KEPT_S = 24 * 3600  # how long a finished Operation can be looked at
_NOT_IN_FORCE = ("Refused", "RolledBack")
_BEGIN_WITHIN_S = 3600.0  # where nobody waits


@click.command()
@click.argument("name", shell_complete=complete_instances)
@wait_options(300)
@cluster_options
@pass_app
def restart(app: App, *, name: str, wait: bool, timeout_s: float) -> None:
    """Restart the database of an instance and wait until it serves again."""
    _operate(app, name, OperationType.RESTART, wait, timeout_s)


@click.command("reset-status")
@click.argument("name", shell_complete=complete_instances)
@wait_options(120)
@cluster_options
@pass_app
def reset_status(app: App, *, name: str, wait: bool, timeout_s: float) -> None:
    """Clear an instance's Error and back-offs, and observe it anew."""
    _operate(app, name, OperationType.RESET_STATUS, wait, timeout_s)


def _operate(app: App, name: str, what: OperationType, wait: bool, timeout_s: float) -> None:
    app.api.get(INSTANCE, app.here, name)  # a missing instance is said at once
    # An operator that comes back tomorrow must not restart a database that nobody waits for.
    within_s = timeout_s if wait else _BEGIN_WITHIN_S
    not_after = app.api.now() + timedelta(seconds=within_s)
    manifest = operation_manifest(
        name,
        app.here,
        what,
        not_after=not_after.strftime("%Y-%m-%dT%H:%M:%SZ"),
        ttl_s=_KEPT_S,
    )
    operation = app.api.create(OPERATION, manifest)["metadata"]["name"]
    click.echo(f"{OPERATION.resource}/{operation} created")
    if not wait:
        return
    with progress(name) as shown:
        follower = Follower(app.api, timeout_s)
        follower.until_done(OPERATION, app.here, operation, judge.operation, shown)
    done = "restarted" if what is OperationType.RESTART else "status reset"
    click.echo(f"{INSTANCE.resource}/{name} {done}")
    applied = judge.condition(app.api.get(INSTANCE, app.here, name), "ConfigurationApplied")
    if applied.get("reason") in _NOT_IN_FORCE:  # the engine serves, but not as the user hoped
        click.echo(f"{name}: {applied.get('message')}", err=True)
