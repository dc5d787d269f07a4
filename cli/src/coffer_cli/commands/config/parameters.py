"""kubectl coffer config parameters: what may be set for an engine."""

from typing import Any, Final

import click
from pydantic.alias_generators import to_camel

from coffer_cli import output
from coffer_cli.app import App, cluster_options, output_option, pass_app
from coffer_cli.errors import CliError, Exit
from coffer_cli.parameters import datastore_version, rules_of, split_datastore
from coffer_cli.text import table
from coffer_cli.values import comparable, shown
from coffer_common.rules import Parameter, ParameterType, size_text

_WIDTH: Final = 60  # of the column with what is allowed; -o wide shows all


@click.command()
@click.argument("datastore")
@click.argument("version", required=False)
@click.option("--search", metavar="TEXT", help="Only those with TEXT in name or description.")
@output_option("table", "wide", "json", "yaml", "name")
@cluster_options
@pass_app
def parameters(
    app: App, *, datastore: str, version: str | None, search: str | None, form: str
) -> None:
    """List the parameters of DATASTORE in VERSION (the default one if not given).

    Those that Coffer sets itself are listed, too, with the reason in the place of what is allowed.
    """
    engine, tag = split_datastore(datastore, version, "write NAME, NAME:VERSION or NAME VERSION")
    entry = datastore_version(app.api, engine, tag)
    rules = rules_of(entry)
    name = f"{engine} {entry['spec']['version']}"
    if rules is None:
        raise CliError(f"this program does not know the parameters of {name}", Exit.FAILED)
    defaults = comparable(entry["spec"].get("defaultValues") or {}, rules)
    found = [p for _, p in sorted(rules.parameters.items()) if _matches(p, search)]
    match form:
        case "json" | "yaml":
            described = [_document(one, defaults) for one in found]
            head = {"datastore": engine, "version": str(entry["spec"]["version"])}
            output.dump({**head, "parameters": described}, form)
        case "name":
            for one in found:
                click.echo(one.name)
        case _ if not found:
            click.echo(f"No parameters of {name} found.", err=True)
        case _:
            _print(found, defaults, wide=form == "wide")


def allowed(parameter: Parameter) -> str:
    """What a value may be, in few words; for one that nobody may set, why."""
    if parameter.read_only:
        return f"read only: {parameter.reason or 'Coffer sets it'}"
    but = ", ".join(shown(one.value, parameter) for one in parameter.forbidden)
    return _range(parameter) + (f", but not {but}" if but else "")


def _range(parameter: Parameter) -> str:
    if parameter.allowed:
        return ", ".join(parameter.allowed)
    if parameter.type is ParameterType.BOOLEAN:
        return "ON, OFF"
    if parameter.type is ParameterType.STRING:
        return parameter.form or parameter.pattern or "any text"
    low, high = (_bound(parameter, limit) for limit in (parameter.min, parameter.max))
    if low and high:
        return f"{low} to {high}"
    return f"at least {low}" if low else f"at most {high}" if high else "any"


def _print(found: list[Parameter], defaults: dict[str, Any], *, wide: bool) -> None:
    headers = ["name", "type", "allowed", "default", "restart"]
    rows = []
    for one in found:
        limits = allowed(one)
        if not wide and len(limits) > _WIDTH:
            limits = limits[: _WIDTH - 1] + "…"
        default = shown(defaults.get(one.name, one.default), one)
        restart = "yes" if one.restart_required else "no"
        row = [one.name, one.type.value, limits, default, restart]
        rows.append([*row, _description(one)] if wide else row)
    click.echo(table([*headers, "description"] if wide else headers, rows))


def _document(one: Parameter, defaults: dict[str, Any]) -> dict[str, Any]:
    """In the spelling of DatastoreVersion.spec.parameters."""
    described = one.model_dump(mode="json", exclude_none=True)
    if one.name in defaults:
        described["default"] = defaults[one.name]
    return {to_camel(key): value for key, value in described.items() if value != []}


def _description(one: Parameter) -> str:
    return f"{one.description} Deprecated: {one.deprecated}" if one.deprecated else one.description


def _matches(parameter: Parameter, search: str | None) -> bool:
    text = f"{parameter.name} {parameter.description}".lower()
    return search is None or search.lower() in text


def _bound(parameter: Parameter, limit: float | None) -> str:
    if limit is None:
        return ""
    if parameter.type is ParameterType.SIZE:
        return size_text(int(limit))
    return f"{limit}{parameter.unit or ''}"
