"""kubectl coffer config set, unset, patch, replace: edits of a group's values."""

import click

from coffer_cli import parameters
from coffer_cli.api import Object
from coffer_cli.app import App, cluster_options, complete_groups, pass_app, wait_options
from coffer_cli.errors import CliError, Exit
from coffer_cli.groups import change_values
from coffer_cli.values import Values, merge_patch, parse_assignments, parse_document, respelled
from coffer_common.rules import Rules

_ROLLOUT_S = 600


@click.command("set")
@click.argument("name", shell_complete=complete_groups)
@click.argument("assignments", nargs=-1, required=True, metavar="PARAMETER=VALUE...")
@wait_options(_ROLLOUT_S)
@cluster_options
@pass_app
def set_(
    app: App, *, name: str, assignments: tuple[str, ...], wait: bool, timeout_s: float
) -> None:
    """Set values of a group, and wait until its instances have them."""
    wanted = parse_assignments(assignments)
    _merge(app, name, wanted, wait=wait, timeout_s=timeout_s)


@click.command()
@click.argument("name", shell_complete=complete_groups)
@click.argument("names", nargs=-1, required=True, metavar="PARAMETER...")
@wait_options(_ROLLOUT_S)
@cluster_options
@pass_app
def unset(app: App, *, name: str, names: tuple[str, ...], wait: bool, timeout_s: float) -> None:
    """Take values out of a group: its instances go back to the default ones."""

    def change(group: Object) -> Values:
        present = values_of(group)
        dropped = respelled(dict.fromkeys(names), present, rules_for(app, group))
        for one in dropped:
            if one not in present:
                hint = parameters.nearest(one, present)
                raise CliError(f"{name} has no value for {one}{hint}", Exit.NOT_FOUND)
        return dropped

    change_values(app, name, change, wait=wait, timeout_s=timeout_s)


@click.command()
@click.argument("name", shell_complete=complete_groups)
@click.option("-f", "--filename", required=True, help="YAML or JSON map; - for standard input.")
@wait_options(_ROLLOUT_S)
@cluster_options
@pass_app
def patch(app: App, *, name: str, filename: str, wait: bool, timeout_s: float) -> None:
    """Merge values from a file into a group; null takes a value out."""
    wanted = read_file(filename, nulls=True)
    _merge(app, name, wanted, wait=wait, timeout_s=timeout_s)


@click.command()
@click.argument("name", shell_complete=complete_groups)
@click.option("-f", "--filename", required=True, help="YAML or JSON map; - for standard input.")
@wait_options(_ROLLOUT_S)
@cluster_options
@pass_app
def replace(app: App, *, name: str, filename: str, wait: bool, timeout_s: float) -> None:
    """Put the values of a file in the place of all that a group has; nothing else remains."""
    wanted = read_file(filename)

    def change(group: Object) -> Values:
        parameters.check(rules_for(app, group), wanted)
        return merge_patch(values_of(group), wanted)

    change_values(app, name, change, wait=wait, timeout_s=timeout_s)


def read_file(filename: str, *, nulls: bool = False) -> Values:
    """The values in a file, - being standard input. Raises CliError."""
    try:
        with click.open_file(filename, encoding="utf-8") as file:
            text = file.read()
    except OSError as error:
        raise CliError(f"{filename}: {error.strerror}", Exit.USAGE) from None
    except UnicodeDecodeError:
        raise CliError(f"{filename}: this is not text", Exit.USAGE) from None
    return parse_document(text, filename, nulls=nulls)


def values_of(group: Object) -> Values:
    """spec.values, which may be absent."""
    return dict(group["spec"].get("values") or {})


def rules_for(app: App, group: Object) -> Rules | None:
    """The rules for a group's values; None where they cannot be had."""
    return parameters.find_rules(app.api, group["spec"]["datastore"])


def _merge(app: App, name: str, wanted: Values, *, wait: bool, timeout_s: float) -> None:
    def change(group: Object) -> Values:
        rules = rules_for(app, group)
        present = values_of(group)
        parameters.check(rules, wanted)
        merged = present | respelled(wanted, present, rules)
        return merge_patch(present, {k: v for k, v in merged.items() if v is not None})

    change_values(app, name, change, wait=wait, timeout_s=timeout_s)
