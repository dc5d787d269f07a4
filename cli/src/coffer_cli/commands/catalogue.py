"""kubectl coffer datastores and flavors: what an administrator offers."""

import click

from coffer_cli import output
from coffer_cli.api import DATASTORE_VERSION, FLAVOR, Object
from coffer_cli.app import App, cluster_options, output_option, pass_app
from coffer_cli.text import age
from coffer_common.quantity import parse_bytes


@click.command()
@output_option()
@cluster_options
@pass_app
def datastores(app: App, *, form: str) -> None:
    """List the datastores and versions that instances may use."""
    items = app.api.list(DATASTORE_VERSION, None)
    items.sort(key=lambda item: str(item["metadata"]["name"]))
    now = app.api.now()
    columns = {
        "name": lambda item: str(item["metadata"]["name"]),
        "datastore": lambda item: str(item["spec"].get("datastore", "")),
        "version": lambda item: str(item["spec"].get("version", "")),
        "default": lambda item: _yes(item["spec"].get("default", False)),
        "active": lambda item: _yes(item["spec"].get("active", True)),
        "min-volume": lambda item: str(item["spec"].get("minVolumeSize", "")),
        "age": lambda item: age(item["metadata"].get("creationTimestamp"), now),
    }
    wide = {
        "flavors": lambda item: ",".join(item["spec"].get("flavors") or ()) or "<all>",
        "image": lambda item: str(item["spec"].get("image", "")),
    }
    output.many(DATASTORE_VERSION, items, form, columns=columns, wide=wide)


@click.command()
@output_option()
@cluster_options
@pass_app
def flavors(app: App, *, form: str) -> None:
    """List the sizes that instances may have, the smallest first."""
    items = sorted(app.api.list(FLAVOR, None), key=_by_size)
    now = app.api.now()
    columns = {
        "name": lambda item: str(item["metadata"]["name"]),
        "vcpus": lambda item: str(item["spec"].get("vcpus", "")),
        "ram": lambda item: str(item["spec"].get("ram", "")),
        "age": lambda item: age(item["metadata"].get("creationTimestamp"), now),
    }
    output.many(FLAVOR, items, form, columns=columns, wide={})


def _by_size(item: Object) -> tuple[int, str]:
    try:
        ram_bytes = parse_bytes(str(item["spec"].get("ram", "0")))
    except ValueError:
        ram_bytes = 0
    return ram_bytes, str(item["metadata"]["name"])


def _yes(value: object) -> str:
    return "true" if value else "false"
