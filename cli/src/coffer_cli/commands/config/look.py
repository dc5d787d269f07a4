"""kubectl coffer config list, show, instances: groups as they are."""

from datetime import datetime
from typing import Any

import click

from coffer_cli import judge, output
from coffer_cli.api import CONFIGURATION_GROUP, INSTANCE, Object
from coffer_cli.app import App, cluster_options, complete_groups, output_option, pass_app
from coffer_cli.commands.show import conditions, section, with_message
from coffer_cli.groups import instances as attached
from coffer_cli.text import NONE, age, fields, table


@click.command("list")
@click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="Of all namespaces.")
@output_option()
@cluster_options
@pass_app
def list_(app: App, *, everywhere: bool, form: str) -> None:
    """List configuration groups."""
    items = app.api.list(CONFIGURATION_GROUP, None if everywhere else app.here)
    items.sort(key=lambda item: (item["metadata"].get("namespace", ""), item["metadata"]["name"]))
    now = app.api.now()
    columns = {
        "name": lambda item: str(item["metadata"]["name"]),
        "datastore": _datastore,
        "values": lambda item: str(len(item["spec"].get("values") or {})),
        "ready": lambda item: str(judge.condition(item, "Ready").get("status", "Unknown")),
        "attached": lambda item: str(_status(item).get("attached", 0)),
        "applied": lambda item: str(_status(item).get("applied", 0)),
        "age": lambda item: age(item["metadata"].get("creationTimestamp"), now),
    }
    wide = {
        "description": lambda item: str(item["spec"].get("description") or NONE),
        "status": lambda item: str(judge.condition(item, "Ready").get("message") or NONE),
    }
    here = None if everywhere else app.here
    output.many(CONFIGURATION_GROUP, items, form, columns=columns, wide=wide, here=here)


@click.command()
@click.argument("name", shell_complete=complete_groups)
@output_option("text", "json", "yaml", "name", default="text")
@cluster_options
@pass_app
def show(app: App, *, name: str, form: str) -> None:
    """Show one configuration group: values, instances, conditions."""
    obj = app.api.get(CONFIGURATION_GROUP, app.here, name)
    if form != "text":
        output.one(CONFIGURATION_GROUP, obj, form)
        return
    now = app.api.now()
    parts = [
        fields(_facts(obj, now)),
        section("Values", _values(obj)),
        section("Instances", _instances(obj)),
        section("Conditions", conditions(obj, now)),
    ]
    output.sections(parts)


@click.command()
@click.argument("name", shell_complete=complete_groups)
@output_option("table", "json", "yaml", "name")
@cluster_options
@pass_app
def instances(app: App, *, name: str, form: str) -> None:
    """List the instances attached to a group, and how far each is with its values."""
    obj = app.api.get(CONFIGURATION_GROUP, app.here, name)
    if form in ("json", "yaml"):
        output.dump({"group": name, "instances": [dict(one) for one in attached(obj)]}, form)
    elif form == "name":
        for one in attached(obj):
            click.echo(f"{INSTANCE.resource}/{one['name']}")
    else:
        text = _instances(obj)
        click.echo(text or f"No instance is attached to {name}.", err=not text)


def _facts(obj: Object, now: datetime) -> list[tuple[str, str]]:
    meta, spec, status = obj["metadata"], obj["spec"], _status(obj)
    revisions = status.get("history") or ()
    facts = [
        ("Name", meta["name"]),
        ("Namespace", meta.get("namespace", "")),
        ("Datastore", _datastore(obj)),
        ("Description", spec.get("description") or NONE),
        ("Ready", with_message(judge.condition(obj, "Ready"))),
        ("Attached", f"{status.get('attached', 0)}, {status.get('applied', 0)} applied"),
        ("Max concurrent", (spec.get("rollout") or {}).get("maxConcurrent", 5)),
        ("Revision", revisions[0]["revision"] if revisions else NONE),
        ("Age", age(meta.get("creationTimestamp"), now)),
    ]
    return [(label, str(value)) for label, value in facts]


def _values(obj: Object) -> str:
    from coffer_cli.values import shown  # noqa: PLC0415 -- brings pydantic, which list can do without

    rows = [
        (name, shown(value)) for name, value in sorted((obj["spec"].get("values") or {}).items())
    ]
    return table(("parameter", "value"), rows) if rows else ""


def _instances(obj: Object) -> str:
    rows = [
        (
            str(one.get("name")),
            str(one.get("state")),
            ",".join(one.get("pendingRestart") or ()) or NONE,
            str(one.get("message") or NONE),
        )
        for one in attached(obj)
    ]
    return table(("name", "state", "pending restart", "message"), rows) if rows else ""


def _datastore(obj: Object) -> str:
    datastore = obj["spec"]["datastore"]
    return f"{datastore['type']}:{datastore['version']}"


def _status(obj: Object) -> dict[str, Any]:
    return obj.get("status") or {}
