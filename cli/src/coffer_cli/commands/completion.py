"""kubectl coffer completion, and what kubectl itself asks for completion of a plugin."""

import sys

import click
from click.shell_completion import ShellComplete, get_completion_class

_VARIABLE = "_KUBECTL_COFFER_COMPLETE"
_NO_FILES = ":4"  # cobra's directive: do not complete file names


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, *, shell: str) -> None:
    """Print the script that makes SHELL complete `kubectl-coffer`.

    For `kubectl coffer`, kubectl 1.26 and later ask the program kubectl_complete-coffer, which is
    installed beside this one.
    """
    made = get_completion_class(shell)
    if made is None:
        raise click.UsageError(f"no completion for {shell}")
    root = ctx.find_root().command
    click.echo(made(root, {}, "kubectl-coffer", _VARIABLE).source())


def kubectl() -> None:
    """The program kubectl_complete-coffer: candidates for the last of its arguments."""
    from coffer_cli.main import cli  # noqa: PLC0415 -- main imports the commands, not the reverse

    words = sys.argv[1:] or [""]
    found = ShellComplete(cli, {}, "kubectl coffer", _VARIABLE)
    for item in found.get_completions(words[:-1], words[-1]):
        click.echo(f"{item.value}\t{item.help}" if item.help else item.value)
    click.echo(_NO_FILES)
