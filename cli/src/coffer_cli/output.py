"""Writing results to standard output: tables, JSON, YAML, names."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from coffer_cli.api import Kind, Object
from coffer_cli.text import table

FORMATS = ("table", "wide", "json", "yaml", "name")


def name_of(kind: Kind, obj: Mapping[str, Any]) -> str:
    """`databaseinstance.coffer.dev/shop`."""
    return f"{kind.resource}/{obj['metadata'].get('name', '')}"


def clean(obj: Object) -> Object:
    """The object without the book-keeping that kubectl does not show either."""
    metadata = {k: v for k, v in obj.get("metadata", {}).items() if k != "managedFields"}
    return {**obj, "metadata": metadata}


def dump(document: Mapping[str, Any], output: str) -> None:
    """Write a document as JSON or YAML."""
    if output == "json":
        click.echo(json.dumps(document, indent=4, ensure_ascii=False))
    else:
        import yaml  # noqa: PLC0415 -- only where it is asked for: it takes a while to import

        click.echo(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), nl=False)


def one(kind: Kind, obj: Object, output: str) -> None:
    """Write one object in any format but a table."""
    if output == "name":
        click.echo(name_of(kind, obj))
    else:
        dump(clean(obj), output)


def many(
    kind: Kind,
    items: Sequence[Object],
    output: str,
    *,
    columns: Mapping[str, Callable[[Object], str]],
    wide: Mapping[str, Callable[[Object], str]],
    here: str | None = None,
) -> None:
    """Write a list in any format; of the namespace `here`, or of all that there are."""
    match output:
        case "json" | "yaml":
            document = {
                "apiVersion": "v1",
                "kind": "List",
                "metadata": {"resourceVersion": ""},
                "items": [clean(item) for item in items],
            }
            dump(document, output)
        case "name":
            for item in items:
                click.echo(name_of(kind, item))
        case _ if not items:
            where = f" in {here} namespace" if here is not None else ""
            click.echo(f"No resources found{where}.", err=True)
        case _:
            several = {"namespace": _namespace} if kind.namespaced and here is None else {}
            shown = {**several, **columns, **(wide if output == "wide" else {})}
            rows = [[cell(item) for cell in shown.values()] for item in items]
            click.echo(table(list(shown), rows))


def sections(parts: Sequence[str]) -> None:
    """Write what is there of the parts, one below the other."""
    click.echo("\n".join(part for part in parts if part))


def _namespace(item: Object) -> str:
    return str(item["metadata"].get("namespace", ""))
