"""kubectl coffer show."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import click

from coffer_cli import judge, output
from coffer_cli.api import EVENT, INSTANCE, OPERATION, Api, Object
from coffer_cli.app import App, cluster_options, complete_instances, output_option, pass_app
from coffer_cli.commands.list import datastore
from coffer_cli.errors import ApiError, Exit
from coffer_cli.text import NONE, age, fields, table
from coffer_common.quantity import readable

_RECENT = 10  # operations and events shown


@click.command()
@click.argument("name", shell_complete=complete_instances)
@output_option("text", "json", "yaml", "name", default="text")
@cluster_options
@pass_app
def show(app: App, *, name: str, form: str) -> None:
    """Show one database instance: state, addresses, users, what happened lately."""
    obj = app.api.get(INSTANCE, app.here, name)
    if form != "text":
        output.one(INSTANCE, obj, form)
        return
    now = app.api.now()
    parts = [
        fields(_facts(obj, now)),
        section("Users", _users(obj)),
        section("Conditions", conditions(obj, now)),
        section("Operations", _operations(app.api, obj, now)),
        section("Events", events(app.api, obj, now)),
    ]
    output.sections(parts)


def _facts(obj: Object, now: datetime) -> list[tuple[str, str]]:
    meta, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
    where = status.get("endpoints") or {}
    host = f"{where['host']}:{where.get('port')}" if where.get("host") else NONE
    ready = judge.condition(obj, "Ready")
    running = status.get("operation") or {}
    facts = [
        ("Name", meta["name"]),
        ("Namespace", meta.get("namespace", "")),
        ("Datastore", datastore(obj)),
        ("Flavor", spec.get("flavor", "")),
        ("Phase", status.get("phase") or "Pending"),
        ("Ready", with_message(ready)),
        ("Role", status.get("role") or NONE),
        ("Host", host),
        ("Read-only host", where.get("readOnlyHost") or NONE),
        ("Volume", _volume(obj)),
        ("Databases", ", ".join(d["name"] for d in spec.get("databases") or ()) or NONE),
        *_configuration(obj),
        *_backups(obj, now),
        ("Deletion policy", spec.get("deletionPolicy") or "Retain"),
        ("Deletion protection", "yes" if spec.get("deletionProtection") else "no"),
        ("Age", age(meta.get("creationTimestamp"), now)),
    ]
    if running:
        text = f"{running.get('type')} ({running.get('name')}): {running.get('step')}"
        facts.append(("Operation", f"{text}, given up at {running.get('deadline')}"))
    return [(label, str(value)) for label, value in facts]


def _configuration(obj: Object) -> list[tuple[str, str]]:
    """Where the values of the parameters come from, and what is not as it should be."""
    spec, found = obj["spec"], (obj.get("status") or {}).get("configuration") or {}
    wanted = (spec.get("configurationRef") or {}).get("name")
    lines = [("Configuration", str(wanted or NONE))]
    applied = judge.condition(obj, "ConfigurationApplied")
    if applied.get("reason") not in (None, "Applied", "PendingRestart"):
        lines.append(("Configuration state", with_message(applied)))
    if found.get("pendingRestart"):
        lines.append(("Pending restart", ", ".join(found["pendingRestart"])))
    if found.get("drift"):
        lines.append(("Drift", str(found["drift"])))
    if spec.get("maintenance"):
        lines.append(("Maintenance", _maintenance(spec["maintenance"])))
    return lines


def _backups(obj: Object, now: datetime) -> list[tuple[str, str]]:
    """What the data came from, and the newest backup of them."""
    status = obj.get("status") or {}
    restore, last = status.get("restore") or {}, status.get("lastBackup") or {}
    lines = []
    if restore:
        named = (obj["spec"].get("restoreFrom") or {}).get("backupRef") or {}
        text = f"{named.get('name') or restore.get('path')}: {restore.get('phase')}"
        lines.append(("Restored from", f"{text} {restore.get('message') or ''}".rstrip()))
    if last:
        lines.append(("Last backup", f"{last.get('name')}, {age(last.get('time'), now)} ago"))
    return lines


def _maintenance(maintenance: Mapping[str, Any]) -> str:
    """`Sat, Sun 02:30 UTC for 2h, restarts by itself`."""
    window = maintenance.get("window") or {}
    days = ", ".join(window.get("days") or ()) or "every day"
    text = f"{days} {window.get('start')} {window.get('timeZone', 'UTC')}"
    by_itself = "restarts by itself" if maintenance.get("autoRestart") else "no restart by itself"
    return f"{text} for {window.get('duration')}, {by_itself}"


def _volume(obj: Object) -> str:
    asked, found = obj["spec"].get("volume") or {}, (obj.get("status") or {}).get("volume") or {}
    text = str(found.get("size") or asked.get("size", ""))
    if asked.get("storageClassName"):
        text += f" of class {asked['storageClassName']}"
    if found.get("usedBytes") is not None:
        text += f", {readable(found['usedBytes'])} used"
    if found.get("usedPercent") is not None:
        text += f" ({found['usedPercent']}%)"
    return text


def with_message(condition: Mapping[str, Any]) -> str:
    """A condition as `True, message`."""
    status = str(condition.get("status", "Unknown"))
    return f"{status}, {condition['message']}" if condition.get("message") else status


def _users(obj: Object) -> str:
    secrets = {
        (entry["user"], entry["host"]): entry["name"]
        for entry in (obj.get("status") or {}).get("bindingSecrets") or ()
    }
    rows = []
    for user in obj["spec"].get("users") or ():
        host = user.get("host") or "%"
        databases = ",".join(user.get("databases") or ()) or NONE
        rows.append((user["name"], host, databases, secrets.get((user["name"], host), NONE)))
    return table(("name", "host", "databases", "secret"), rows) if rows else ""


def conditions(obj: Object, now: datetime) -> str:
    """The table of an object's conditions; empty where it has none."""
    rows = [
        (
            str(entry.get("type", "")),
            str(entry.get("status", "")),
            str(entry.get("reason", "")),
            age(entry.get("lastTransitionTime"), now),
            str(entry.get("message", "")),
        )
        for entry in (obj.get("status") or {}).get("conditions") or ()
    ]
    return table(("type", "status", "reason", "since", "message"), rows) if rows else ""


