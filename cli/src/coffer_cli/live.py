"""Progress on a terminal: a spinner, the phase, what it waits for, the time so far (rich)."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from coffer_cli.judge import View
from coffer_cli.text import printable


class LiveProgress:
    """One line that changes in place and goes away at the end."""

    def __init__(self, subject: str, console: Console | None = None) -> None:
        self._subject = subject
        self._bar = Progress(
            SpinnerColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
            console=console or Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task(escape(subject), total=None)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def show(self, view: View) -> None:
        text = f"[bold]{escape(view.phase)}[/bold]  {escape(printable(view.message))}"
        self._bar.update(self._task, description=f"{escape(self._subject)}  {text}")
