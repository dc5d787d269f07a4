"""kubectl coffer backup schedule create."""

import click

from coffer_cli import output
from coffer_cli.api import BACKUP_SCHEDULE, INSTANCE, Object
from coffer_cli.app import (
    App,
    cluster_options,
    complete_instances,
    complete_storages,
    dry_run_option,
    output_option,
    pass_app,
)
from coffer_cli.backups import choose_storage, manifest


@click.command()
@click.argument("instance", shell_complete=complete_instances)
@click.option("--name", help="Of the schedule; INSTANCE if not given.")
@click.option("--full", required=True, metavar="CRON", help="Such as '0 2 * * 0', or @weekly.")
@click.option("--incremental", metavar="CRON", help="When what changed is taken.")
@click.option("--verify", metavar="CRON", help="When the newest one is proved by a test restore.")
@click.option("--time-zone", help="Such as Europe/Berlin; UTC if not given.")
@click.option(
    "--storage", shell_complete=complete_storages, help="BackupStorage, if there are several."
)
@click.option("--keep-count", type=int, metavar="N", help="Keep N full ones, and what they need.")
@click.option("--keep-age", metavar="AGE", help="Keep those that are younger, such as 30d.")
@click.option("--keep-daily", type=int, metavar="N", help="Keep the last one of N days.")
@click.option("--keep-weekly", type=int, metavar="N", help="Keep a full one of N weeks.")
@click.option("--keep-monthly", type=int, metavar="N", help="Keep a full one of N months.")
@click.option(
    "--concurrency",
    type=click.Choice(["Forbid", "Queue"]),
    help="What is due while one is taken is skipped, or waits; skipped if not given.",
)
@click.option(
    "--deletion-policy",
    type=click.Choice(["Delete", "Retain"]),
    help="What becomes of the objects of Backups that go; Delete if not given.",
)
@dry_run_option
@output_option("json", "yaml", "name", default=None)
@cluster_options
@pass_app
def create(  # noqa: PLR0913 -- one parameter for each option
    app: App,
    *,
    instance: str,
    name: str | None,
    full: str,
    incremental: str | None,
    verify: str | None,
    time_zone: str | None,
    storage: str | None,
    keep_count: int | None,
    keep_age: str | None,
    keep_daily: int | None,
    keep_weekly: int | None,
    keep_monthly: int | None,
    concurrency: str | None,
    deletion_policy: str | None,
    dry_run: str,
    form: str | None,
) -> None:
    """Back up an instance by the clock; without any --keep-…, everything stays."""
    app.api.get(INSTANCE, app.here, instance)  # a missing one is said at once
    times = {"full": full, "incremental": incremental, "verify": verify}
    retention = {
        "count": keep_count,
        "maxAge": keep_age,
        "daily": keep_daily,
        "weekly": keep_weekly,
        "monthly": keep_monthly,
    }
    spec: Object = {
        "instanceRef": {"name": instance},
        "storageRef": {"name": choose_storage(app.api, app.here, storage)},
        **{field: {"cron": cron} for field, cron in times.items() if cron is not None},
        **_given(
            timeZone=time_zone,
            concurrencyPolicy=concurrency,
            deletionPolicy=deletion_policy,
            retention=_given(**retention) or None,
        ),
    }
    name = name or instance
    obj = manifest(BACKUP_SCHEDULE, app.here, name, spec)
    if dry_run != "client":
        obj = app.api.create(BACKUP_SCHEDULE, obj, dry_run=dry_run == "server")
    suffix = "" if dry_run == "none" else f" ({dry_run} dry run)"
    if form is None:
        click.echo(f"{BACKUP_SCHEDULE.resource}/{name} created{suffix}")
    else:
        output.one(BACKUP_SCHEDULE, obj, form)


def _given(**fields: object) -> Object:
    """Those that were said something of."""
    return {name: value for name, value in fields.items() if value is not None}
