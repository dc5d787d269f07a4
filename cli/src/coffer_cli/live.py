"""Progress on a terminal: a spinner, the time so far, the phase, what it waits for (rich).

What is counted in bytes has a bar, too, where the whole is known, and its rate.
"""

from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from coffer_cli.judge import View
from coffer_cli.text import printable


class _Bar(ProgressColumn):
    """A bar where the whole is known; nothing elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self._bar = BarColumn(bar_width=24)

    def render(self, task: Task) -> RenderableType:
        return self._bar.render(task) if task.fields.get("counted") else Text("")


class LiveProgress:
    """One line that changes in place and goes away at the end."""

    def __init__(self, subject: str, console: Console | None = None) -> None:
        self._subject = subject
        self._bar = Progress(
            SpinnerColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
            _Bar(),
            TextColumn("{task.fields[far]}"),
            console=console or Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task(escape(subject), total=None, far="")

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
        meter = view.meter
        self._bar.update(
            self._task,
            description=f"{escape(self._subject)}  {text}",
            total=meter.total_bytes if meter is not None else None,
            completed=meter.done_bytes if meter is not None else 0,
            counted=meter is not None and bool(meter.total_bytes),
            far=meter.text if meter is not None else "",
        )
