"""What every command shares: the global options, and the API that they lead to."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeVar

import click

from coffer_cli.api import (
    BACKUP,
    BACKUP_SCHEDULE,
    BACKUP_STORAGE,
    CONFIGURATION_GROUP,
    INSTANCE,
    Api,
    Kind,
)
from coffer_cli.errors import CliError
from coffer_cli.kubeconfig import Target, load
from coffer_cli.output import FORMATS

F = TypeVar("F", bound=Callable[..., Any])

_UNIT_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?", re.ASCII)
_DURATION: Final = re.compile(r"\d+(\.\d+)?|(\d+(\.\d+)?(ms|s|m|h))+", re.ASCII)


@dataclass
class App:
    """The global options, wherever on the command line they stand."""

    namespace: str | None = None
    context: str | None = None
    kubeconfig: str | None = None

    @cached_property
    def target(self) -> Target:
        """Which cluster, as whom. Raises CliError."""
        return load(self.kubeconfig, self.context, os.environ)

    @cached_property
    def api(self) -> Api:
        return Api(self.target)

    def close(self) -> None:
        """Give back what the command used."""
        if "api" in vars(self):
            self.api.close()

    @property
    def here(self) -> str:
        """The namespace to act in."""
        return self.namespace or self.target.namespace

    def kubectl_flags(self) -> list[str]:
        """The same target for a kubectl that we start."""
        flags = ["--namespace", self.here]
        if self.kubeconfig:
            flags += ["--kubeconfig", self.kubeconfig]
        if self.context:
            flags += ["--context", self.context]
        return flags


def _store(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    """An option after the command wins over the same one before it."""
    app = ctx.ensure_object(App)
    if value is not None and param.name is not None:
        setattr(app, param.name, value)


def cluster_options(command: F) -> F:
    """-n, --context and --kubeconfig, as kubectl has them."""
    for flags, text in (
        (("--kubeconfig",), "Path to the kubeconfig file."),
        (("--context",), "Context of the kubeconfig file."),
        (("-n", "--namespace"), "Namespace; the context's one if not given."),
    ):
        option = click.option(*flags, help=text, expose_value=False, callback=_store)
        command = option(command)
    return command


def output_option(*formats: str, default: str | None = "table") -> Callable[[F], F]:
    """-o with these formats (all of them if none are given)."""
    return click.option(
        "-o",
        "--output",
        "form",
        type=click.Choice(formats or FORMATS),
        default=default,
        show_default=default is not None,
        help="Output format.",
    )


class Duration(click.ParamType[float]):
    """A time in seconds, written as kubectl has it (`90s`, `2m`, `1h30m`) or as a number."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        text = str(value)
        if _DURATION.fullmatch(text) is None:
            self.fail(f"{text!r} is no duration; write it as 90s, 2m or 1h30m", param, ctx)
        parts = _PART.findall(text)
        seconds = sum(float(number) * _UNIT_S[unit or "s"] for number, unit in parts)
        if seconds <= 0:
            self.fail(f"{text!r} is no time at all", param, ctx)
        return seconds


def wait_options(timeout_s: int) -> Callable[[F], F]:
    """--wait/--no-wait and --timeout."""

    def decorate(command: F) -> F:
        command = click.option(
            "--timeout",
            "timeout_s",
            type=Duration(),
            default=f"{timeout_s}s",
            show_default=True,
            help="How long to wait; then exit code 4, and it goes on.",
        )(command)
        return click.option(
            "--wait/--no-wait", default=True, show_default=True, help="Wait until it is done."
        )(command)

    return decorate


def dry_run_option(command: F) -> F:
    """--dry-run, as kubectl has it."""
    return click.option(
        "--dry-run",
        type=click.Choice(["none", "client", "server"]),
        default="none",
        help="client: only print the manifest; server: have it checked, too.",
    )(command)


def follow_options(command: F) -> F:
    """--follow and --timeout: for what may take hours, and needs nobody to wait."""
    command = click.option(
        "--timeout",
        "timeout_s",
        type=Duration(),
        default="24h",
        show_default=True,
        help="How long to follow; then exit code 4, and it goes on.",
    )(command)
    return click.option(
        "--follow", is_flag=True, help="Show how far it is, and end as it ends: 0 done, 1 failed."
    )(command)


def pass_app(command: Callable[..., Any]) -> Callable[..., Any]:
    """Hand the App to a command as its first argument."""
    return click.make_pass_decorator(App, ensure=True)(command)


def complete_instances(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Names of instances for shell completion; none where they cannot be had."""
    return _names(ctx, INSTANCE, incomplete)


def complete_groups(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """The same for configuration groups."""
    return _names(ctx, CONFIGURATION_GROUP, incomplete)


def complete_backups(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """The same for Backups."""
    return _names(ctx, BACKUP, incomplete)


def complete_schedules(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """The same for BackupSchedules."""
    return _names(ctx, BACKUP_SCHEDULE, incomplete)


def complete_storages(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """The same for BackupStorages."""
    return _names(ctx, BACKUP_STORAGE, incomplete)


def _names(ctx: click.Context, kind: Kind, incomplete: str) -> list[str]:
    app = ctx.find_object(App) or App()
    try:
        names = [item["metadata"]["name"] for item in app.api.list(kind, app.here)]
    except CliError:
        return []
    finally:
        app.close()
    return [name for name in names if name.startswith(incomplete)]
