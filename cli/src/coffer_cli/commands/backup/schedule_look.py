"""kubectl coffer backup schedule list, show: what was due, what will be."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import click

from coffer_cli import judge, output
from coffer_cli.api import BACKUP, BACKUP_SCHEDULE, Api, Object
from coffer_cli.app import App, cluster_options, complete_schedules, output_option, pass_app
from coffer_cli.commands.show import conditions, events, section, with_message
from coffer_cli.text import NONE, age, fields, table
from coffer_common.naming import LABEL_SCHEDULE
from coffer_common.quantity import readable

_RECENT: Final = 10  # backups shown
_RULES: Final = {
    "count": "{} full ones",
    "maxAge": "younger than {}",
    "daily": "{} daily",
    "weekly": "{} weekly",
    "monthly": "{} monthly",
}


@click.command("list")
@click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="Of all namespaces.")
@output_option()
@cluster_options
@pass_app
def list_(app: App, *, everywhere: bool, form: str) -> None:
    """List schedules."""
    items = app.api.list(BACKUP_SCHEDULE, None if everywhere else app.here)
    items.sort(key=lambda item: (item["metadata"].get("namespace", ""), item["metadata"]["name"]))
    now = app.api.now()
    columns = {
        "name": lambda item: str(item["metadata"]["name"]),
        "instance": lambda item: str(item["spec"].get("instanceRef", {}).get("name", "")),
        "full": lambda item: _cron(item, "full"),
        "incremental": lambda item: _cron(item, "incremental"),
        "suspended": lambda item: "yes" if item["spec"].get("suspend") else "no",
        "ready": lambda item: str(judge.condition(item, "Ready").get("status", "Unknown")),
        "last success": lambda item: _ago(_status(item).get("lastSuccess"), now),
        "next": lambda item: _next(item) or NONE,
        "age": lambda item: age(item["metadata"].get("creationTimestamp"), now),
    }
    wide = {
        "verify": lambda item: _cron(item, "verify"),
        "last verified": lambda item: _ago(_status(item).get("lastVerified"), now),
        "storage": lambda item: str(item["spec"].get("storageRef", {}).get("name", "")),
        "status": lambda item: str(judge.condition(item, "Ready").get("message") or NONE),
    }
    here = None if everywhere else app.here
    output.many(BACKUP_SCHEDULE, items, form, columns=columns, wide=wide, here=here)


@click.command()
@click.argument("name", shell_complete=complete_schedules)
@output_option("text", "json", "yaml", "name", default="text")
@cluster_options
@pass_app
def show(app: App, *, name: str, form: str) -> None:
    """Show one schedule: its times, what stays, the backups that it has made lately."""
    obj = app.api.get(BACKUP_SCHEDULE, app.here, name)
    if form != "text":
        output.one(BACKUP_SCHEDULE, obj, form)
        return
    now = app.api.now()
    parts = [
        fields(_facts(obj, now)),
        section("Runs", _runs(obj)),
        section("Backups", _backups(app.api, obj, now)),
        section("Conditions", conditions(obj, now)),
        section("Events", events(app.api, obj, now)),
    ]
    output.sections(parts)


def _facts(obj: Object, now: datetime) -> list[tuple[str, str]]:
    meta, spec, status = obj["metadata"], obj["spec"], _status(obj)
    facts = [
        ("Name", meta["name"]),
        ("Namespace", meta.get("namespace", "")),
        ("Instance", spec.get("instanceRef", {}).get("name", "")),
        ("Storage", spec.get("storageRef", {}).get("name", "")),
        ("Ready", with_message(judge.condition(obj, "Ready"))),
        ("Suspended", "yes" if spec.get("suspend") else "no"),
        ("Time zone", spec.get("timeZone") or "UTC"),
        ("Retention", _retention(spec.get("retention") or {})),
        ("Concurrency", spec.get("concurrencyPolicy") or "Forbid"),
        ("Deletion policy", spec.get("deletionPolicy") or "Delete"),
        ("Last success", _ago(status.get("lastSuccess"), now)),
        ("Last verified", _ago(status.get("lastVerified"), now)),
        ("Age", age(meta.get("creationTimestamp"), now)),
    ]
    return [(label, str(value)) for label, value in facts]


def _retention(rules: Mapping[str, Any]) -> str:
    """`3 full ones, younger than 30d`: what any of them keeps stays."""
    words = [text.format(rules[rule]) for rule, text in _RULES.items() if rules.get(rule)]
    return ", ".join(words) or "everything stays"


def _runs(obj: Object) -> str:
    rows = []
    for kind in ("full", "incremental", "verify"):
        if _cron(obj, kind) == NONE:
            continue
        last = _status(obj).get(f"last{kind.capitalize()}") or {}
        rows.append(
            (
                kind,
                _cron(obj, kind),
                str(last.get("time") or NONE),
                str(last.get("phase") or NONE),
                str(last.get("name") or NONE),
                str(_status(obj).get(f"next{kind.capitalize()}") or NONE),
            )
        )
    return table(("kind", "cron", "last", "phase", "made", "next"), rows) if rows else ""


def _backups(api: Api, obj: Object, now: datetime) -> str:
    selector = f"{LABEL_SCHEDULE}={obj['metadata']['name']}"
    found = api.list(BACKUP, obj["metadata"].get("namespace"), labelSelector=selector)
    found.sort(key=lambda item: str(item["metadata"].get("creationTimestamp")))
    rows = [
        (
            str(item["metadata"]["name"]),
            str(_status(item).get("type") or item["spec"].get("type") or "full"),
            judge.backup(item).phase,
            readable(_status(item)["sizeBytes"]) if "sizeBytes" in _status(item) else NONE,
            str((_status(item).get("verified") or {}).get("result") or NONE),
            age(item["metadata"].get("creationTimestamp"), now),
        )
        for item in found[-_RECENT:]
    ]
    return table(("name", "type", "phase", "size", "verified", "age"), rows) if rows else ""


def _status(item: Object) -> Object:
    return item.get("status") or {}


def _cron(item: Object, kind: str) -> str:
    return str((item["spec"].get(kind) or {}).get("cron") or NONE)


def _ago(moment: str | None, now: datetime) -> str:
    return f"{age(moment, now)} ago" if moment else "never"


def _next(item: Object) -> str | None:
    """The backup that is due first; times in UTC are in the order of their texts."""
    due = [_status(item).get(f"next{kind}") for kind in ("Full", "Incremental")]
    return min((str(moment) for moment in due if moment), default=None)
