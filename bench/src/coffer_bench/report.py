"""Figures of one run: medians, ratios to the floor, limits; as a table and as JSON."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """One measured value beside its limit; `spread` is minimum, median and maximum."""

    name: str
    value: float
    unit: str
    limit: float | None = None
    spread: tuple[float, float, float] | None = None
    floor: float | None = None  # what `value` is a ratio to, in its own unit

    @property
    def within(self) -> bool:
        return self.limit is None or self.value <= self.limit


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    return min(values), statistics.median(values), max(values)


def ratio(name: str, ours: Sequence[float], floor: Sequence[float], limit: float) -> Figure:
    """Median of ours over median of the floor."""
    base = statistics.median(floor)
    return Figure(name, statistics.median(ours) / base, "x floor", limit, spread(ours), base)


def show(figures: Sequence[Figure], console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("FIGURE", "VALUE", "LIMIT", "MIN / MEDIAN / MAX", "FLOOR", ""):
        table.add_column(heading)
    for f in figures:
        row = " / ".join(f"{v:.2f}" for v in f.spread) if f.spread else ""
        table.add_row(
            f.name,
            f"{f.value:.2f} {f.unit}",
            "" if f.limit is None else f"{f.limit:g}",
            row,
            "" if f.floor is None else f"{f.floor:.2f}",
            "" if f.within else "ABOVE",
        )
    console.print(table)


def as_json(figures: Sequence[Figure]) -> list[dict[str, object]]:
    return [{**asdict(f), "within": f.within} for f in figures]
