"""Showing what is waited for, on standard error: one living line on a terminal, else plain lines.

A plain line is written when something changes, so that a log of a pipeline stays short.
"""

import sys
from types import TracebackType
from typing import Protocol, Self

import click

from coffer_cli.judge import View
from coffer_cli.text import printable


class Progress(Protocol):
    """Where an object is while it is waited for; a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def show(self, view: View) -> None:
        """Say where it is now."""
        ...


class PlainProgress:
    """A line for each change."""

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self._last = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def show(self, view: View) -> None:
        if view.line != self._last:
            self._last = view.line
            click.echo(f"{self._subject}: {printable(view.line)}", err=True)


def progress(subject: str) -> Progress:
    """The display that fits where standard error leads."""
    if sys.stderr.isatty():
        from coffer_cli.live import LiveProgress  # noqa: PLC0415 -- rich is slow to import

        return LiveProgress(subject)
    return PlainProgress(subject)
