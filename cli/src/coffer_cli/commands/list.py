"""kubectl coffer list."""

import click

from coffer_cli import judge, output
from coffer_cli.api import INSTANCE, Object
from coffer_cli.app import App, cluster_options, output_option, pass_app
from coffer_cli.text import NONE, age


@click.command("list")
@click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="Of all namespaces.")
@output_option()
@cluster_options
@pass_app
def list_(app: App, *, everywhere: bool, form: str) -> None:
    """List database instances."""
    items = app.api.list(INSTANCE, None if everywhere else app.here)
    items.sort(key=lambda item: (item["metadata"].get("namespace", ""), item["metadata"]["name"]))
    now = app.api.now()
    columns = {
        "name": lambda item: str(item["metadata"]["name"]),
        "datastore": datastore,
        "flavor": lambda item: str(item["spec"].get("flavor", "")),
        "phase": lambda item: str(_status(item).get("phase") or "Pending"),
        "ready": lambda item: str(judge.condition(item, "Ready").get("status", "Unknown")),
        "role": lambda item: str(_status(item).get("role") or NONE),
        "volume": lambda item: str(item["spec"].get("volume", {}).get("size", "")),
        "used": _used,
        "age": lambda item: age(item["metadata"].get("creationTimestamp"), now),
    }
    wide = {
        "host": lambda item: str((_status(item).get("endpoints") or {}).get("host") or NONE),
        "status": lambda item: str(judge.condition(item, "Ready").get("message") or NONE),
    }
    here = None if everywhere else app.here
    output.many(INSTANCE, items, form, columns=columns, wide=wide, here=here)


def datastore(item: Object) -> str:
    """`mariadb:10.11`; the version that is in use, else the one asked for, else none."""
    asked = item["spec"].get("datastore", {})
    version = (_status(item).get("datastore") or {}).get("version") or asked.get("version")
    return f"{asked.get('type', '')}:{version}" if version else str(asked.get("type", ""))


def _status(item: Object) -> Object:
    return item.get("status") or {}


def _used(item: Object) -> str:
    used = (_status(item).get("volume") or {}).get("usedPercent")
    return NONE if used is None else f"{used}%"
