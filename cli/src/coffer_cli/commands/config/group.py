"""kubectl coffer config: the list of its commands."""

from typing import Final

import click

from coffer_cli.app import cluster_options
from coffer_cli.lazy import LazyGroup

# command: where it is, and what the list of commands says of it
COMMANDS: Final = {
    "create": ("config.create:create", "Create a configuration group."),
    "list": ("config.look:list_", "List configuration groups."),
    "show": ("config.look:show", "Show one group: values, instances, conditions."),
    "set": ("config.edit:set_", "Set values; the others stay."),
    "unset": ("config.edit:unset", "Take values out; the others stay."),
    "patch": ("config.edit:patch", "Merge values from a file; null takes one out."),
    "replace": ("config.edit:replace", "Put a file's values in the place of all there are."),
    "history": ("config.history:history", "Show the last ten revisions of a group's values."),
    "rollback": ("config.history:rollback", "Put back the values of an earlier revision."),
    "attach": ("config.attach:attach", "Attach an instance to a group."),
    "detach": ("config.attach:detach", "Detach an instance from its group."),
    "instances": ("config.look:instances", "List the instances attached to a group."),
    "delete": ("config.create:delete", "Delete a group that no instance is attached to."),
    "parameters": ("config.parameters:parameters", "List what can be set, and its limits."),
    "defaults": ("config.compare:defaults", "Show what an instance has without a group."),
    "diff": ("config.compare:diff", "Show where wanted and running values differ."),
}


@click.group(cls=LazyGroup, table=COMMANDS)
@cluster_options
def config() -> None:
    """Set the parameters of engines: configuration groups, and instances attached to them.

    A group has values for the parameters of one datastore version. All instances attached get
    them, at once where the engine can take them while it runs, else at their next restart.
    """
