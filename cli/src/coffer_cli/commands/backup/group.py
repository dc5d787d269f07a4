"""kubectl coffer backup: the list of its commands."""

from typing import Final

import click

from coffer_cli.app import cluster_options
from coffer_cli.lazy import LazyGroup

# command: where it is, and what the list of commands says of it
COMMANDS: Final = {
    "create": ("backup.create:create", "Back up an instance, in full or what changed."),
    "list": ("backup.look:list_", "List backups."),
    "show": ("backup.look:show", "Show one backup: size, position, parent, verification."),
    "restore": ("backup.restore:restore", "Make a new instance from a backup."),
    "load": ("backup.load:load", "Load a dump into an instance that serves."),
    "verify": ("backup.verify:verify", "Prove a backup by restoring it into a scratch instance."),
    "delete": ("backup.delete:delete", "Delete a backup, and its objects in the bucket."),
    "import": ("backup.adopt:import_", "Make Backups of what a bucket holds."),
    "schedule": ("backup.schedule:schedule", "Back up by the clock: full, increments, proofs."),
}


@click.group(cls=LazyGroup, table=COMMANDS)
@cluster_options
def backup() -> None:
    """Back up instances to a bucket, restore them, prove that it works.

    Where to is said by a BackupStorage, which is applied as a manifest: it names Secrets with
    credentials and keys.
    """