def _operations(api: Api, obj: Object, now: datetime) -> str:
    name = obj["metadata"]["name"]
    try:
        found = api.list(OPERATION, obj["metadata"].get("namespace"))
    except ApiError as error:
        return _unless_refused(error)
    mine = [o for o in found if o["spec"].get("instanceRef", {}).get("name") == name]
    mine.sort(key=lambda o: str(o["metadata"].get("creationTimestamp")))
    rows = [
        (
            str(o["metadata"]["name"]),
            str(o["spec"].get("type", "")),
            judge.operation(o).phase,
            age(o["metadata"].get("creationTimestamp"), now),
            str((o.get("status") or {}).get("message") or ""),
        )
        for o in mine[-_RECENT:]
    ]
    return table(("name", "type", "phase", "age", "message"), rows) if rows else ""


def events(api: Api, obj: Object, now: datetime) -> str:
    """The table of what happened to an object lately; empty where nothing did."""
    selector = f"involvedObject.uid={obj['metadata'].get('uid', '')}"
    try:
        found = api.list(EVENT, obj["metadata"].get("namespace"), fieldSelector=selector)
    except ApiError as error:
        return _unless_refused(error)
    found.sort(key=_event_time)
    rows = [
        (
            str(e.get("type", "")),
            str(e.get("reason", "")),
            age(_event_time(e), now),
            str(e.get("message", "")),
        )
        for e in found[-_RECENT:]
    ]
    return table(("type", "reason", "age", "message"), rows) if rows else ""


def _event_time(event: Object) -> str:
    series = event.get("series") or {}
    return str(
        series.get("lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or event["metadata"].get("creationTimestamp")
        or ""
    )


def _unless_refused(error: ApiError) -> str:
    """A reader may be allowed the instance and not what is around it; that is no failure."""
    if error.code is Exit.REFUSED:
        return "(not permitted to read them)"
    raise error


def section(title: str, body: str) -> str:
    """The body, indented below a title; nothing where there is none."""
    if not body:
        return ""
    return "\n".join([f"{title}:", *(f"  {line}" for line in body.splitlines())])
