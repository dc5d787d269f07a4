"""Building what is missing and bringing it to a cluster: what the other tools call."""

import datetime
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from coffer_cluster import console, locks
from coffer_cluster.cluster import Cluster
from coffer_cluster.command import run
from coffer_cluster.errors import ClusterError
from coffer_cluster.paths import cache_dir
from coffer_cluster.target import Kind, Target
from coffer_images import base, inputs
from coffer_images.archives import Archives
from coffer_images.buildah import Buildah
from coffer_images.builders import Builder, engine_runs
from coffer_images.docker import Docker
from coffer_images.inputs import Inputs
from coffer_images.progress import Stages

ROOT = Path(__file__).resolve().parents[4]
LOCK_TIMEOUT_S = 3600
LOAD_TIMEOUT_S = 600


@dataclass(frozen=True)
class Image:
    """An image that was built."""

    target: str
    name: str
    archive: Path


def archives() -> Archives:
    return Archives(cache_dir() / "images")


def choose() -> Builder:
    """Docker where its engine runs, buildah otherwise."""
    if engine_runs():
        return Docker()
    return Buildah(cache_dir() / "containers", base.week_of(datetime.date.today()))


def build(targets: Sequence[str] = (), root: Path = ROOT) -> list[Image]:
    """The images of the targets, all if none is named; only what changed is built.

    Raises UnsupportedError where nothing can be built, ClusterError where building failed.
    """
    names = list(targets) or inputs.target_names(root)
    wanted = [inputs.read(root, name) for name in names]
    store = archives()
    if any(store.find(one.target, one.tag) is None for one in wanted):
        with locks.exclusive(cache_dir() / "images.lock", LOCK_TIMEOUT_S):
            store.sweep()
            _build_missing(wanted, store, choose())
    return [Image(one.target, one.image, store.path(one.target, one.tag)) for one in wanted]


def _build_missing(wanted: Sequence[Inputs], store: Archives, builder: Builder) -> None:
    builder.prepare()
    for one in wanted:
        if store.find(one.target, one.tag) is None:
            with console.step(f"building {one.image}"):
                _build_one(one, store, builder)
    builder.tidy({one.target: store.prune(one.target) for one in wanted})


def _build_one(one: Inputs, store: Archives, builder: Builder) -> None:
    log = store.folder / f"{one.target}.log"
    stages = Stages()

    def show(line: str) -> None:
        if stage := stages.feed(line):
            console.say(f"  {one.target}: {stage}")

    context = store.context()
    one.write_context(context)
    try:
        builder.build(context, one.target, one.image, log, show)
    except ClusterError as error:
        # Packages are downloaded in it; what was built so far is cached.
        console.say(f"{error}\nbuilding {one.target} failed; once more")
        builder.build(context, one.target, one.image, log, show)
    finally:
        store.sweep()
    builder.save(one.image, store.unfinished(one.target, one.tag))
    store.finish(one.target, one.tag)


def deliver(images: Sequence[Image], target: Target) -> dict[str, str]:
    """Bring images to a cluster; return by target the names under which its nodes have them."""
    if target.kind is Kind.EMBEDDED:
        cluster = Cluster(target.tag)
        return {one.target: cluster.load_image(one.archive, one.name) for one in images}
    if target.kind is Kind.KIND:
        for one in images:
            argv = ["kind", "load", "image-archive", one.archive, "--name", target.kind_name]
            with console.step(f"loading {one.name} into kind"):
                run(argv, timeout_s=LOAD_TIMEOUT_S, env=os.environ)
        return {one.target: one.name for one in images}
    return push(images, target.registry or "")


def push(images: Sequence[Image], registry: str) -> dict[str, str]:
    """Bring images to REGISTRY/PREFIX; return their names there by target."""
    return {one.target: _push(one, registry.rstrip("/")) for one in images}


def _push(image: Image, registry: str) -> str:
    reference = f"{registry}/{image.name.removeprefix(inputs.REPOSITORY + '/')}"
    with locks.exclusive(cache_dir() / "images.lock", LOCK_TIMEOUT_S):
        builder = choose()
        builder.prepare()
        with console.step(f"pushing {reference}"):
            builder.push(image.archive, image.name, reference)
    return reference
