"""The command behind `make push`, `make install`, `make uninstall` and `make demo`."""

import os
import sys

import click
import yaml

from coffer_cluster.cluster import Cluster
from coffer_cluster.errors import ClusterError, UnsupportedError
from coffer_cluster.target import Kind
from coffer_demo.demo import run_demo
from coffer_demo.install import install, push, reach, uninstall, wanted_cluster
from coffer_demo.progress import DemoError, Steps

EXIT_FAILED = 1
EXIT_UNSUPPORTED = 2


@click.group()
def cli() -> None:
    """Coffer on a cluster, for people who try it."""


@cli.command("install")
def install_command() -> None:
    """Bring the images to the cluster and install the chart."""
    steps, wanted = Steps(), wanted_cluster()
    target, _ = reach(wanted, steps)
    install(target, wanted, steps)
    steps.summary()


@cli.command("push")
def push_command() -> None:
    """Bring the images to the registry IMAGES; print the chart's values for them."""
    print(yaml.safe_dump(push(os.environ), sort_keys=False), end="")


@cli.command("uninstall")
def uninstall_command() -> None:
    """Remove the installation."""
    steps, wanted = Steps(), wanted_cluster(images=False)
    if wanted.kind is Kind.EMBEDDED and not Cluster(wanted.tag).running:
        steps.say(f"cluster {wanted.tag} is not up: nothing is installed")
        return
    uninstall(reach(wanted, steps)[0], steps)


@cli.command("demo")
def demo_command() -> None:
    """From a bare machine to a connected client."""
    steps, wanted = Steps(), wanted_cluster()
    target, _ = reach(wanted, steps)
    run_demo(target, install(target, wanted, steps), steps)
    steps.summary()
    steps.say("")
    steps.say(
        f"export KUBECONFIG={target.kubeconfig} PATH={target.kubectl.parent}:$PWD/.venv/bin:$PATH"
    )
    steps.say("kubectl get coffer            # all of Coffer's objects")
    steps.say("kubectl coffer list           # the same as a plugin sees it")
    steps.say("kubectl coffer connect orders")
    steps.say("make uninstall                # databases' volumes and the CRDs stay")
    if wanted.kind is Kind.EMBEDDED:
        steps.say("make cluster-down             # the cluster with all that is on it")


def main() -> None:
    try:
        cli()
    except UnsupportedError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_UNSUPPORTED)
    except (ClusterError, DemoError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_FAILED)


if __name__ == "__main__":
    main()
