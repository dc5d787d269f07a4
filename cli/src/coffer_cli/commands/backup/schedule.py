"""kubectl coffer backup schedule: the list of its commands."""

from typing import Final

import click

from coffer_cli.app import cluster_options
from coffer_cli.lazy import LazyGroup

# command: where it is, and what the list of commands says of it
COMMANDS: Final = {
    "create": ("backup.schedule_create:create", "Back up an instance by the clock."),
    "list": ("backup.schedule_look:list_", "List schedules: what was last, what is next."),
    "show": ("backup.schedule_look:show", "Show one schedule: times, retention, backups."),
    "suspend": ("backup.schedule_change:suspend", "Take, prove and remove nothing for a while."),
    "resume": ("backup.schedule_change:resume", "Go on; what was missed is caught up once."),
    "delete": ("backup.schedule_change:delete", "Delete a schedule; its backups stay."),
}


@click.group(cls=LazyGroup, table=COMMANDS)
@cluster_options
def schedule() -> None:
    """Back up instances by the clock: full backups, increments, proofs, and which of them stay."""
