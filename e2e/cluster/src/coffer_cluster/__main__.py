"""The command line of the embedded cluster; answers go to standard output, progress elsewhere."""

import json
import os
import sys
from collections import deque
from dataclasses import asdict

import click

from coffer_cluster import binaries, preflight
from coffer_cluster.addresses import DEFAULT_TAG
from coffer_cluster.cluster import Cluster
from coffer_cluster.errors import ClusterError, UnsupportedError
from coffer_cluster.target import decide

EXIT_FAILED = 1
EXIT_UNSUPPORTED = 2
FAULTS = ("start", "kill", "crash", "freeze", "thaw", "cut", "heal", "isolate")


@click.group()
@click.option("--tag", envvar="TAG", default=DEFAULT_TAG, show_default=True, help="which cluster")
@click.pass_context
def cli(context: click.Context, tag: str) -> None:
    """A real Kubernetes on this machine, without a container engine."""
    context.obj = Cluster(tag)


@cli.command()
@click.option("--nodes", default=1, show_default=True, help="at least so many nodes")
@click.pass_obj
def up(cluster: Cluster, nodes: int) -> None:
    """Bring the cluster up, or let it grow."""
    cluster.up(nodes)


@cli.command()
@click.pass_obj
def down(cluster: Cluster) -> None:
    """Remove the cluster with all it holds."""
    cluster.down()


@cli.command()
@click.pass_obj
def status(cluster: Cluster) -> None:
    """Show what runs, as JSON."""
    print(json.dumps(cluster.status(), indent=2))


@cli.command()
def target() -> None:
    """Show which cluster the environment means, as JSON."""
    print(json.dumps(asdict(decide(os.environ))))


@cli.command("load-image")
@click.argument("references", nargs=-1, required=True, metavar="ARCHIVE|NAME...")
@click.pass_obj
def load_image(cluster: Cluster, references: tuple[str, ...]) -> None:
    """Bring OCI archives, or images of buildah, to every node."""
    for reference in references:
        print(cluster.load_image(reference))


@cli.command()
@click.argument("name", required=False, metavar="[MACHINE/PROGRAM]")
@click.option("--lines", "-n", default=50, show_default=True, help="how many lines of each log")
@click.pass_obj
def logs(cluster: Cluster, name: str | None, lines: int) -> None:
    """Print the end of one log, or list them all."""
    files = cluster.logs()
    if name is None:
        print("\n".join(files))
        return
    if name not in files:
        raise ClusterError(f"there is no log {name}; there are: {', '.join(files)}")
    with files[name].open(errors="replace") as file:
        sys.stdout.writelines(deque(file, maxlen=lines))


@cli.command()
@click.pass_obj
def kubeconfig(cluster: Cluster) -> None:
    """Print the path of the kubeconfig."""
    print(cluster.kubeconfig)


@cli.command("kubectl-path")
@click.pass_obj
def kubectl_path(cluster: Cluster) -> None:
    """Print the path of a kubectl, building it if needed."""
    binaries.ensure([binaries.KUBERNETES])
    print(cluster.kubectl)


@cli.command("helm-path")
@click.pass_obj
def helm_path(cluster: Cluster) -> None:
    """Print the path of helm, building it if needed."""
    binaries.ensure([binaries.HELM])
    print(cluster.helm)


@cli.command()
def build() -> None:
    """Build everything that is built from source, so that nothing has to be waited for later."""
    preflight.check()
    preflight.install_missing()
    binaries.ensure()


@cli.command()
@click.argument("operation", type=click.Choice(FAULTS))
@click.argument("number", type=int)
@click.pass_obj
def node(cluster: Cluster, operation: str, number: int) -> None:
    """Do something to node NUMBER: kill, freeze, cut its cable, and undo that."""
    getattr(cluster.node(number), operation)()


def main() -> int:
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
