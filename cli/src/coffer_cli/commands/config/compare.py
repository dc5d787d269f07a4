"""kubectl coffer config defaults and diff: what an instance's engine has, and why.

The layers are known inside the pod only, where the template is rendered; a program of the agent's
container prints them.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

import click

from coffer_cli import output, parameters
from coffer_cli.api import INSTANCE, Object
from coffer_cli.app import App, cluster_options, complete_instances, output_option, pass_app
from coffer_cli.errors import CliError
from coffer_cli.pod import exec_command, run
from coffer_cli.text import NONE, table
from coffer_cli.values import normal, shown
from coffer_common import naming
from coffer_common.rules import ParameterType, Rules

Layer = Mapping[str, Any]

_PROGRAM: Final = ("python3", "-m", "coffer_guest.show_configuration")
_LAYERS: Final = ("group", "defaults", "template")  # the first one that has a value wins


@click.command()
@click.argument("name", shell_complete=complete_instances)
@output_option("table", "json", "yaml")
@cluster_options
@pass_app
def defaults(app: App, *, name: str, form: str) -> None:
    """Show what an instance has where its group says nothing.

    From the template for its datastore version and flavor, and from the DatastoreVersion's
    defaultValues, which come above it.
    """
    obj = app.api.get(INSTANCE, app.here, name)
    layers = _ask(app, name)["layers"]
    found = {layer: dict(layers.get(layer) or {}) for layer in ("template", "defaults")}
    if form != "table":
        output.dump({"instance": name, **found}, form)
        return
    rules = parameters.find_rules(app.api, _datastore(obj))
    rows = []
    for parameter in sorted({*found["template"], *found["defaults"]}):
        layer = "defaults" if parameter in found["defaults"] else "template"
        rows.append((parameter, _text(parameter, found[layer][parameter], rules), layer))
    click.echo(table(("parameter", "value", "from"), rows))


@click.command()
@click.argument("name", shell_complete=complete_instances)
@output_option("table", "json", "yaml")
@cluster_options
@pass_app
def diff(app: App, *, name: str, form: str) -> None:
    """Show the parameters whose running value is another one than the wanted one, and why."""
    obj = app.api.get(INSTANCE, app.here, name)
    report = _ask(app, name)
    if report.get("running") is None:
        raise CliError(f"the engine of {name} does not run: there is nothing to compare with")
    rules = parameters.find_rules(app.api, _datastore(obj))
    found = differences(report, rules)
    rejected = report.get("rejected")
    if form != "table":
        pending = list(report.get("pending_restart") or ())
        said = {"instance": name, "differences": found, "pendingRestart": pending}
        output.dump({**said, "rejected": rejected}, form)
        return
    if rejected is not None:
        click.echo(f"{name} does not run with the values of its group: {rejected}", err=True)
    elif not found:
        click.echo(f"{name} runs with the values that are wanted.", err=True)
        return
    rows = [
        (
            str(one["name"]),
            _text(one["name"], one["wanted"], rules),
            _text(one["name"], one["running"], rules),
            str(one["from"] or NONE),
            _when(one, rejected),
        )
        for one in found
    ]
    if rows:
        click.echo(table(("parameter", "wanted", "running", "from", "takes effect"), rows))


def _when(one: Mapping[str, Any], rejected: str | None) -> str:
    if rejected is not None:
        return "not: rejected"
    return "at the next restart" if one["pendingRestart"] else "to be put right"


def differences(report: Mapping[str, Any], rules: Rules | None) -> list[dict[str, Any]]:
    """What runs otherwise than it is wanted, by name; another spelling is no difference.

    A parameter that awaits a restart is one, whatever the engine says of it.
    """
    layers, running = report["layers"], report["running"]
    wanted: Layer = report["effective"]
    pending = set(report.get("pending_restart") or ())
    return [
        {
            "name": name,
            "wanted": wanted.get(name),
            "running": running.get(name),
            "from": next((one for one in _LAYERS if name in (layers.get(one) or {})), None),
            "pendingRestart": name in pending,
        }
        for name in sorted({*wanted, *running, *pending})
        if name in pending or not _alike(name, wanted.get(name), running.get(name), rules)
    ]


def _alike(name: str, one: Any, other: Any, rules: Rules | None) -> bool:
    first, second = (normal(name, value, rules) for value in (one, other))
    parameter = rules.find(name) if rules is not None else None
    if parameter is not None and parameter.type is ParameterType.STRING:
        return bool(first == second)  # KE and Ke are two things to a Redis
    return bool(first == second or str(first).casefold() == str(second).casefold())


def _text(name: str, value: Any, rules: Rules | None) -> str:
    parameter = rules.find(name) if rules else None
    return shown(normal(name, value, rules), parameter)


def _ask(app: App, name: str) -> dict[str, Any]:
    """What the program in the pod prints. Raises CliError."""
    command = [*exec_command(app, name, "this"), "-c", naming.GUEST_CONTAINER, "--", *_PROGRAM]
    text = run(command, f"ask the pod of {name}")
    try:
        report = json.loads(text)
        layers = report["layers"]
    except (ValueError, KeyError, TypeError):
        raise CliError(f"the pod of {name} does not say its configuration") from None
    if not isinstance(layers, dict):
        raise CliError(f"the pod of {name} does not say its configuration")
    return dict(report)


def _datastore(obj: Object) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (obj.get("status") or {}).get("datastore") or obj["spec"][
        "datastore"
    ]
    return found
