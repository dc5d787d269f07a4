"""kubectl coffer backup list, show: backups as they are."""

from datetime import datetime
from typing import Any

import click

from coffer_cli import judge, output
from coffer_cli.api import BACKUP, Api, Object
from coffer_cli.app import (
    App,
    cluster_options,
    complete_backups,
    complete_instances,
    output_option,
    pass_app,
)
from coffer_cli.commands.show import conditions, events, section
from coffer_cli.text import NONE, age, duration, fields
from coffer_common.quantity import readable


@click.command("list")
@click.argument("instance", required=False, shell_complete=complete_instances)
@click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="Of all namespaces.")
@output_option()
@cluster_options
@pass_app
def list_(app: App, *, instance: str | None, everywhere: bool, form: str) -> None:
    """List backups, the newest first; of one INSTANCE if it is named."""
    items = app.api.list(BACKUP, None if everywhere else app.here)
    items = [item for item in items if instance in (None, _instance(item))]
    items.sort(key=lambda item: str(item["metadata"]["name"]))
    items.sort(key=lambda item: _taken(item) or "~", reverse=True)
    items.sort(key=lambda item: str(item["metadata"].get("namespace", "")))
    now = app.api.now()
    columns = {
        "name": lambda item: str(item["metadata"]["name"]),
        "instance": _instance,
        "type": _type,
        "phase": lambda item: judge.backup(item).phase,
        "done": _done,
        "size": lambda item: _bytes(_status(item).get("sizeBytes")),
        "verified": _verified,
        "age": lambda item: age(_taken(item) or item["metadata"].get("creationTimestamp"), now),
    }
    wide = {
        "storage": lambda item: str(item["spec"].get("storageRef", {}).get("name", "")),
        "strategy": lambda item: str(_status(item).get("strategy") or NONE),
        "depth": lambda item: str(_status(item).get("depth") or 0),
        "keep": lambda item: "yes" if item["spec"].get("keep") else "no",
        "status": lambda item: str(_status(item).get("message") or NONE),
    }
    here = None if everywhere else app.here
    output.many(BACKUP, items, form, columns=columns, wide=wide, here=here)


@click.command()
@click.argument("name", shell_complete=complete_backups)
@output_option("text", "json", "yaml", "name", default="text")
@cluster_options
@pass_app
def show(app: App, *, name: str, form: str) -> None:
    """Show one backup: where it is, what it holds, what it needs, whether it was proved."""
    obj = app.api.get(BACKUP, app.here, name)
    if form != "text":
        output.one(BACKUP, obj, form)
        return
    now = app.api.now()
    parts = [
        fields(_facts(app.api, obj, now)),
        section("Conditions", conditions(obj, now)),
        section("Events", events(app.api, obj, now)),
    ]
    output.sections(parts)


def _facts(api: Api, obj: Object, now: datetime) -> list[tuple[str, str]]:
    meta, spec, status = obj["metadata"], obj["spec"], _status(obj)
    view = judge.backup(obj)
    took = status.get("durationSeconds")
    facts: list[tuple[str, Any]] = [
        ("Name", meta["name"]),
        ("Namespace", meta.get("namespace", "")),
        ("Instance", _instance(obj)),
        ("Type", _type(obj)),
        ("Phase", view.line),
        ("Progress", view.meter.text if view.meter is not None else None),
        ("Storage", spec.get("storageRef", {}).get("name", "")),
        ("Location", status.get("location")),
        ("Path", status.get("path") or spec.get("path")),
        ("Strategy", status.get("strategy") or spec.get("strategy")),
        ("Engine", _engine(status)),
        ("Size", _sizes(status)),
        ("Taken", f"{_taken(obj)} ({age(_taken(obj), now)} ago)" if _taken(obj) else None),
        ("Duration", duration(took) if took is not None else None),
        *_positions(status),
        ("Parent", _parent(api, obj)),
        ("Needed by", ", ".join(status.get("children") or ()) or None),
        ("Key", status.get("keyId")),
        ("Verified", _proof(status, now)),
        ("Keep", "yes" if spec.get("keep") else "no"),
        ("Deletion policy", spec.get("deletionPolicy") or "Delete"),
        ("Age", age(meta.get("creationTimestamp"), now)),
    ]
    return [(label, str(value)) for label, value in facts if value is not None]


def _parent(api: Api, obj: Object) -> str | None:
    """The Backup that has the parent's path, else the path."""
    path, namespace = _status(obj).get("parent"), obj["metadata"].get("namespace")
    if path is None:
        named = (obj["spec"].get("parentRef") or {}).get("name")
        return str(named) if named else None
    for other in api.list(BACKUP, namespace):
        same = other["spec"].get("storageRef") == obj["spec"].get("storageRef")
        if same and _status(other).get("path") == path:
            return str(other["metadata"]["name"])
    return f"{path} (no Backup here)"


def _positions(status: Object) -> list[tuple[str, str | None]]:
    position = status.get("position") or {}
    begin, end = position.get("fromLsn"), position.get("toLsn")
    return [
        ("GTID", position.get("gtid")),
        ("Binary log", position.get("binlog")),
        ("LSN", f"{begin or 0} to {end}" if end else None),
    ]


def _proof(status: Object, now: datetime) -> str:
    proof = status.get("verified")
    if not proof:
        return "never"
    took = proof.get("durationSeconds")
    text = f"{proof['result']} {age(proof['time'], now)} ago"
    text += f", in {duration(took)}" if took is not None else ""
    return f"{text}: {proof['message']}" if proof.get("message") else text


def _sizes(status: Object) -> str | None:
    if status.get("sizeBytes") is None:
        return None
    raw = f", of {readable(status['rawBytes'])}" if status.get("rawBytes") is not None else ""
    return f"{readable(status['sizeBytes'])}{raw}"


def _engine(status: Object) -> str | None:
    words = [status.get("datastore"), status.get("engineVersion")]
    return " ".join(word for word in words if word) or None


def _status(item: Object) -> Object:
    return item.get("status") or {}


def _instance(item: Object) -> str:
    return str((item["spec"].get("instanceRef") or {}).get("name") or NONE)


def _type(item: Object) -> str:
    """What was taken; it may be full where an increment was asked for."""
    return str(_status(item).get("type") or item["spec"].get("type") or "full")


def _taken(item: Object) -> str | None:
    """The moment that it stands for."""
    moment = _status(item).get("startedAt") or _status(item).get("finishedAt")
    return str(moment) if moment else None


def _done(item: Object) -> str:
    percent = (_status(item).get("progress") or {}).get("percent")
    return NONE if percent is None else f"{percent}%"


def _bytes(value: int | None) -> str:
    return NONE if value is None else readable(value)


def _verified(item: Object) -> str:
    return str((_status(item).get("verified") or {}).get("result") or NONE)
