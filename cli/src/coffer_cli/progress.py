"""Showing what is waited for, on standard error: one living line on a terminal, else plain lines.

A plain line is written when something changes, and at every tenth of what is counted, so that a log
of a pipeline stays short.
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
        self._last: tuple[str, int | None] | None = None

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
        percent = view.meter.percent if view.meter is not None else None
        news = (view.line, percent // 10 if percent is not None else None)
        if news != self._last:
            self._last = news
            far = f" ({view.meter.text})" if view.meter is not None else ""
            click.echo(f"{self._subject}: {printable(view.line)}{far}", err=True)


def progress(subject: str) -> Progress:
    """The display that fits where standard error leads."""
    if sys.stderr.isatty():
        from coffer_cli.live import LiveProgress  # noqa: PLC0415 -- rich is slow to import

        return LiveProgress(subject)
    return PlainProgress(subject)
