"""kubectl coffer config history and rollback: the revisions that a group's status keeps."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from coffer_cli import output, parameters
from coffer_cli.api import CONFIGURATION_GROUP, Object
from coffer_cli.app import (
    App,
    cluster_options,
    complete_groups,
    output_option,
    pass_app,
    wait_options,
)
from coffer_cli.commands.config.edit import values_of
from coffer_cli.errors import CliError, Exit
from coffer_cli.groups import change_values
from coffer_cli.text import NONE, age, table
from coffer_cli.values import Change, Values, changes, comparable, merge_patch, shown
from coffer_common.rules import Rules

Revision = Mapping[str, Any]

_UNKNOWN: Final = "?"  # what was before the oldest revision that is kept


@click.command()
@click.argument("name", shell_complete=complete_groups)
@output_option("table", "json", "yaml")
@cluster_options
@pass_app
def history(app: App, *, name: str, form: str) -> None:
    """Show the last ten revisions of a group's values, and what each of them changed."""
    obj = app.api.get(CONFIGURATION_GROUP, app.here, name)
    revisions = revisions_of(obj)
    rules = parameters.find_rules(app.api, obj["spec"]["datastore"])
    if form != "table":
        entries = [
            {**one, "changes": [vars(change) for change in _changes(revisions, position, rules)]}
            for position, one in enumerate(revisions)
        ]
        output.dump({"group": name, "history": entries}, form)
        return
    if not revisions:
        click.echo(f"{name} has had no valid values yet.", err=True)
        return
    now = app.api.now()
    rows: list[tuple[str, ...]] = []
    for position, one in enumerate(revisions):
        first = (str(one["revision"]), age(one.get("time"), now))
        rows += _rows(first, revisions, position, rules)
    click.echo(table(("revision", "age", "parameter", "before", "after"), rows))


@click.command()
@click.argument("name", shell_complete=complete_groups)
@click.argument("revision", type=int)
@wait_options(600)
@cluster_options
@pass_app
def rollback(app: App, *, name: str, revision: int, wait: bool, timeout_s: float) -> None:
    """Put back all values of an earlier revision; that makes a new one."""

    def change(group: Object) -> Values:
        kept = {int(one["revision"]): one for one in revisions_of(group)}
        if revision not in kept:
            known = ", ".join(map(str, sorted(kept))) or "none"
            raise CliError(
                f"{name} has no revision {revision} any more (kept: {known})", Exit.NOT_FOUND
            )
        return merge_patch(values_of(group), kept[revision].get("values") or {})

    change_values(app, name, change, wait=wait, timeout_s=timeout_s)


def revisions_of(group: Object) -> Sequence[Revision]:
    """The newest first."""
    found: Sequence[Revision] = (group.get("status") or {}).get("history") or ()
    return found


def _changes(revisions: Sequence[Revision], position: int, rules: Rules | None) -> list[Change]:
    """From the one before; everything, where that is not kept. Spellings are no change."""
    before, after = (
        comparable(revisions[at].get("values") or {}, rules) if at < len(revisions) else {}
        for at in (position + 1, position)
    )
    return changes(before, after)


def _rows(
    first: tuple[str, str], revisions: Sequence[Revision], position: int, rules: Rules | None
) -> list[tuple[str, ...]]:
    oldest = position + 1 == len(revisions) and int(revisions[position]["revision"]) > 1
    rows: list[tuple[str, ...]] = []
    for change in _changes(revisions, position, rules):
        parameter = rules.find(change.name) if rules else None
        before = _UNKNOWN if oldest else shown(change.before, parameter)
        head = first if not rows else ("", "")
        rows.append((*head, change.name, before, shown(change.after, parameter)))
    return rows or [(*first, NONE, "", "")]
