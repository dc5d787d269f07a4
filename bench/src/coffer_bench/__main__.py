"""`make bench`: all figures of one run, beside their floor and their limit.

Exit code 1 if a figure is above its limit; the figures are printed all the same.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import click
from pymysql import MySQLError
from rich.console import Console

from coffer_bench import backups, configuration, cost, creation, recovery, writes
from coffer_bench.report import Figure, as_json, ratio, show
from coffer_bench.scene import Scene, scene
from coffer_common.errors import CofferError

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
    "configuration": configuration.edit_to_live,
    "writes": writes.commits,
    "backups": backups.full_increment_restore,
    "scale": cost.a_thousand_objects,
}


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHMARKS)))
@click.option("--runs", default=5, show_default=True, help="of each side, for a median")
@click.option("--keep", is_flag=True, help="leave the cluster up")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="write figures there")
def main(names: tuple[str, ...], runs: int, keep: bool, json_file: Path | None) -> None:
    """Measure Coffer against the floor, on a cluster of its own."""
    console = Console(width=140)
    figures, failed = asyncio.run(_measure(names or tuple(BENCHMARKS), runs, keep, console))
    console.print("==> all figures of this run")
    show(figures, console)
    if json_file is not None:
        json_file.write_text(json.dumps(as_json(figures), indent=2) + "\n")
    sys.exit(0 if not failed and all(figure.within for figure in figures) else 1)


async def _measure(
    names: tuple[str, ...], runs: int, keep: bool, console: Console
) -> tuple[list[Figure], list[str]]:
    """All figures, and the names of the benchmarks that could not be measured."""
    figures: list[Figure] = []
    failed: list[str] = []
    async with scene(keep=keep) as stage:
        for name in names:
            console.print(f"==> {name}")
            try:
                found = await BENCHMARKS[name](stage, runs)
            except* (OSError, TimeoutError, RuntimeError, CofferError, MySQLError) as errors:
                console.print(f"{name} could not be measured: {errors.exceptions!r}", markup=False)
                failed.append(name)
            else:
                show(found, console)  # at once: a later one may fail
                figures += found
    return figures, failed


if __name__ == "__main__":
    main()
