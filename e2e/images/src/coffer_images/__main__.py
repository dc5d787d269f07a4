"""The command line of the images; answers go to standard output, progress elsewhere."""

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from coffer_cluster import console
from coffer_cluster.errors import ClusterError, UnsupportedError
from coffer_cluster.target import decide
from coffer_images import images, inputs

EXIT_FAILED = 1
EXIT_UNSUPPORTED = 2


def _targets(command: Callable[..., Any]) -> Callable[..., Any]:
    about = "one image, or several by repeating it; all if not given"
    return click.option("--target", "targets", multiple=True, metavar="T", help=about)(command)


@click.group()
def cli() -> None:
    """The images of the Dockerfile, each with the hash of its inputs as its tag."""


@cli.command()
@_targets
def build(targets: tuple[str, ...]) -> None:
    """Build what changed; print the images' names."""
    for image in images.build(targets):
        print(image.name)


@cli.command()
@_targets
def load(targets: tuple[str, ...]) -> None:
    """Build what changed, bring all to the cluster that the environment means."""
    built = images.build(targets)
    for name in images.deliver(built, decide(os.environ)).values():
        print(name)


@cli.command()
@_targets
def tags(targets: tuple[str, ...]) -> None:
    """Print each target with the image that belongs to the files as they are."""
    for target in targets or inputs.target_names(images.ROOT):
        print(target, inputs.read(images.ROOT, target).image)


@cli.command("list")
def list_() -> None:
    """Show which images there are, built and to be built."""
    table = Table("TARGET", "TAG", "MB", "USED", "CURRENT", box=None)
    store = images.archives()
    for target in inputs.target_names(images.ROOT):
        current = inputs.read(images.ROOT, target).tag
        built = store.tags(target)
        for tag in built:
            found = store.path(target, tag).stat()
            used_at = time.strftime("%Y-%m-%d %H:%M", time.localtime(found.st_mtime))
            mark = "yes" if tag == current else ""
            table.add_row(target, tag, f"{found.st_size / 1e6:.0f}", used_at, mark)
        if current not in built:
            table.add_row(target, current, "", "not built", "yes")
    Console().print(table)


def main() -> int:
    console.set_name("images")
    try:
        cli(standalone_mode=False)
    except UnsupportedError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_UNSUPPORTED
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_FAILED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return EXIT_FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
