"""`make bench`: all figures of one run, beside their floor and their limit.

Exit code 1 if a figure is above its limit; the figures are printed all the same.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import click
from rich.console import Console

from coffer_bench import cost, creation, recovery
from coffer_bench.report import Figure, as_json, ratio, show
from coffer_bench.scene import Scene, scene

Benchmark = Callable[[Scene, int], Awaitable[list[Figure]]]


def creation_of(count: int, limit: float) -> Benchmark:
    """Apply → Ready and apply → first query of `count` instances at once."""

    async def measure(stage: Scene, runs: int) -> list[Figure]:
        floor, coffer = await creation.compare(stage.api, count, stage.image, runs)
        return [
            ratio(f"apply to Ready, {count} at once", coffer.ready, floor.ready, limit),
            ratio(f"apply to first query, {count} at once", coffer.query, floor.query, limit),
        ]

    return measure


BENCHMARKS: dict[str, Benchmark] = {
    "one": creation_of(1, 1.2),
    "ten": creation_of(10, 1.1),
    "cost": cost.requests_and_memory,
    "recovery": recovery.killed_engines,
    "scale": cost.a_thousand_objects,
}


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHMARKS)))
@click.option("--runs", default=5, show_default=True, help="of each side, for a median")
@click.option("--keep", is_flag=True, help="leave the cluster up")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="write figures there")
def main(names: tuple[str, ...], runs: int, keep: bool, json_file: Path | None) -> None:
    """Measure Coffer against the floor, on a cluster of its own."""
    figures = asyncio.run(_measure(names or tuple(BENCHMARKS), runs, keep))
    show(figures, Console(width=140))
    if json_file is not None:
        json_file.write_text(json.dumps(as_json(figures), indent=2) + "\n")
    sys.exit(0 if all(figure.within for figure in figures) else 1)


async def _measure(names: tuple[str, ...], runs: int, keep: bool) -> list[Figure]:
    figures: list[Figure] = []
    console = Console(stderr=True)
    async with scene(keep=keep) as stage:
        for name in names:
            console.print(f"==> {name}")
            figures += await BENCHMARKS[name](stage, runs)
    return figures


if __name__ == "__main__":
    main()
