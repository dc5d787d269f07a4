"""kubectl coffer backup verify."""

from datetime import timedelta
from typing import Final

import click

from coffer_cli import judge
from coffer_cli.api import BACKUP, OPERATION
from coffer_cli.app import App, cluster_options, complete_backups, follow_options, pass_app
from coffer_cli.backups import operation_on_backup
from coffer_cli.errors import CliError, Exit
from coffer_cli.progress import progress
from coffer_cli.text import duration
from coffer_cli.waiting import Follower
from coffer_common.resources.operation import OperationType

_BEGIN_WITHIN_S: Final = 3600.0


@click.command()
@click.argument("name", shell_complete=complete_backups)
@follow_options
@cluster_options
@pass_app
def verify(app: App, *, name: str, follow: bool, timeout_s: float) -> None:
    """Restore a backup into a scratch instance and check it; --follow ends as the proof does."""
    obj = app.api.get(BACKUP, app.here, name)
    view = judge.backup(obj)
    if view.outcome is judge.Outcome.FAILED:
        raise CliError(f"{BACKUP.resource}/{name} cannot be verified: {view.line}", Exit.USAGE)
    within_s = max(timeout_s, _BEGIN_WITHIN_S) if follow else _BEGIN_WITHIN_S
    not_after = (app.api.now() + timedelta(seconds=within_s)).strftime("%Y-%m-%dT%H:%M:%SZ")
    manifest = operation_on_backup(OperationType.VERIFY_BACKUP, app.here, name, not_after=not_after)
    operation = app.api.create(OPERATION, manifest)["metadata"]["name"]
    click.echo(f"{OPERATION.resource}/{operation} created")
    if not follow:
        return
    with progress(name) as shown:
        follower = Follower(app.api, timeout_s)
        ended = follower.until_done(OPERATION, app.here, operation, judge.operation, shown)
    proof = (app.api.get(BACKUP, app.here, name).get("status") or {}).get("verified") or {}
    took = proof.get("durationSeconds")
    far = f" in {duration(took)}" if took is not None else ""
    click.echo(f"{BACKUP.resource}/{name} verified{far}: {judge.operation(ended).message}")
